"""Promises of Whisper's words that hold for every text, kept under Hypothesis."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import regex
from hypothesis import given
from hypothesis import strategies as st

from gpu_jobs.chunks import Span, Window
from gpu_jobs.merge import join_words
from gpu_jobs.transcribe.whisper_words import MAX_WORD_CHARS, words_of

WINDOW = Window(parts=(Span(start_seconds=0.0, end_seconds=1_000.0),))
PIECES = [
    *("我们", "20", "24", "Open", "AI", " AI", "3", ".", "14", "，", "。", "「", "」", " ", "イ", "ンター", "っ", "ー"),  # noqa: RUF001
    *("ส", "ั", "เ", " ว", "า", "က", "်", "“", "”", "$", "%", "e\u0301", "\u0301", "👍", "🏽", "한", "don", "'t"),
    *(",", "…", "  ", "x "),
]
TOKENS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(min_size=1, max_size=3)), max_size=40)


@given(tokens=TOKENS, language=st.sampled_from(["zh", "ja", "th", "my", "en", "de"]))
def test_the_words_are_the_text_and_no_letter_is_cut_in_two(tokens: list[str], language: str) -> None:
    timed = [SimpleNamespace(word=t, start=i, end=i + 1, probability=0.5) for i, t in enumerate(tokens)]

    words = words_of(timed, WINDOW, 0.0, language)

    text = join_words(words)
    assert text == " ".join("".join(tokens).split()) or any(len(token.split()) > 1 for token in tokens)
    assert all(word.text == word.text.strip() for word in words)
    for before, after in pairwise(words):
        assert before.start_seconds < before.end_seconds <= after.start_seconds
        is_whole = len(regex.findall(r"\X", before.text + after.text)) > len(regex.findall(r"\X", before.text))
        assert after.space_before or is_whole or len(before.text + after.text) > MAX_WORD_CHARS
