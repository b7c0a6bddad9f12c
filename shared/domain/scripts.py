"""Marks and spaces of the world's scripts: what ends a sentence, what opens and closes, what has no space around it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from shared.domain.graphemes import is_ideographic

SENTENCE_ENDS = frozenset(".!?…。！？｡．؟۔।॥։။።។៕")  # noqa: RUF001 - full stops of other scripts
CLOSING_BRACKETS = frozenset(")]}）］｝】〕〉》」』｣")  # noqa: RUF001 - full-width ones are meant
CLOSING_MARKS = CLOSING_BRACKETS | frozenset("\"'”’»›")  # noqa: RUF001 - quotation marks are meant
"""The quotation marks among them open in some languages: »so« in Danish, ”so” in Swedish."""

OPENING_MARKS = frozenset("([{（［｛【〔〈《「『｢“‘«‹")  # noqa: RUF001 - full-width ones and quotation marks are meant
NEVER_FIRST_KANA = frozenset("ーぁぃぅぇぉっゃゅょァィゥェォッャュョ々")
"""What belongs to the character before it, in Japanese typesetting as in speech."""

_AFTER_A_SENTENCE = "".join(CLOSING_MARKS) + "“‘«‹"  # noqa: RUF001 - in German and Danish these close
_SHARED_MARKS = "“”‘’\"'…—·"  # noqa: RUF001 - Chinese shares them with Latin, where spaces stand around them


def without_closing_marks(text: str) -> str:
    """The text up to its last word or full stop: without the brackets and quotation marks after that."""
    return text.rstrip(_AFTER_A_SENTENCE)


def join_texts(texts: Iterable[str]) -> str:
    """The texts that say something, one after the other, with a space wherever their scripts have one."""
    parts: list[str] = []
    for text in filter(None, texts):
        if parts and not is_written_together(parts[-1], text):
            parts.append(" ")
        parts.append(text)
    return "".join(parts)


def is_written_together(before: str, after: str) -> bool:
    """True where no space belongs between two sentences: both are Chinese or Japanese, or a full-width mark is between.

    Thai, Lao and Burmese have no spaces between words, but one between sentences.
    """
    last, first = before.rstrip(_SHARED_MARKS)[-1:], after.lstrip(_SHARED_MARKS)[:1]
    if not last or not first:
        return False
    return (is_ideographic(last) and is_ideographic(first)) or _brings_its_space(last) or _brings_its_space(first)


def _brings_its_space(char: str) -> bool:
    return unicodedata.category(char).startswith("P") and unicodedata.east_asian_width(char) in {"W", "F", "H"}
