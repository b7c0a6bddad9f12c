"""The plan of a recording's chunks."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_jobs.chunks import Span, Window, WindowRules, plan_chunks, plan_windows


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
        assert chunk.heard_seconds <= max_seconds + 2 * rules.padding_seconds + 1e-6
    for before, after in pairwise(chunks):
        assert before.end_seconds <= after.start_seconds + 1e-9
    for span in speech:
        covered = sum(
            max(0.0, min(c.end_seconds, span.end_seconds) - max(c.start_seconds, span.start_seconds)) for c in chunks
        )
        assert covered == pytest.approx(span.duration_seconds)


@given(speech=speech_maps(), kept=st.sampled_from([0.0, 0.8, 3.0]))
def test_shortened_windows_hear_every_second_of_speech_once_and_little_silence(speech: list[Span], kept: float) -> None:
    duration = (speech[-1].end_seconds if speech else 0.0) + 1.0
    rules = WindowRules(max_seconds=28.0, split_silence_seconds=math.inf, kept_silence_seconds=kept)

    windows = plan_windows(speech, duration, rules)

    parts = [part for window in windows for part in window.parts]
    for window in windows:
        assert window.heard_seconds <= rules.max_seconds + 2 * rules.padding_seconds + 1e-6
    for before, after in pairwise(parts):
        assert before.start_seconds <= before.end_seconds <= after.start_seconds + 1e-9
    for span in speech:
        heard = sum(
            max(0.0, min(p.end_seconds, span.end_seconds) - max(p.start_seconds, span.start_seconds)) for p in parts
        )
        assert heard == pytest.approx(span.duration_seconds)
    for window in windows:
        inside = [s for s in speech if window.start_seconds < s.end_seconds and s.start_seconds < window.end_seconds]
        for before, after in pairwise(inside):
            cut = [p for p in window.parts if before.end_seconds <= p.end_seconds < after.start_seconds]
            assert bool(cut) == (after.start_seconds - before.end_seconds > kept)


@given(speech=speech_maps(), at=st.floats(0.0, 1.0), length=st.floats(0.0, 0.3))
def test_a_word_is_placed_where_it_was_said(speech: list[Span], at: float, length: float) -> None:
    rules = WindowRules(max_seconds=28.0, split_silence_seconds=math.inf, kept_silence_seconds=0.8)
    for window in plan_windows(speech, 10_000.0, rules):
        heard_before = 0.0
        for part in window.parts:
            said = part.start_seconds + at * part.duration_seconds
            spoken = Span(start_seconds=said, end_seconds=min(said + length, part.end_seconds))
            from_start = heard_before - part.start_seconds
            place = window.place(spoken.start_seconds + from_start, spoken.end_seconds + from_start)
            if spoken.duration_seconds > 1e-6:
                assert place.start_seconds == pytest.approx(spoken.start_seconds, abs=1e-6)
                assert place.end_seconds == pytest.approx(spoken.end_seconds, abs=1e-6)
            heard_before += part.duration_seconds


def test_a_word_drawn_over_a_silence_that_was_not_heard_stays_with_the_part_that_has_most_of_it() -> None:
    window = Window(parts=tuple(spans((10, 12), (60, 65))))

    assert window.place(1.5, 2.3) == Span(start_seconds=11.5, end_seconds=12.0)
    assert window.place(1.9, 3.0) == Span(start_seconds=60.0, end_seconds=61.0)
    assert window.place(6.5, 9.0) == Span(start_seconds=64.5, end_seconds=65.0)  # beyond the end, as padding is heard


def test_pauses_cost_no_windows() -> None:
    talk = spans(*((at, at + 4.0) for at in range(0, 300, 15)))  # 80 s of speech in five minutes
    rules = WindowRules(max_seconds=29.0, split_silence_seconds=math.inf, kept_silence_seconds=0.8)

    assert len(plan_windows(talk, 300.0, rules)) == 4
    assert len(plan_windows(talk, 300.0, WindowRules(max_seconds=29.0))) == 20


def test_a_window_that_cannot_end_in_its_last_part_ends_as_late_as_it_can() -> None:
    speech = spans((0, 3), (6, 18), (18.5, 35))  # the longest silence is the first
    rules = WindowRules(max_seconds=29.0, padding_seconds=0.0, full_share=0.9, split_silence_seconds=5.0)

    assert [window.end_seconds for window in plan_windows(speech, 40.0, rules)] == [18, 35]


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


@given(
    speech=speech_maps(),
    target=st.sampled_from([20.0, 60.0, 300.0]),
    rules=st.sampled_from(
        [
            WindowRules(max_seconds=15.0),
            WindowRules(max_seconds=15.0, split_silence_seconds=math.inf, kept_silence_seconds=0.8, full_share=0.92),
        ]
    ),
)
def test_a_worker_hears_the_same_windows_as_if_there_were_no_chunks(
    speech: list[Span], target: float, rules: WindowRules
) -> None:
    speech = [span for span in speech if span.duration_seconds <= 15.0]
    check_windows_stay(speech, rules, target)


def test_no_chunk_ends_where_its_last_two_windows_would_be_one_without_the_next() -> None:
    speech = spans((0, 14), (14.3, 28.3), (28.6, 36), (36.3, 44.5), (45, 50), (50.4, 64.4), (64.7, 78.7), (79, 93))

    check_windows_stay(speech, WindowRules(max_seconds=15.0), 60.0)


def check_windows_stay(speech: list[Span], rules: WindowRules, target: float) -> None:
    duration = (speech[-1].end_seconds if speech else 0.0) + 1.0

    found = []
    for chunk in plan_chunks(speech, duration, rules, target):
        offset = chunk.span.start_seconds
        local = [Span(start_seconds=s.start_seconds - offset, end_seconds=s.end_seconds - offset) for s in chunk.speech]
        for window in plan_windows(local, chunk.span.duration_seconds, rules):
            found += [edge + offset for part in window.parts for edge in (part.start_seconds, part.end_seconds)]

    whole = plan_windows(speech, duration, rules)
    parts = [part for window in whole for part in window.parts]
    assert found == pytest.approx([edge for p in parts for edge in (p.start_seconds, p.end_seconds)], abs=1e-4)


def test_a_chunk_ends_at_the_longest_silence_near_its_target() -> None:
    speech = spans((0, 14), (14.4, 28), (30, 42), (42.5, 57), (57.3, 70), (70.5, 84))

    chunks = plan_chunks(speech, 85.0, WindowRules(max_seconds=15.0), 30.0)

    assert [chunk.span.end_seconds for chunk in chunks] == [29.0, 57.15, 85.0]


def test_ten_hours_are_planned_in_a_moment() -> None:
    speech = spans(*((at, at + 3.0) for at in range(0, 36_000, 4)))

    chunks = plan_chunks(speech, 36_000.0, WindowRules(max_seconds=28.0), 300.0)

    assert 100 <= len(chunks) <= 160
