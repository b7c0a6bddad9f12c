"""Objects from outside: what is read can be stored, shown and logged; the rest is refused."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import InvalidRequest
from shared.domain.json_objects import MAX_DIGITS, read_object
from tests.json_texts import objects


def show(number: Decimal) -> str:
    """The number as our messages write it."""
    written = f"{number:f}"
    assert len(written) <= 3 * MAX_DIGITS
    return written


@given(objects.map(str.encode) | st.binary(max_size=30))
def test_what_is_read_can_be_written_and_what_cannot_be_is_refused(text: bytes) -> None:
    try:
        said: object = read_object(text)
    except InvalidRequest as refused:
        said = [refused.message, refused.field]
    assert json.dumps(said, ensure_ascii=False, default=show).encode()


@pytest.mark.parametrize("text", ["12.5", "1e3", "-0.001", "9" * MAX_DIGITS, "1E+39"])
def test_a_number_of_our_size_is_what_was_sent(text: str) -> None:
    assert read_object(f'{{"a": {text}}}'.encode())["a"] == Decimal(text)


def test_a_whole_character_beyond_the_first_plane_is_taken() -> None:
    assert read_object(rb'{"\ud83d\ude00": "\ud83d\ude00"}') == {"😀": "😀"}


def test_a_refusal_says_what_it_is_about() -> None:
    with pytest.raises(InvalidRequest, match=r"^a\.options\.json must be a JSON object\.$"):
        read_object(b"[]", what="a.options.json")
