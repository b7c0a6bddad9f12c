"""Summaries: the port, and two engines behind it, a language model and the talk's own sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from shared.domain.transcripts import Segment, Summary

MAX_TOPICS, MAX_TOPIC_CHARS = 8, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkNotes:
    """A summary and what the speakers are called, by id; an id that is not in ``labels`` stayed nameless."""

    summary: Summary
    labels: dict[str, str] = field(default_factory=dict)


class Summarizer(Protocol):
    """Sums up a talk. ``weight`` is seconds of work for a second of talk, roughly; ``engine`` is ``name:model``."""

    weight: float
    engine: str

    def summarize(self, segments: Sequence[Segment], language: str) -> TalkNotes | None:
        """The notes, or None if nothing was said. May raise anything: the transcript stands without them."""
        ...
