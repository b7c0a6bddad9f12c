"""The form of API keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.system import random_token
from shared.domain.accounts import KEY_PREFIX, hash_key, is_well_formed_key, make_key_secret


def test_a_fresh_key_is_well_formed_and_recognisable() -> None:
    secret = make_key_secret(random_token())
    assert secret.startswith(KEY_PREFIX)
    assert is_well_formed_key(secret)
    assert secret not in hash_key(secret)


@given(st.integers(min_value=0, max_value=54), st.sampled_from("aB3_"))
def test_one_wrong_character_is_noticed_without_a_table(position: int, character: str) -> None:
    secret = make_key_secret("x" * 43)
    wrong = secret[:position] + character + secret[position + 1 :]
    assert is_well_formed_key(wrong) == (wrong == secret)


@pytest.mark.parametrize("text", ["", "att_", "Bearer", "att_" + "x" * 51, "att_" + "é" * 43 + "0" * 8, "x" * 10_000])
def test_other_text_is_not_a_key(text: str) -> None:
    assert not is_well_formed_key(text)
