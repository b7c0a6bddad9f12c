"""The work of one worker on one chunk: transcribe, time the words, look for loops and gaps, listen again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpu_jobs import align
from gpu_jobs.align import Aligner
from gpu_jobs.audio import Recording
from gpu_jobs.chunks import Chunk, Span
from gpu_jobs.fanout import ChunkOrder, ChunkResult, OnResult, may_work_elsewhere
from gpu_jobs.fidelity import fill_gaps, find_gaps, without_invented, without_loops
from gpu_jobs.merge import in_order
from gpu_jobs.stopwatch import Stopwatch
from gpu_jobs.transcribe import LanguageChoice, Passage, SecondsDone, Transcriber
from shared.domain.errors import JobFailure
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Coverage, Word

logger = logging.getLogger(__name__)

CHUNK_SECONDS = 300.0
"""What is lost when a process dies half-way through a chunk is at most the work on this."""

SURE_CONFIDENCE = 0.3
"""Words found by a second try stay if the sound fits at least half of them so well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkEngines:
    """What a worker works with."""

    transcriber: Transcriber
    aligner: Aligner


class OwnProcess:
    """The ChunkRunner without workers: this process does one chunk after the other."""

    def __init__(self, engines: ChunkEngines, chunk_seconds: float = CHUNK_SECONDS) -> None:
        self._engines, self._chunk_seconds = engines, chunk_seconds

    def chunk_seconds(self, duration_seconds: float, options: TranscriptionOptions) -> float:  # noqa: ARG002 - all alike
        """Small enough that a run which died is soon where it was."""
        return self._chunk_seconds

    def choose_language(
        self,
        recording: Recording,
        speech: Sequence[Span],
        options: TranscriptionOptions,
        on_progress: SecondsDone,  # noqa: ARG002 - nobody is waited for
    ) -> LanguageChoice:
        """By the engine of this process."""
        return self._engines.transcriber.choose_language(recording, speech, options)

    def run(
        self, recording: Recording, orders: Sequence[ChunkOrder], on_result: OnResult, on_progress: SecondsDone
    ) -> None:
        """One after the other, each twice at most."""
        done = 0.0
        for order in orders:
            base = done
            on_result(order, self._try_twice(recording, order, lambda s, base=base: on_progress(base + s)))  # type: ignore[misc]
            done += order.chunk.span.duration_seconds
            on_progress(done)

    def _try_twice(self, recording: Recording, order: ChunkOrder, on_progress: SecondsDone) -> ChunkResult:
        try:
            return work_on(self._engines, recording, order, on_progress)
        except JobFailure as failure:
            if not may_work_elsewhere(failure):
                raise
            logger.warning("chunk_tried_again", extra={"chunk": order.chunk.index})
        return work_on(self._engines, recording, order, on_progress)


def work_on(engines: ChunkEngines, recording: Recording, order: ChunkOrder, on_progress: SecondsDone) -> ChunkResult:
    """Carry out one order on the whole recording's samples. Raises JobFailure and what ``on_progress`` raises."""
    span = order.chunk.span
    return work_on_part(engines, recording.part(span.start_seconds, span.end_seconds), order, on_progress)


def work_on_part(engines: ChunkEngines, part: Recording, order: ChunkOrder, on_progress: SecondsDone) -> ChunkResult:
    """Carry out one order; ``part`` holds the samples of its chunk only."""
    clock = Stopwatch()
    offset = order.chunk.span.start_seconds
    speech = _moved_speech(order.chunk)
    with clock.timing("transcribing"):
        heard = engines.transcriber.transcribe(part, speech, order.options, on_progress)
    language = heard.language or order.options.language
    with clock.timing("aligning"):
        passages, aligner = _with_word_times(heard.passages, part, speech, engines)
    passages, loops = without_loops(without_invented(passages, speech), language)
    gaps = find_gaps(speech, _words(passages))
    if gaps:
        with clock.timing("retrying"):
            again = engines.transcriber.transcribe_again(part, gaps, order.options, lambda _: on_progress(0.0))
            timed, _ = _with_word_times(again.passages, part, speech, engines)
            found, more_loops = without_loops([p for p in timed if _is_sure(p)], language)
            loops += more_loops
            passages = in_order(fill_gaps(passages, gaps, found), part.duration_seconds)
    return ChunkResult(
        engine=heard.engine,
        language=language,
        passages=tuple(_moved(passage, offset) for passage in passages),
        coverage=_coverage(speech, gaps, find_gaps(speech, _words(passages)), loops),
        aligner=aligner,
        warnings=heard.warnings,
        compute_seconds=clock.seconds,
    )


def _coverage(speech: Sequence[Span], retried: Sequence[Span], lost: Sequence[Span], loops: int) -> Coverage:
    found_seconds = sum(span.duration_seconds for span in speech)
    lost_seconds = sum(span.duration_seconds for span in lost)
    return Coverage(
        speech_seconds=round(found_seconds, 3),
        covered_seconds=round(found_seconds - lost_seconds, 3),
        retried_seconds=round(sum(span.duration_seconds for span in retried), 3),
        lost_seconds=round(lost_seconds, 3),
        removed_loops=loops,
    )


def _with_word_times(
    passages: Sequence[Passage], recording: Recording, speech: Sequence[Span], engines: ChunkEngines
) -> tuple[tuple[Passage, ...], str | None]:
    """Every passage with its words, and the name of the aligner if any needed one."""
    timed: list[Passage] = []
    aligner = None
    for passage in passages:
        if passage.words:
            timed.append(passage)
        else:
            timed.append(engines.aligner.align(passage, recording, speech))
            aligner = align.ENGINE
    return in_order(timed, recording.duration_seconds), aligner


def _is_sure(passage: Passage) -> bool:
    fitting = [w for w in passage.words if w.aligned and (w.confidence is None or w.confidence >= SURE_CONFIDENCE)]
    return len(fitting) * 2 >= len(passage.words) > 0


def _words(passages: Sequence[Passage]) -> list[Word]:
    return [word for passage in passages for word in passage.words]


def _moved_speech(chunk: Chunk) -> tuple[Span, ...]:
    """The chunk's speech in the chunk's own times."""
    offset = chunk.span.start_seconds
    return tuple(
        Span(start_seconds=max(0.0, span.start_seconds - offset), end_seconds=span.end_seconds - offset)
        for span in chunk.speech
    )


def _moved(passage: Passage, offset_seconds: float) -> Passage:
    """The passage in the recording's times, to the millisecond."""
    return replace(
        passage,
        start_seconds=round(passage.start_seconds + offset_seconds, 3),
        end_seconds=round(passage.end_seconds + offset_seconds, 3),
        words=tuple(
            replace(
                word,
                start_seconds=round(word.start_seconds + offset_seconds, 3),
                end_seconds=round(word.end_seconds + offset_seconds, 3),
            )
            for word in passage.words
        ),
    )
