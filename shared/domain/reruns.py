"""One stage of a completed transcription, run again: a job of its own that builds on the result of the first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from shared.domain.ids import JobId
from shared.domain.options import TranscriptionOptions


class RerunStage(StrEnum):
    """What can be run again without the rest."""

    DIARIZATION = "diarization"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """What a job runs again: a stage of the job ``of``, over the transcript that lay under ``base_key`` then.

    A corrected transcript gets a key of its own, so the key names the words for good.
    """

    stage: RerunStage
    of: JobId
    base_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunWish:
    """What its owner asks for; the counts are for diarization, each None where the customer does not know."""

    stage: RerunStage
    num_speakers: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None

    @property
    def name(self) -> str:
        """The same for the same wish."""
        return f"{self.stage}-{self.num_speakers}-{self.min_speakers}-{self.max_speakers}"


def options_of(options: TranscriptionOptions, wish: RerunWish) -> TranscriptionOptions:
    """The options of the new job: those of the first, and what is run again."""
    if wish.stage is RerunStage.SUMMARY:
        return replace(options, summary=True)
    return replace(
        options,
        diarization=True,
        num_speakers=wish.num_speakers,
        min_speakers=wish.min_speakers,
        max_speakers=wish.max_speakers,
    )
