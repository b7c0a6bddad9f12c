"""Form fields: every spelling a client may use, and refusals that name the field."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.api.asked import DEFAULT_FILENAME, MAX_FILENAME_CHARS, clean_filename
from functions.api.fields import MAX_TERM_CHARS, MAX_VOCABULARY_TERMS, Fields
from shared.domain.errors import InvalidRequest
from shared.domain.options import Model


def fields(*pairs: tuple[str, str]) -> Fields:
    gathered: dict[str, list[str]] = {}
    for name, value in pairs:
        gathered.setdefault(name, []).append(value)
    return Fields(gathered)


@pytest.mark.parametrize("text", ["true", "TRUE", "True", "1", "yes", "Yes", "on", " true "])
def test_spellings_of_true(text: str) -> None:
    assert fields(("summary", text)).boolean("summary", default=False)


@pytest.mark.parametrize("text", ["false", "FALSE", "0", "no", "NO", "off", " off"])
def test_spellings_of_false(text: str) -> None:
    assert not fields(("summary", text)).boolean("summary", default=True)


@pytest.mark.parametrize("text", ["maybe", "2", "-1", "t", "truee", "null", "None", "[]", "\x00", "真"])
def test_nonsense_is_refused_by_the_name_of_its_field(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        fields(("summary", text)).boolean("summary", default=False)
    assert refused.value.field == "summary"


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("given", [(), (("summary", ""),), (("summary", "  "),)])
def test_an_empty_value_is_the_default(given: tuple[tuple[str, str], ...], *, default: bool) -> None:
    assert fields(*given).boolean("summary", default=default) is default


def test_a_field_given_twice_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        fields(("summary", "true"), ("summary", "false")).boolean("summary", default=False)
    assert refused.value.field == "summary"


def test_models() -> None:
    assert fields().model() is Model.LARGE_V3
    assert fields(("model", " Whisper-Turbo ")).model() is Model.TURBO
    with pytest.raises(InvalidRequest, match="whisper-large-v3 or whisper-turbo") as refused:
        fields(("model", "gpt-5")).model()
    assert refused.value.field == "model"


def test_an_unknown_language_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(InvalidRequest, match=r"'klingon'.*af, am, ar.*zh\.") as refused:
        fields(("language", "klingon")).language()
    assert refused.value.field == "language"


@pytest.mark.parametrize(
    ("given", "terms"),
    [
        ([], ()),
        ([""], ()),
        ([" , ,"], ()),
        (["a"], ("a",)),
        (["Kubernetes, Dr. Nguyen ,etcd"], ("Kubernetes", "Dr. Nguyen", "etcd")),
        (['["Kubernetes", "Dr. Nguyen"]'], ("Kubernetes", "Dr. Nguyen")),
        (['  ["a, b"]  '], ("a, b",)),
        (["[]"], ()),
        (["a", "b", '["c"]'], ("a", "b", "c")),
        (["a,a", "a"], ("a",)),
        (["東京, 😀"], ("東京", "😀")),
        (["two\n words"], ("two words",)),
    ],
)
def test_a_vocabulary_is_an_array_or_a_list_or_repeated(given: list[str], terms: tuple[str, ...]) -> None:
    assert fields(*(("vocabulary", text) for text in given)).vocabulary() == terms


def test_the_name_with_brackets_is_taken_too() -> None:
    assert fields(("vocabulary[]", "a"), ("vocabulary[]", "b")).vocabulary() == ("a", "b")


@pytest.mark.parametrize(
    "text",
    [
        "[",
        '["a"',
        "[1]",
        "[null]",
        '[["a"]]',
        '{"a": 1}',
        "{",
        '["\\ud800"]',
        "[" * 100_000,
        "a\x00b",
        "x" * (MAX_TERM_CHARS + 1),
        ",".join(str(number) for number in range(MAX_VOCABULARY_TERMS + 1)),
    ],
    ids=lambda text: text[:12],
)
def test_a_malformed_vocabulary_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        fields(("vocabulary", text)).vocabulary()
    assert refused.value.field == "vocabulary"


@given(st.lists(st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20), max_size=20, unique=True))
def test_what_goes_in_as_json_comes_out(terms: list[str]) -> None:
    assert fields(("vocabulary", json.dumps(terms))).vocabulary() == tuple(terms)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("audio.mp3", "audio.mp3"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ada\\talk.wav", "talk.wav"),
        ("/absolute/", DEFAULT_FILENAME),
        ("", DEFAULT_FILENAME),
        (".", DEFAULT_FILENAME),
        ("..", DEFAULT_FILENAME),
        ("a\x00b\r\nc.mp3", "abc.mp3"),
        ("evil\u202e3pm.exe", "evil3pm.exe"),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467.m4a", "\U0001f468\u200d\U0001f469\u200d\U0001f467.m4a"),
        ("Gespräch 1 - Köln.ogg", "Gespräch 1 - Köln.ogg"),
        ("a" * 1_024, "a" * MAX_FILENAME_CHARS),
        ("a" * 1_024 + ".mp3", "a" * (MAX_FILENAME_CHARS - 4) + ".mp3"),
        ("a." + "b" * 1_024, ("a." + "b" * 1_024)[:MAX_FILENAME_CHARS]),
    ],
)
def test_a_filename_loses_its_path_and_what_cannot_be_printed(text: str, name: str) -> None:
    assert clean_filename(text) == name
