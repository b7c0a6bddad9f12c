"""The list of languages is Whisper's, in the contract's order."""

from __future__ import annotations

import pytest

from shared.domain.languages import find_language, language_codes, languages


def test_auto_detection_comes_first_then_the_three_of_the_contract() -> None:
    assert languages()[:4] == [("", "Auto-detect"), ("en", "English"), ("es", "Spanish"), ("fr", "French")]


def test_the_rest_is_in_the_order_of_names() -> None:
    names = [name for _, name in languages()[4:]]
    assert names == sorted(names)


def test_every_language_of_the_engine_is_there_and_no_other() -> None:
    from faster_whisper.tokenizer import _LANGUAGE_CODES  # the engine keeps it private; the contract is its list

    assert set(language_codes()) == set(_LANGUAGE_CODES)
    assert len(languages()) == len(_LANGUAGE_CODES) + 1


@pytest.mark.parametrize(
    ("text", "code"), [("", ""), (" ", ""), ("en", "en"), (" EN ", "en"), ("YUE", "yue"), ("jv", "jw"), ("nb", "no")]
)
def test_a_language_is_found_whatever_its_case(text: str, code: str) -> None:
    assert find_language(text) == code


@pytest.mark.parametrize("text", ["xx", "english", "en-US", "auto", "e", "en\n x", "\u0435n"])
def test_anything_else_is_no_language(text: str) -> None:
    assert find_language(text) is None
