"""Whatever an engine writes can be said and timed, kept under Hypothesis."""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_jobs.align import Aligner
from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording
from gpu_jobs.pronounce import sound_out, spoken_tokens
from gpu_jobs.transcribe import Passage

RECORDING = Recording(samples=np.random.default_rng(7).normal(0, 0.05, SAMPLE_RATE_HZ).astype(np.float32))
ODD_DIGITS = "".join(chr(code) for code in range(0x20000) if unicodedata.category(chr(code)) in {"Nd", "Nl", "No"})
WRITTEN = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.text(alphabet=ODD_DIGITS, min_size=1, max_size=4),
        st.text(alphabet=f"0123456789.,'%$ stndrh²½①٣３{ODD_DIGITS[:40]}", max_size=8),  # noqa: RUF001 - odd on purpose
        st.sampled_from(["10²", "½", "①", "٣٫٥", "２０２４", "1st", "0th", "1.5th", "x²", "(2)", "<s>", "\x00"]),  # noqa: RUF001
    ),
    max_size=6,
).map(" ".join)

aligner = cache(Aligner)  # its model takes a second to load


@given(word=WRITTEN)
def test_any_word_is_said_in_tokens_without_spaces(word: str) -> None:
    tokens = spoken_tokens(word, {"one", "the", "s"}.__contains__)

    assert all(token and not any(letter.isspace() for letter in token) for token in tokens)
    assert all(isinstance(sound_out(token), str) for token in tokens)


@given(text=WRITTEN)
@settings(max_examples=60, deadline=None)
def test_any_text_is_given_word_times_in_order_and_inside_its_passage(text: str) -> None:
    passage = Passage(start_seconds=0.0, end_seconds=1.0, text=text)

    words = aligner().align(passage, RECORDING, ()).words

    assert [word.text for word in words] == text.split()
    edges = [edge for word in words for edge in (word.start_seconds, word.end_seconds)]
    assert edges == sorted(edges)
    assert all(0.0 <= edge <= 1.0 for edge in edges)
