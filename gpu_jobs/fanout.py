"""One recording over many workers: what a worker is told, what it gives back, and the port behind which workers stand.

An order is complete in itself and has a name made of all that decides its result. A result is kept under that name, so
an order that comes twice, in a later run or on another machine, is answered from what is there and overwrites nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol

from gpu_jobs.audio import Recording
from gpu_jobs.chunks import Chunk, Span
from gpu_jobs.transcribe import LanguageChoice, Passage, SecondsDone
from shared.domain.errors import JobFailure
from shared.domain.options import Model, TranscriptionOptions
from shared.domain.transcripts import Coverage, Word

RESULT_FORMAT = 4  # counts up when the same order would give another result


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkOrder:
    """One chunk to transcribe. ``options.language`` is decided; ``engine`` is what the planner expects at work."""

    chunk: Chunk
    options: TranscriptionOptions
    engine: str

    @property
    def name(self) -> str:
        """The same for the same work, different for any other work on this recording."""
        content = json.dumps([RESULT_FORMAT, self.to_values()], sort_keys=True)
        return f"chunk-{self.chunk.index:04d}-{hashlib.sha256(content.encode()).hexdigest()[:24]}"

    def to_values(self) -> dict[str, Any]:
        """Plain values, with only the options that matter to the words."""
        chunk, options = self.chunk, self.options
        return {
            "index": chunk.index,
            "span": [chunk.span.start_seconds, chunk.span.end_seconds],
            "speech": [[span.start_seconds, span.end_seconds] for span in chunk.speech],
            "model": options.model.value,
            "language": options.language,
            "vocabulary": list(options.vocabulary),
            "engine": self.engine,
        }

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> ChunkOrder:
        """The order of such values."""
        chunk = Chunk(
            index=values["index"],
            span=_span(values["span"]),
            speech=tuple(_span(span) for span in values["speech"]),
        )
        options = TranscriptionOptions(
            model=Model(values["model"]), language=values["language"], vocabulary=tuple(values["vocabulary"])
        )
        return cls(chunk=chunk, options=options, engine=values["engine"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkResult:
    """What was said in a chunk: passages with words, in the recording's own times. ``aligner`` timed them, if any."""

    engine: str
    language: str
    passages: tuple[Passage, ...]
    coverage: Coverage
    aligner: str | None = None
    warnings: tuple[str, ...] = ()
    compute_seconds: dict[str, float] = field(default_factory=dict)

    def to_values(self) -> dict[str, Any]:
        """Plain values, ready for json.dumps."""
        return asdict(self)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> ChunkResult:
        """The result of such values."""
        return cls(
            engine=values["engine"],
            language=values["language"],
            passages=tuple(
                Passage(**{**passage, "words": tuple(Word(**word) for word in passage["words"])})
                for passage in values["passages"]
            ),
            coverage=Coverage(**values["coverage"]),
            aligner=values["aligner"],
            warnings=tuple(values["warnings"]),
            compute_seconds=dict(values["compute_seconds"]),
        )


OnResult = Callable[[ChunkOrder, ChunkResult], None]
"""Told each result once, in any order."""


class ChunkFailed(Exception):
    """A chunk failed on two workers, for no reason the customer could mend."""


def may_work_elsewhere(failure: JobFailure) -> bool:
    """True where the engine is to blame, not what was asked of it: another worker may have more memory or more luck."""
    return failure.code == "engine_failed"


class ChunkRunner(Protocol):
    """Workers: this process, processes of this machine (gpu_jobs.pool), or GPUs elsewhere (gpu_jobs.remote)."""

    def chunk_seconds(self, duration_seconds: float, options: TranscriptionOptions) -> float:
        """How long a chunk should be for a recording of this length."""
        ...

    def choose_language(
        self, recording: Recording, speech: Sequence[Span], options: TranscriptionOptions, on_progress: SecondsDone
    ) -> LanguageChoice:
        """The one language for all chunks. Raises JobFailure and what ``on_progress`` raises.

        That is called every second or so while others work, with 0.
        """
        ...

    def run(
        self, recording: Recording, orders: Sequence[ChunkOrder], on_result: OnResult, on_progress: SecondsDone
    ) -> None:
        """Carry out every order. Raises JobFailure, ChunkFailed, and what ``on_progress`` raises.

        ``on_progress`` is told how many seconds of all the orders are done, at least every second or so.
        """
        ...


class ChunkShelf(Protocol):
    """Where results are kept by name, in case the job is run again."""

    def get(self, name: str) -> dict[str, Any] | None:
        """What is kept under the name, or None."""
        ...

    def put(self, name: str, values: dict[str, Any]) -> None:
        """Keep the values, unless something is there already."""
        ...


class NoShelf:
    """Keeps nothing: for recordings that belong to no job."""

    def get(self, name: str) -> dict[str, Any] | None:  # noqa: ARG002 - the port's signature
        """Nothing."""
        return None

    def put(self, name: str, values: dict[str, Any]) -> None:
        """Forget it."""


def run_orders(
    runner: ChunkRunner,
    shelf: ChunkShelf,
    recording: Recording,
    orders: Sequence[ChunkOrder],
    on_progress: SecondsDone,
) -> tuple[ChunkResult, ...]:
    """The results of all orders in their order; those on the shelf are not worked for again."""
    results: dict[str, ChunkResult] = {}
    for order in orders:
        values = shelf.get(order.name)
        if values is not None:
            results[order.name] = ChunkResult.from_values(values)
    missing = [order for order in orders if order.name not in results]
    known_seconds = sum(o.chunk.span.duration_seconds for o in orders if o.name in results)

    def keep(order: ChunkOrder, result: ChunkResult) -> None:
        shelf.put(order.name, result.to_values())
        results[order.name] = result

    if missing:
        runner.run(recording, missing, keep, lambda seconds: on_progress(known_seconds + seconds))
    return tuple(results[order.name] for order in orders)


def merge_results(results: Sequence[ChunkResult], spans: Sequence[Span]) -> tuple[Passage, ...]:
    """All passages in order, no word twice and none lost. Pure.

    Chunks touch at the middle of a silence; an engine may still give a word at the edge a time beyond it. Such a word
    stays, and its time is drawn back to its own chunk.
    """
    return tuple(
        _inside(passage, span) for result, span in zip(results, spans, strict=True) for passage in result.passages
    )


def total_coverage(results: Sequence[ChunkResult]) -> Coverage:
    """The coverage of the whole: seconds and counts add up."""
    total = Coverage()
    for result in results:
        total = total.plus(result.coverage)
    return total


def total_seconds(results: Sequence[ChunkResult]) -> dict[str, float]:
    """Machine time by part over all chunks."""
    total: dict[str, float] = {}
    for result in results:
        for part, seconds in result.compute_seconds.items():
            total[part] = round(total.get(part, 0.0) + seconds, 3)
    return total


def _inside(passage: Passage, span: Span) -> Passage:
    words = tuple(
        replace(
            word,
            start_seconds=min(max(word.start_seconds, span.start_seconds), span.end_seconds),
            end_seconds=min(max(word.end_seconds, span.start_seconds), span.end_seconds),
        )
        for word in passage.words
    )
    return replace(passage, words=words)


def _span(values: Sequence[float]) -> Span:
    ((start, end),) = pairwise(values)
    return Span(start_seconds=start, end_seconds=end)
