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
_SPACELESS_BLOCKS = (
    ("\u0e00", "\u0eff"),  # Thai, Lao
    ("\u0f00", "\u109f"),  # Tibetan, Burmese
    ("\u1780", "\u17ff"),  # Khmer
    ("\ua9e0", "\ua9ff"),  # Burmese
    ("\uaa60", "\uaa7f"),
)
_SHARED_MARKS = "“”‘’\"'…—·"  # noqa: RUF001 - Chinese shares them with Latin, where spaces stand around them


def is_katakana(char: str) -> bool:
    """True for the script in which Japanese writes what it took from other languages."""
    return "\u30a1" <= char <= "\u30ff" and char != "・"


def is_spaceless(char: str) -> bool:
    """True for a character of a script without spaces between words."""
    return is_ideographic(char) or any(first <= char <= last for first, last in _SPACELESS_BLOCKS)


def without_closing_marks(text: str) -> str:
    """The text up to its last word or full stop: without the brackets and quotation marks after that."""
    return text.rstrip(_AFTER_A_SENTENCE)


def ends_sentence(text: str) -> bool:
    """True where the last thing said is a full stop, in quotation marks or not. An abbreviation's counts, too."""
    return without_closing_marks(text)[-1:] in SENTENCE_ENDS


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
