"""A transcript as plain values (JSON) and back. ``FORMAT`` is stored with it, so that later code can tell old ones.

The words with their times are most of it and seldom needed: they are values of their own, in rows.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from shared.domain.plans import WorkPlan
from shared.domain.transcripts import Coverage, Engines, Segment, Speaker, Summary, Transcript, Word

FORMAT = 3
READABLE = frozenset({1, 2, 3})
"""1 had no coverage, no plan and no confidence of the language; until 2 the words were objects in their segments."""

WordRows = list[list[list[Any]]]
"""For each segment its words, each as text, start, end, confidence, aligned, and the speaker if not the segment's."""


def to_values(transcript: Transcript) -> dict[str, Any]:
    """Plain values, ready for json.dumps: all but the words."""
    return {"format": FORMAT, **asdict(replace(transcript, segments=tuple(_bare(s) for s in transcript.segments)))}


def word_rows(transcript: Transcript) -> WordRows:
    """The words, ready for json.dumps."""
    return [[_row(word, segment) for word in segment.words] for segment in transcript.segments]


def from_values(values: dict[str, Any], rows: WordRows | None = None) -> Transcript:
    """The transcript of such values, with its words where ``rows`` are given.

    Raises ValueError for a format this code does not know.
    """
    if values.get("format") not in READABLE:
        raise ValueError(f"a transcript of format {values.get('format')!r}, this code reads {sorted(READABLE)}")
    summary, coverage = values["summary"], values.get("coverage")
    return Transcript(
        duration_seconds=values["duration_seconds"],
        language=values["language"],
        engines=Engines(**values["engines"]),
        segments=_to_segments(values["segments"], rows),
        speakers=tuple(Speaker(**speaker) for speaker in values["speakers"]),
        summary=None if summary is None else Summary(text=summary["text"], topics=tuple(summary["topics"])),
        warnings=tuple(values["warnings"]),
        compute_seconds=dict(values["compute_seconds"]),
        coverage=None if coverage is None else Coverage(**coverage),
        plan=None if values.get("plan") is None else WorkPlan(**values["plan"]),
        language_confidence=values.get("language_confidence"),
    )


def _bare(segment: Segment) -> Segment:
    return replace(segment, words=())


def _row(word: Word, segment: Segment) -> list[Any]:
    row = [word.text, word.start_seconds, word.end_seconds, word.confidence, word.aligned]
    return row if word.speaker_id == segment.speaker_id else [*row, word.speaker_id]


def _to_segments(values: list[dict[str, Any]], rows: WordRows | None) -> tuple[Segment, ...]:
    said: list[list[Word]]
    if rows is None:
        said = [[Word(**word) for word in each["words"]] for each in values]
    else:
        said = [[_to_word(row, each["speaker_id"]) for row in words] for each, words in zip(values, rows, strict=True)]
    return tuple(
        Segment(**{**each, "words": _spaced(words, each["text"])}) for each, words in zip(values, said, strict=True)
    )


def _spaced(words: list[Word], text: str) -> tuple[Word, ...]:
    """The words, written together where their segment's text has no space: that is not stored with them."""
    spaced, at = [], 0
    for word in words:
        place = text.find(word.text, at)
        if place < 0:
            return tuple(words)
        spaced.append(word if place == 0 or text[place - 1] == " " else replace(word, space_before=False))
        at = place + len(word.text)
    return tuple(spaced)


def _to_word(row: list[Any], speaker_id: str | None) -> Word:
    text, start, end, confidence, aligned, *own = row
    return Word(
        text=text,
        start_seconds=start,
        end_seconds=end,
        confidence=confidence,
        aligned=aligned,
        speaker_id=own[0] if own else speaker_id,
    )
