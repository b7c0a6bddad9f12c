"""Who does the work on a recording, and where."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from gpu_jobs.chunk_work import ChunkEngines, OwnProcess
from gpu_jobs.engines import EngineSet
from gpu_jobs.fanout import ChunkRunner
from gpu_jobs.planner import Plan
from gpu_jobs.stopwatch import Stopwatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Who does the work: chunks may go to other processes or machines, and so may the speakers."""

    engines: EngineSet
    chunks: ChunkRunner
    diarizes_beside: bool = False
    """True where the speakers are found elsewhere, or while workers transcribe."""
    expects: Plan | None = None
    """What a recording should take, where that is planned."""
    elsewhere: Stopwatch | None = None
    """Where other machines choose the language, find the speakers and sum up: what they say they worked."""

    def timing(self, clock: Stopwatch, part: str) -> AbstractContextManager[None]:
        """Time one of those three; who only waits for another machine does not work."""
        return clock.timing(part) if self.elsewhere is None else nullcontext()

    def seconds(self, clock: Stopwatch) -> dict[str, float]:
        """What was worked by ``clock`` and elsewhere, by part."""
        return clock.seconds | (self.elsewhere.seconds if self.elsewhere else {})


CrewOrEngines = Crew | EngineSet


def own_crew(engines: EngineSet) -> Crew:
    """Everything in this process, one thing after the other."""
    return Crew(
        engines=engines, chunks=OwnProcess(ChunkEngines(transcriber=engines.transcriber, aligner=engines.aligner))
    )
