"""Orders, results and their merge."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_jobs.audio import Recording
from gpu_jobs.chunks import Chunk, Span, WindowRules, plan_chunks
from gpu_jobs.fanout import ChunkOrder, ChunkResult, OnResult, merge_results, run_orders, total_coverage
from gpu_jobs.transcribe import LanguageChoice, Passage, SecondsDone
from gpu_jobs.transcribe.language import decide_language, doubt_language, language_windows
from shared.domain.options import Model, TranscriptionOptions
from shared.domain.transcripts import Coverage, Word

RECORDING = Recording(samples=None)  # type: ignore[arg-type]  # nobody here listens


def order(index: int = 0, **options: Any) -> ChunkOrder:
    chunk = Chunk(
        index=index,
        span=Span(start_seconds=10.0 * index, end_seconds=10.0 * (index + 1)),
        speech=(Span(start_seconds=10.0 * index + 1, end_seconds=10.0 * index + 9),),
    )
    asked = TranscriptionOptions(**{"language": "en"} | options)
    return ChunkOrder(chunk=chunk, options=asked, engine="fake:one")


def result(order: ChunkOrder, text: str = "said") -> ChunkResult:
    start = order.chunk.speech[0].start_seconds
    word = Word(text=text, start_seconds=start, end_seconds=start + 1)
    passage = Passage(start_seconds=start, end_seconds=start + 1, text=text, words=(word,))
    coverage = Coverage(speech_seconds=8.0, covered_seconds=8.0)
    return ChunkResult(engine="fake:one", language="en", passages=(passage,), coverage=coverage)


class Shelf(dict[str, dict[str, Any]]):
    """A shelf in memory."""

    def put(self, name: str, values: dict[str, Any]) -> None:
        self.setdefault(name, values)


class Runner:
    """Answers at once, backwards, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def chunk_seconds(self, duration_seconds: float, options: TranscriptionOptions) -> float:
        return 10.0

    def choose_language(self, *_: object) -> LanguageChoice:
        return LanguageChoice(language="en")

    def run(self, recording: Recording, orders: Any, on_result: OnResult, on_progress: SecondsDone) -> None:
        for each in reversed(orders):
            self.asked.append(each.chunk.index)
            on_result(each, result(each, f"w{each.chunk.index}"))


def test_orders_and_results_survive_json_and_back() -> None:
    ordered = order(3, model=Model.TURBO, vocabulary=("Zoë",))

    assert ChunkOrder.from_values(ordered.to_values()).name == ordered.name
    assert ChunkResult.from_values(result(ordered).to_values()) == result(ordered)


def test_a_name_changes_with_all_that_changes_the_words_and_with_nothing_else() -> None:
    names = {
        order().name,
        order(1).name,
        order(language="de").name,
        order(vocabulary=("Zoë",)).name,
        order(model=Model.TURBO).name,
        replace(order(), engine="fake:two").name,
    }

    assert len(names) == 6
    assert order(summary=True, diarization=True, word_timestamps=True).name == order().name


def test_a_second_run_does_only_what_the_first_left_and_nothing_is_overwritten() -> None:
    orders = [order(index) for index in range(4)]
    shelf, first, second = Shelf(), Runner(), Runner()
    run_orders(first, shelf, RECORDING, orders[1:3], lambda _: None)
    kept = dict(shelf)

    results = run_orders(second, shelf, RECORDING, orders, lambda _: None)

    assert sorted(second.asked) == [0, 3]
    assert [r.passages[0].text for r in results] == ["w0", "w1", "w2", "w3"]
    assert all(shelf[name] is values for name, values in kept.items())


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[Span], float]:
    at, speech = 0.0, []
    for gap, length in draw(st.lists(st.tuples(st.integers(50, 5_000), st.integers(100, 20_000)), max_size=30)):
        start = at + gap / 1000
        at = start + length / 1000
        speech.append(Span(start_seconds=start, end_seconds=at))
    return speech, at + 1.0


@given(plan=plans(), target=st.sampled_from([15.0, 40.0, 120.0]), wander=st.floats(-3.0, 3.0))
def test_no_word_is_lost_or_doubled_at_a_cut_and_times_never_run_backwards(
    plan: tuple[list[Span], float], target: float, wander: float
) -> None:
    speech, duration = plan
    chunks = plan_chunks(speech, duration, WindowRules(max_seconds=28.0), target)
    results: list[ChunkResult] = []
    texts: list[str] = []
    for chunk in chunks:
        words = []
        for span in chunk.speech:
            texts.append(f"w{len(texts)}")
            start = span.start_seconds + wander  # engines' times go over the edge
            words.append(Word(text=texts[-1], start_seconds=start, end_seconds=start + span.duration_seconds))
        passage = Passage(
            start_seconds=chunk.span.start_seconds, end_seconds=chunk.span.end_seconds, text="", words=tuple(words)
        )
        results.append(
            ChunkResult(engine="fake:one", language="en", passages=(passage,), coverage=Coverage(speech_seconds=1.0))
        )

    merged = merge_results(results, [chunk.span for chunk in chunks])

    words = [word for passage in merged for word in passage.words]
    assert [word.text for word in words] == texts
    assert all(a.start_seconds <= b.start_seconds for a, b in pairwise(words))
    assert all(0 <= word.start_seconds <= word.end_seconds <= duration for word in words)
    assert total_coverage(results).speech_seconds == len(chunks)


def test_the_language_is_what_most_windows_hear_not_what_the_first_does() -> None:
    votes = [{"fr": 0.99, "en": 0.01}, {"en": 0.6, "fr": 0.4}, {"en": 0.7, "de": 0.3}]

    choice = decide_language(votes)

    assert choice.language == "en"
    assert choice.confidence == pytest.approx((0.01 + 0.6 + 0.7) / 3, abs=1e-3)


def test_of_equal_majorities_the_likelier_language_wins() -> None:
    assert decide_language([{"fr": 0.6}, {"en": 0.9}]).language == "en"


def test_a_wrong_language_is_doubted_only_where_it_clearly_is_wrong() -> None:
    english = [{"en": 0.97, "de": 0.01}, {"en": 0.92, "de": 0.02}]

    assert doubt_language("en", english) is None
    assert "'en', not 'de'" in (doubt_language("de", english) or "")
    assert doubt_language("no", [{"da": 0.6, "no": 0.4}]) is None  # too alike to tell


def test_language_windows_are_spread_over_the_speech_of_the_whole_recording() -> None:
    speech = [Span(start_seconds=at, end_seconds=at + 10.0) for at in range(0, 3_600, 12)]

    windows = language_windows(speech)

    assert len(windows) == 7
    assert windows[0].start_seconds == 0.0
    assert windows[-1].start_seconds > 3_000
    assert len(language_windows(speech[:1])) == 1
