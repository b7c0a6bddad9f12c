"""The transcriber port: speech in, passages of text out. Two engines stand behind it, Whisper and Moonshine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gpu_jobs.audio import Recording
from gpu_jobs.chunks import Span, WindowRules
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Word

SecondsDone = Callable[[float], None]
"""Told how many seconds of the recording are done; may raise to stop the work, and the exception passes through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """What was said in one stretch of the recording. ``words`` is empty where the engine has no word times."""

    start_seconds: float
    end_seconds: float
    text: str
    confidence: float | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcription:
    """All passages in order. ``engine`` is ``name:model``, ``language`` ISO 639-1, "" where there was no speech."""

    engine: str
    language: str
    passages: tuple[Passage, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageChoice:
    """The one language of a recording. ``confidence`` is None where it was given or the engine knows no other."""

    language: str
    confidence: float | None = None


class Transcriber(Protocol):
    """Turns speech into text. Raises JobFailure language_unsupported or engine_failed with a message for the customer.

    ``weight`` is what a second of audio costs in seconds of work on two cores, roughly: progress is shared out by it.
    ``windows`` says how much it hears at once.
    """

    weight: float

    @property
    def windows(self) -> WindowRules:
        """How much the engine hears at once."""
        ...

    def engine(self, options: TranscriptionOptions) -> str:
        """The name of what will transcribe, as ``name:model``."""
        ...

    def choose_language(
        self, recording: Recording, speech: Sequence[Span], options: TranscriptionOptions
    ) -> LanguageChoice:
        """The language asked for if the engine knows it, else what most of several windows of the speech are in."""
        ...

    def transcribe(
        self,
        recording: Recording,
        speech: Sequence[Span],
        options: TranscriptionOptions,
        on_progress: SecondsDone,
    ) -> Transcription:
        """Transcribe the ``speech`` of the recording (sorted, disjoint, perhaps empty)."""
        ...

    def transcribe_again(
        self,
        recording: Recording,
        speech: Sequence[Span],
        options: TranscriptionOptions,
        on_progress: SecondsDone,
    ) -> Transcription:
        """Transcribe ``speech`` that gave no words at first, with other settings; only what the engine is sure of."""
        ...
