"""Who speaks when: the port, and two engines behind it, pyannote's pipeline and Moonshine's port of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
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


def turns_within(spans: Iterable[tuple[float, float, str]], duration_seconds: float) -> tuple[Turn, ...]:
    """Turns in order of start, of spans of start, end and speaker: what reaches past the recording is cut off."""
    inside = sorted((max(0.0, start), min(end, duration_seconds), speaker) for start, end, speaker in spans)
    return tuple(
        Turn(start_seconds=start, end_seconds=end, speaker_id=speaker) for start, end, speaker in inside if start < end
    )


def numbered(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns with speakers SPEAKER_00 … by first appearance."""
    order: dict[str, str] = {}
    for turn in turns:
        order.setdefault(turn.speaker_id, f"SPEAKER_{len(order):02d}")
    return tuple(replace(turn, speaker_id=order[turn.speaker_id]) for turn in turns)
