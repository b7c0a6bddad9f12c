"""What a customer may ask of one transcription."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Model(StrEnum):
    """The models of the contract."""

    LARGE_V3 = "whisper-large-v3"
    TURBO = "whisper-turbo"


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionOptions:
    """One job's options, already validated. ``language`` "" means: detect it."""

    model: Model = Model.LARGE_V3
    language: str = ""
    diarization: bool = False
    timestamps: bool = True
    word_timestamps: bool = False
    summary: bool = False
    vocabulary: tuple[str, ...] = ()
    num_speakers: int | None = None  # for diarization; each None where the customer does not know
    min_speakers: int | None = None
    max_speakers: int | None = None
