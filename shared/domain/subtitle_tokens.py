"""The smallest pieces a subtitle may be broken between, each with its time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from shared.domain.graphemes import clean, columns, graphemes, is_ideographic
from shared.domain.scripts import CLOSING_MARKS, NEVER_FIRST_KANA, OPENING_MARKS, SENTENCE_ENDS, without_closing_marks
from shared.domain.transcripts import Segment

_CLAUSE_ENDS = frozenset(",;:，、；：،؛—–")  # noqa: RUF001 - full-width and dashes are meant
_NEVER_FIRST = SENTENCE_ENDS | _CLAUSE_ENDS | CLOSING_MARKS | NEVER_FIRST_KANA


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A word, or a piece of one where a line may break without a space."""

    text: str
    start_seconds: float
    end_seconds: float
    columns: int
    space_before: bool
    speaker_id: str | None
    ends_sentence: bool
    ends_clause: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """Text with a time: a word of the engine, or a whole segment where the engine gave no words."""

    text: str
    space_before: bool
    start_seconds: float
    end_seconds: float
    speaker_id: str | None


def tokens_of(segment: Segment, limit_columns: int) -> Iterator[Token]:
    """The tokens of a segment, none wider than ``limit_columns``, in order; their times never walk backwards.

    The segment's text is what is shown: words only lend their times. Where a segment has no words, or they are not
    those of its text, time is shared out by width.
    """
    at = 0.0
    for stretch in _stretches(segment):
        for token in _pieces(stretch, limit_columns):
            start, end = max(at, token[1]), max(at, token[2])
            at = start
            yield _token(token[0], start, end, stretch.speaker_id, space_before=token[3])


def _stretches(segment: Segment) -> list[_Stretch]:
    text = clean(segment.text)
    start = _sound(segment.start_seconds, 0.0)
    end = max(start, _sound(segment.end_seconds, start))
    whole = _Stretch(text=text, space_before=True, start_seconds=start, end_seconds=end, speaker_id=segment.speaker_id)
    places, at = [], 0
    for word in segment.words:
        place = text.find(clean(word.text), at)
        if place < 0:
            return [whole]
        places.append(place)
        at = place + len(clean(word.text))
    if not places:
        return [whole]
    places[0] = 0
    stretches = []
    for index, word in enumerate(segment.words):
        begin = places[index]
        until = places[index + 1] if index + 1 < len(places) else len(text)
        word_start = _sound(word.start_seconds, start)
        stretches.append(
            _Stretch(
                text=text[begin:until],
                space_before=begin == 0 or text[begin - 1] == " ",
                start_seconds=word_start,
                end_seconds=max(word_start, _sound(word.end_seconds, word_start)),
                speaker_id=word.speaker_id or segment.speaker_id,
            )
        )
    return stretches


def _pieces(stretch: _Stretch, limit_columns: int) -> Iterator[tuple[str, float, float, bool]]:
    """(text, start, end, space before) of each unbreakable piece, time shared out by width."""
    parts = [
        (piece, index == 0 and (word_index > 0 or stretch.space_before))
        for word_index, word in enumerate(stretch.text.split())
        for index, piece in enumerate(_break_word(word, limit_columns))
    ]
    total = sum(columns(piece) or 1 for piece, _ in parts)
    seconds = stretch.end_seconds - stretch.start_seconds
    done = 0
    for piece, space_before in parts:
        start = stretch.start_seconds + seconds * done / total
        done += columns(piece) or 1
        yield piece, start, stretch.start_seconds + seconds * done / total, space_before


def _break_word(word: str, limit_columns: int) -> list[str]:
    """A word in pieces: between ideographs where typesetters allow it, elsewhere only if it is too wide for a line."""
    if word.isascii() and len(word) <= limit_columns:
        return [word]
    pieces: list[str] = []
    for cluster in graphemes(word):
        if pieces and not _may_break(pieces[-1], cluster) and columns(pieces[-1] + cluster) <= limit_columns:
            pieces[-1] += cluster
        else:
            pieces.append(cluster)
    return pieces


def _may_break(before: str, cluster: str) -> bool:
    if not (is_ideographic(before[-1]) or is_ideographic(cluster[0])):
        return False
    return cluster[0] not in _NEVER_FIRST and before[-1] not in OPENING_MARKS


def _token(text: str, start: float, end: float, speaker_id: str | None, *, space_before: bool) -> Token:
    bare = without_closing_marks(text)
    last = bare[-1] if bare else ""
    return Token(
        text=text,
        start_seconds=start,
        end_seconds=end,
        columns=columns(text),
        space_before=space_before,
        speaker_id=speaker_id,
        ends_sentence=last in SENTENCE_ENDS,
        ends_clause=last in _CLAUSE_ENDS,
    )


def _sound(seconds: float, otherwise: float) -> float:
    return max(0.0, seconds) if math.isfinite(seconds) else otherwise
