"""Text as readers see it: grapheme clusters, columns and direction, with the standard library alone.

Clusters follow Unicode Standard Annex 29 (extended grapheme clusters) as far as speech transcripts need it: combining
marks, emoji sequences, flags, Hangul jamo and Indic conjuncts. Columns follow East Asian Width (Annex 11): an
ideograph is as wide as two Latin letters, which is also how subtitle guides count (42 Latin or 21 Chinese letters).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Literal

Direction = Literal["ltr", "rtl"]

ZERO_WIDTH_JOINER = "\u200d"
FIRST_STRONG_ISOLATE, POP_ISOLATE = "\u2068", "\u2069"
LEFT_TO_RIGHT_MARK = "\u200e"
RIGHT_TO_LEFT_EMBEDDING, POP_EMBEDDING = "\u202b", "\u202c"

_VIRAMA_CLASS = 9
_SPACING_VOWELS = frozenset("\u0e33\u0eb3")  # Thai and Lao AM: letters by category, marks by behaviour
_OVERRIDES = {ord(char): None for char in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}


def graphemes(text: str) -> Iterator[str]:
    """The grapheme clusters of ``text``, in order; joined together they are ``text`` again."""
    if text.isascii() and "\r\n" not in text:
        yield from text
        return
    start = 0
    for index in range(1, len(text)):
        if not _joins(text, start, index):
            yield text[start:index]
            start = index
    if text:
        yield text[start:]


def columns(text: str) -> int:
    """How many columns ``text`` takes: 2 for an ideograph or an emoji, 0 for what is invisible, else 1."""
    if text.isascii():
        return len(text)
    return sum(_columns_of(cluster) for cluster in graphemes(text))


def is_ideographic(char: str) -> bool:
    """True for Chinese characters and kana, between which a line may break without a space."""
    code = ord(char)
    return (
        0x3005 <= code <= 0x3007  # the iteration mark and the zero
        or 0x3040 <= code <= 0x30FF
        or 0x3400 <= code <= 0x4DBF
        or 0x4E00 <= code <= 0x9FFF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x3FFFD
    )


def direction(text: str) -> Direction | None:
    """The direction of the first strong character outside isolates (Annex 9, rule P2); None when there is none."""
    depth = 0
    for char in text:
        if char in "\u2066\u2067\u2068":
            depth += 1
        elif char == POP_ISOLATE:
            depth = max(0, depth - 1)
        elif depth == 0:
            strength = unicodedata.bidirectional(char)
            if strength in {"R", "AL"}:
                return "rtl"
            if strength == "L":
                return "ltr"
    return None


def main_direction(text: str) -> Direction:
    """The direction that most letters outside isolates have: a Hebrew sentence may well begin with an English name."""
    outside = re.sub(f"{FIRST_STRONG_ISOLATE}.*?{POP_ISOLATE}", "", text)
    strengths = [unicodedata.bidirectional(char) for char in outside]
    right_to_left = sum(strength in {"R", "AL"} for strength in strengths)
    return "rtl" if right_to_left * 2 > right_to_left + strengths.count("L") else "ltr"


def has_right_to_left(text: str) -> bool:
    """True when any character is written right to left."""
    return not text.isascii() and any(unicodedata.bidirectional(char) in {"R", "AL"} for char in text)


def isolate(text: str) -> str:
    """``text`` so wrapped that its direction cannot disturb, or be disturbed by, what stands around it."""
    return f"{FIRST_STRONG_ISOLATE}{text}{POP_ISOLATE}"


def clean(text: str) -> str:
    """One line of printable text: white space made single spaces, control characters and direction overrides gone.

    An override left open in a transcript or a label would turn everything after it around (the Trojan Source trick).
    """
    spaced = " ".join(text.translate(_OVERRIDES).split())
    return "".join(char for char in spaced if unicodedata.category(char) not in {"Cc", "Cs", "Cn"})


def _joins(text: str, start: int, index: int) -> bool:
    """True when the character at ``index`` belongs to the cluster that began at ``start``."""
    char, before = text[index], text[index - 1]
    if "Cc" in {unicodedata.category(before), unicodedata.category(char)}:
        return before + char == "\r\n"
    if _extends(char):
        return True
    if before == ZERO_WIDTH_JOINER:
        return _is_pictograph(text[start]) and _is_pictograph(char)
    if unicodedata.combining(before) == _VIRAMA_CLASS:
        return unicodedata.category(char) == "Lo"
    if _is_flag_letter(char) and _is_flag_letter(before):
        return (index - start) % 2 == 1
    return _is_hangul_sequence(before, char)


def _extends(char: str) -> bool:
    code = ord(char)
    return (
        unicodedata.category(char) in {"Mn", "Me", "Mc"}
        or char in _SPACING_VOWELS
        or char in {ZERO_WIDTH_JOINER, "\u200c"}
        or 0x1F3FB <= code <= 0x1F3FF  # skin tones
        or 0xE0020 <= code <= 0xE007F  # tags of flags such as Wales
    )


def _is_pictograph(char: str) -> bool:
    return unicodedata.category(char) == "So" and not _is_flag_letter(char)


def _is_flag_letter(char: str) -> bool:
    return 0x1F1E6 <= ord(char) <= 0x1F1FF


def _is_hangul_sequence(before: str, char: str) -> bool:
    first, second = _hangul_kind(before), _hangul_kind(char)
    return (first, second) in {
        ("L", "L"), ("L", "V"), ("L", "LV"), ("L", "LVT"),
        ("LV", "V"), ("LV", "T"), ("V", "V"), ("V", "T"),
        ("LVT", "T"), ("T", "T"),
    }  # fmt: skip


def _hangul_kind(char: str) -> str:
    code = ord(char)
    if 0xAC00 <= code <= 0xD7A3:
        return "LV" if (code - 0xAC00) % 28 == 0 else "LVT"
    if 0x1100 <= code <= 0x115F or 0xA960 <= code <= 0xA97C:
        return "L"
    if 0x1160 <= code <= 0x11A7 or 0xD7B0 <= code <= 0xD7C6:
        return "V"
    if 0x11A8 <= code <= 0x11FF or 0xD7CB <= code <= 0xD7FB:
        return "T"
    return ""


def _columns_of(cluster: str) -> int:
    first = cluster[0]
    if unicodedata.category(first) in {"Cf", "Cc", "Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(first) in {"W", "F"} else 1
