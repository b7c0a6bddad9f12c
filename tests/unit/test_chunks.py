"""The plan of a recording's chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_jobs.chunks import Span, WindowRules, plan_chunks, plan_windows


def spans(*times: tuple[float, float]) -> list[Span]:
    return [Span(start_seconds=start, end_seconds=end) for start, end in times]


@st.composite
def speech_maps(draw: st.DrawFn) -> list[Span]:
    """Sorted, disjoint speech in milliseconds, made of gaps and lengths."""
    at = 0.0
    found = []
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 9_000), st.integers(50, 60_000)), max_size=40)):
        start = at + gap / 1000
        at = start + length / 1000
        found.append(Span(start_seconds=start, end_seconds=at))
    return found


@given(speech=speech_maps(), max_seconds=st.sampled_from([5.0, 15.0, 28.0]))
def test_every_second_of_speech_is_in_exactly_one_chunk_and_no_chunk_is_too_long(
    speech: list[Span], max_seconds: float
) -> None:
    duration = (speech[-1].end_seconds if speech else 0.0) + 1.0
    rules = WindowRules(max_seconds=max_seconds)

    chunks = plan_windows(speech, duration, rules)

    for chunk in chunks:
        assert 0 <= chunk.start_seconds < chunk.end_seconds <= duration
        assert chunk.duration_seconds <= max_seconds + 2 * rules.padding_seconds + 1e-6
    for before, after in pairwise(chunks):
        assert before.end_seconds <= after.start_seconds + 1e-9
    for span in speech:
        covered = sum(
            max(0.0, min(c.end_seconds, span.end_seconds) - max(c.start_seconds, span.start_seconds)) for c in chunks
        )
        assert covered == pytest.approx(span.duration_seconds)


@given(speech=speech_maps())
def test_the_same_speech_gives_the_same_plan(speech: list[Span]) -> None:
    rules = WindowRules(max_seconds=15.0)

    assert plan_windows(speech, 10_000.0, rules) == plan_windows(list(speech), 10_000.0, rules)


@given(speech=speech_maps())
def test_speech_is_cut_only_where_no_silence_is_in_reach(speech: list[Span]) -> None:
    rules = WindowRules(max_seconds=15.0)

    for chunk in plan_windows(speech, 10_000.0, rules):
        for span in speech:
            if span.start_seconds < chunk.end_seconds - 1e-6 < span.end_seconds - 1e-6:
                assert span.duration_seconds > rules.max_seconds


def test_a_long_stretch_is_cut_at_its_longest_silence_in_the_second_half() -> None:
    speech = spans((0, 2), (3, 6), (6.3, 9), (9.8, 12), (12.2, 18))

    first, second = plan_windows(speech, 20.0, WindowRules(max_seconds=15.0, padding_seconds=0.0))

    assert first.end_seconds == 9
    assert second.start_seconds == 9.8


def test_a_window_that_costs_as_much_when_it_is_short_is_filled_first() -> None:
    speech = spans((0, 2), (3, 6), (6.3, 9), (9.8, 12), (12.2, 14), (14.1, 18))
    rules = WindowRules(max_seconds=15.0, padding_seconds=0.0, full_share=0.8)

    first, second = plan_windows(speech, 20.0, rules)

    assert (first.end_seconds, second.start_seconds) == (12, 12.2)  # not 9, at the longest silence of all


def test_a_long_silence_always_ends_a_chunk() -> None:
    chunks = plan_windows(spans((0, 1), (5, 6)), 10.0, WindowRules(max_seconds=15.0))

    assert [(c.start_seconds, c.end_seconds) for c in chunks] == [(0.0, 1.2), (4.8, 6.2)]


def test_padding_meets_half_way_in_a_short_silence() -> None:
    rules = WindowRules(max_seconds=2.0, padding_seconds=0.5)

    first, second = plan_windows(spans((0, 2), (2.4, 4)), 10.0, rules)

    assert first.end_seconds == second.start_seconds == pytest.approx(2.2)


def test_no_speech_makes_no_chunks() -> None:
    assert plan_windows([], 10.0, WindowRules(max_seconds=15.0)) == ()


@given(speech=speech_maps(), target=st.sampled_from([20.0, 60.0, 300.0]), longest=st.sampled_from([15.0, 28.0]))
def test_chunks_touch_and_hold_every_second_of_speech_exactly_once(
    speech: list[Span], target: float, longest: float
) -> None:
    duration = (speech[-1].end_seconds if speech else 0.0) + 1.0
    rules = WindowRules(max_seconds=longest)

    chunks = plan_chunks(speech, duration, rules, target)

    assert chunks == plan_chunks(list(speech), duration, rules, target)
    assert bool(chunks) == bool(speech)
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    if chunks:
        assert (chunks[0].span.start_seconds, chunks[-1].span.end_seconds) == (0.0, duration)
    for before, after in pairwise(chunks):
        assert before.span.end_seconds == after.span.start_seconds
    held = [span for chunk in chunks for span in chunk.speech]
    assert sum(span.duration_seconds for span in held) == pytest.approx(sum(s.duration_seconds for s in speech))
    for chunk in chunks:
        assert all(
            chunk.span.start_seconds <= s.start_seconds < s.end_seconds <= chunk.span.end_seconds for s in chunk.speech
        )
        assert chunk.speech


@given(speech=speech_maps(), target=st.sampled_from([20.0, 60.0]))
def test_chunks_end_inside_speech_only_where_speech_is_longer_than_a_window(speech: list[Span], target: float) -> None:
    rules = WindowRules(max_seconds=15.0)

    for chunk in plan_chunks(speech, 10_000.0, rules, target)[:-1]:
        for span in speech:
            if span.start_seconds + 1e-3 < chunk.span.end_seconds < span.end_seconds - 1e-3:
                assert span.duration_seconds > rules.max_seconds


@given(speech=speech_maps(), target=st.sampled_from([20.0, 60.0, 300.0]))
def test_a_worker_hears_the_same_windows_as_if_there_were_no_chunks(speech: list[Span], target: float) -> None:
    speech = [span for span in speech if span.duration_seconds <= 15.0]
    rules = WindowRules(max_seconds=15.0)
    duration = (speech[-1].end_seconds if speech else 0.0) + 1.0

    found = []
    for chunk in plan_chunks(speech, duration, rules, target):
        offset = chunk.span.start_seconds
        local = [Span(start_seconds=s.start_seconds - offset, end_seconds=s.end_seconds - offset) for s in chunk.speech]
        for window in plan_windows(local, chunk.span.duration_seconds, rules):
            found += [window.start_seconds + offset, window.end_seconds + offset]

    whole = plan_windows(speech, duration, rules)
    assert found == pytest.approx([edge for w in whole for edge in (w.start_seconds, w.end_seconds)], abs=1e-4)


def test_a_chunk_ends_at_the_longest_silence_near_its_target() -> None:
    speech = spans((0, 14), (14.4, 28), (30, 42), (42.5, 57), (57.3, 70), (70.5, 84))

    chunks = plan_chunks(speech, 85.0, WindowRules(max_seconds=15.0), 30.0)

    assert [chunk.span.end_seconds for chunk in chunks] == [29.0, 57.15, 85.0]


def test_ten_hours_are_planned_in_a_moment() -> None:
    speech = spans(*((at, at + 3.0) for at in range(0, 36_000, 4)))

    chunks = plan_chunks(speech, 36_000.0, WindowRules(max_seconds=28.0), 300.0)

    assert 100 <= len(chunks) <= 160
