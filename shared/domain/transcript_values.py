"""A transcript as plain values (JSON) and back. ``FORMAT`` is stored with it, so that later code can tell old ones."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from shared.domain.transcripts import Coverage, Engines, Segment, Speaker, Summary, Transcript, Word, WorkPlan

FORMAT = 2
READABLE = frozenset({1, 2})
"""1 had no coverage, no plan and no confidence of the language."""


def to_values(transcript: Transcript) -> dict[str, Any]:
    """Plain values, ready for json.dumps."""
    return {"format": FORMAT, **asdict(transcript)}


def from_values(values: dict[str, Any]) -> Transcript:
    """The transcript of such values. Raises ValueError for a format this code does not know."""
    if values.get("format") not in READABLE:
        raise ValueError(f"a transcript of format {values.get('format')!r}, this code reads {sorted(READABLE)}")
    summary, coverage = values["summary"], values.get("coverage")
    return Transcript(
        duration_seconds=values["duration_seconds"],
        language=values["language"],
        engines=Engines(**values["engines"]),
        segments=tuple(_to_segment(segment) for segment in values["segments"]),
        speakers=tuple(Speaker(**speaker) for speaker in values["speakers"]),
        summary=None if summary is None else Summary(text=summary["text"], topics=tuple(summary["topics"])),
        warnings=tuple(values["warnings"]),
        compute_seconds=dict(values["compute_seconds"]),
        coverage=None if coverage is None else Coverage(**coverage),
        plan=None if values.get("plan") is None else WorkPlan(**values["plan"]),
        language_confidence=values.get("language_confidence"),
    )


def _to_segment(values: dict[str, Any]) -> Segment:
    return Segment(**{**values, "words": tuple(Word(**word) for word in values["words"])})
