"""What one worker does with an order when its engine fails, repeats itself or leaves speech out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from gpu_jobs.align import Aligner
from gpu_jobs.audio import Recording
from gpu_jobs.chunk_work import ChunkEngines, OwnProcess
from gpu_jobs.chunks import Chunk, Span
from gpu_jobs.fanout import ChunkOrder, ChunkResult
from gpu_jobs.transcribe import Passage, Transcription
from shared.domain.errors import JobFailure
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Word

SECONDS = 20.0
SPEECH = (Span(start_seconds=0.0, end_seconds=SECONDS),)
ORDER = ChunkOrder(
    chunk=Chunk(index=0, span=Span(start_seconds=0.0, end_seconds=SECONDS), speech=SPEECH),
    options=TranscriptionOptions(language="en"),
    engine="fake:one",
)


def said(text: str, start: float, end: float) -> Passage:
    """Words spread evenly."""
    texts = text.split()
    pace = (end - start) / len(texts)
    words = tuple(
        Word(text=word, start_seconds=start + pace * i, end_seconds=start + pace * (i + 1), confidence=0.9)
        for i, word in enumerate(texts)
    )
    return Passage(start_seconds=start, end_seconds=end, text=text, words=words)


def untimed(text: str, start: float, end: float) -> Passage:
    """As it comes from an engine that gives no times."""
    return Passage(start_seconds=start, end_seconds=end, text=text)


class Engine:
    """Gives what it was told to, or fails as it was told to; remembers the gaps it was asked about."""

    def __init__(
        self, first: Sequence[Passage], again: Sequence[Passage] = (), failures: Sequence[JobFailure] = ()
    ) -> None:
        self.first, self.again, self.failures = first, again, list(failures)
        self.gaps: list[Span] = []
        self.calls = 0

    def transcribe(self, *_: object) -> Transcription:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return Transcription(engine="fake:one", language="en", passages=tuple(self.first))

    def transcribe_again(self, _recording: Recording, gaps: Sequence[Span], *_: object) -> Transcription:
        self.gaps += gaps
        return Transcription(engine="fake:one", language="en", passages=tuple(self.again))


def work(engine: Engine) -> ChunkResult:
    recording = Recording(samples=np.zeros(round(SECONDS * 16_000), np.float32))
    results: list[ChunkResult] = []
    runner = OwnProcess(ChunkEngines(transcriber=engine, aligner=Aligner()))  # type: ignore[arg-type]
    runner.run(recording, [ORDER], lambda _, result: results.append(result), lambda _: None)
    return results[0]


def text(result: ChunkResult) -> str:
    return " ".join(passage.text for passage in result.passages)


def test_an_engine_that_fails_once_costs_nobody_a_word() -> None:
    engine = Engine([said("all of it " * 7, 0.0, SECONDS)], failures=[JobFailure("engine_failed", "out of memory")])

    assert text(work(engine)).startswith("all of it")
    assert engine.calls == 2


def test_a_chunk_that_fails_twice_fails_and_what_the_customer_got_wrong_is_not_tried_again() -> None:
    twice = Engine([], failures=[JobFailure("engine_failed", "a")] * 2)
    wrong = Engine([], failures=[JobFailure("language_unsupported", "b")])

    for engine, calls in ((twice, 2), (wrong, 1)):
        with pytest.raises(JobFailure):
            work(engine)
        assert engine.calls == calls


def test_speech_without_words_is_listened_to_again_and_what_stays_lost_is_counted() -> None:
    found = Engine(
        [said("one two three", 0.0, 3.0), said("nine ten", 12.0, 14.0)],
        again=[said("four five six seven eight", 4.0, 11.0)],
    )

    result = work(found)

    assert text(result) == "one two three four five six seven eight nine ten"
    assert [(gap.start_seconds, gap.end_seconds) for gap in found.gaps] == [(3.4, 11.6), (14.4, 20.0)]
    coverage = result.coverage
    assert (coverage.speech_seconds, coverage.retried_seconds, coverage.lost_seconds) == (20.0, 13.8, 5.6)
    assert coverage.covered_seconds == pytest.approx(14.4)


@pytest.mark.parametrize(("invented", "covered_seconds"), [("— … —", 0.0), ("谢谢观看", 2.4)])
def test_a_text_that_is_not_in_the_sound_covers_no_more_than_it_could_take(
    invented: str, covered_seconds: float
) -> None:
    engine = Engine([untimed(invented, 0.0, SECONDS)])

    coverage = work(engine).coverage

    assert [(gap.start_seconds, gap.end_seconds) for gap in engine.gaps] == [(covered_seconds, SECONDS)]
    assert (coverage.covered_seconds, coverage.lost_seconds) == (covered_seconds, SECONDS - covered_seconds)


def test_what_a_second_try_finds_behind_such_a_text_keeps_its_time() -> None:
    result = work(Engine([untimed("谢谢观看", 0.0, SECONDS)], again=[said("what was really said there", 4.0, 19.0)]))

    assert text(result) == "谢谢观看 what was really said there"
    assert result.passages[1].words[0].start_seconds == 4.0
    assert result.coverage.lost_seconds == pytest.approx(1.2)


def test_a_text_as_long_as_its_speech_covers_it_though_no_word_of_it_is_found() -> None:
    coverage = work(Engine([untimed("谢谢观看 " * 10, 0.0, SECONDS)])).coverage

    assert (coverage.covered_seconds, coverage.retried_seconds) == (SECONDS, 0.0)


def test_words_the_second_try_is_unsure_of_stay_out() -> None:
    unsure = said("thank you for watching", 4.0, 11.0)
    words = tuple(replace(word, confidence=0.1) for word in unsure.words)

    result = work(Engine([said("one two three", 0.0, 3.0)], again=[replace(unsure, words=words)]))

    assert text(result) == "one two three"
    assert result.coverage.lost_seconds == pytest.approx(16.6)


def test_a_loop_is_cut_down_counted_and_what_it_covered_is_listened_to_again() -> None:
    loop = said("and so on " * 8, 4.0, 20.0)
    engine = Engine([said("one two three", 0.0, 3.6), loop], again=[said("what was really said there", 7.0, 19.0)])

    result = work(engine)

    assert text(result) == "one two three and so on what was really said there"
    assert result.coverage.removed_loops == 1
    assert result.coverage.lost_seconds == 0.0
