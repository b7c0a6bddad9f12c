"""The words of Whisper's text, made of what the library times.

In scripts without spaces it times tokens, and "2024" comes as "20" and "24". A space before a token is then the only
sign that a word begins; where there is none, the characters that touch say whether a word may end between them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gpu_jobs.chunks import Window
from shared.domain.graphemes import graphemes
from shared.domain.scripts import NEVER_FIRST_KANA, OPENING_MARKS, is_katakana, is_spaceless
from shared.domain.transcripts import Word

TOKEN_LANGUAGES = frozenset({"zh", "yue", "ja", "th", "lo", "my"})
"""Source: ``split_to_word_tokens`` of faster_whisper.tokenizer."""

MAX_WORD_CHARS = 30
"""A model in a loop writes one number or name without end; cut into words of this length, it is found to be a loop."""

CONNECTORS, DIGIT_CONNECTORS = frozenset(".'’-/&@_"), frozenset(",:")  # noqa: RUF001 - a typographic apostrophe is meant
"""Inside a word between two letters or digits, "GPT-4" and "3.14", or between two digits only, "1,500"."""

VOWELS_AFTER = frozenset("ะาๅๆฯະາໆຯ")
VOWELS_BEFORE = frozenset("เแโใไເແໂໃໄ")
"""Thai and Lao vowels and signs that stand behind their consonant, and those that stand before it."""


def words_of(timed: Iterable[Any], window: Window, heard_from: float, language: str) -> list[Word]:
    """The words with their places in the recording, their texts and spaces together what the model wrote.

    The library's clock showed ``heard_from`` when the window began. What it splits off without a space ("'s") goes
    back to its word.
    """
    words: list[Word] = []
    is_apart = True
    for item in timed:
        text = item.word.strip()
        is_apart = is_apart or item.word[:1].isspace()
        if not text:
            continue
        word = _placed(item, window, heard_from, is_apart=is_apart)
        if not is_apart and (language not in TOKEN_LANGUAGES or is_inside_word(words[-1].text, text)):
            words[-1] = _together(words[-1], word)
        else:
            words.append(word)
        is_apart = item.word[-1:].isspace()
    return words


def is_inside_word(before: str, after: str) -> bool:
    """True where no word ends between the two, which are written without a space between them."""
    if len(before) + len(after) > MAX_WORD_CHARS:
        return False
    last, first = before[-1], after[0]
    if _clings_to_the_left(last, first) or _clings_to_the_right(last) or (is_katakana(last) and is_katakana(first)):
        return True
    if not _is_of_a_spaced_word(first):
        return False
    if first.isdecimal() and last in DIGIT_CONNECTORS:
        return before[-2:-1].isdecimal()
    return _is_of_a_spaced_word(before[-2:-1] if last in CONNECTORS else last)


def _clings_to_the_left(last: str, first: str) -> bool:
    """A closing mark, a small kana, and whatever is one letter with the character before it."""
    is_mark = unicodedata.category(first).startswith("P") and first not in OPENING_MARKS
    return is_mark or first in NEVER_FIRST_KANA | VOWELS_AFTER or len(list(graphemes(last + first))) == 1


def _clings_to_the_right(last: str) -> bool:
    return last in OPENING_MARKS | VOWELS_BEFORE or unicodedata.category(last) == "Sc"


def _is_of_a_spaced_word(char: str) -> bool:
    return char.isdecimal() or (char.isalnum() and not is_spaceless(char))


def _placed(item: Any, window: Window, heard_from: float, *, is_apart: bool) -> Word:
    place = window.place(float(item.start) - heard_from, float(item.end) - heard_from)
    return Word(
        text=item.word.strip(),
        start_seconds=round(place.start_seconds, 3),
        end_seconds=round(place.end_seconds, 3),
        confidence=round(float(item.probability), 3),
        space_before=is_apart,
    )


def _together(word: Word, piece: Word) -> Word:
    """One word, as sure as the least sure of its parts; a mark is none."""
    parts = [part for part in (word, piece) if any(char.isalnum() for char in part.text)] or [word]
    return replace(
        word,
        text=word.text + piece.text,
        end_seconds=max(word.end_seconds, piece.end_seconds),
        confidence=min(part.confidence or 0.0 for part in parts),
    )
