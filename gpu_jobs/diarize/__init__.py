"""Who speaks when: the port, and two engines behind it, pyannote's pipeline and Moonshine's port of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gpu_jobs.audio import Recording
from shared.domain.transcripts import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerCount:
    """How many people speak, as far as the customer knows."""

    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None


class Diarizer(Protocol):
    """Finds speakers. ``weight`` is seconds of work for a second of audio, roughly; ``engine`` is ``name:model``."""

    weight: float
    engine: str

    def diarize(
        self, recording: Recording, on_progress: Callable[[float], None], count: SpeakerCount | None = None
    ) -> tuple[Turn, ...]:
        """Turns in order of start, ids SPEAKER_00 … by first appearance; none for silence. Raises JobFailure."""
        ...
