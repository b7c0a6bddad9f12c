"""What one worker does with an order when its engine fails, repeats itself or leaves speech out."""

from __future__ import annotations

from collections.abc import Sequence

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
