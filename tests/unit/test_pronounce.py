"""How written words are said."""

from __future__ import annotations

import pytest

from gpu_jobs.pronounce import number_words, sound_out, spoken_tokens

DICTIONARY = frozenset(
    [
        *("it's", "laughing", "well", "known", "u.s.", "mr.", "noisy", "dragon", "fruit", "one", "two", "nineteen"),
        *("the", "cat", "o'clock", "'em", "nasa", "s"),
    ]
)


@pytest.mark.parametrize(
    ("written", "tokens"),
    [
        ("It's", ("it's",)),
        ("it’s,", ("it's",)),  # noqa: RUF001 - a typographic apostrophe is the point
        ("“Laughing!”", ("laughing",)),
        ("laughin'", ("laughing",)),
        ("well-known", ("well", "known")),
        ("U.S.", ("u.s.",)),
        ("N.A.S.A.", ("nasa",)),
        ("Mr.", ("mr.",)),
        ("dragonfruit", ("dragon", "fruit")),
        ("cat's", ("cat", "s")),
        ("1984", ("nineteen", "eighty", "four")),
        ("2,026", ("two", "thousand", "twenty", "six")),
        ("$3.50", ("dollars", "three", "point", "five", "zero")),
        ("21st", ("twenty", "first")),
        ("007", ("zero", "zero", "seven")),
        ("5%", ("five", "percent")),
        ("bbc", ("b", "b", "c")),
        ("covid-19", ("covid", "nineteen")),
        ("10²", ("ten", "²")),
        ("½", ("½",)),
        ("٢١", ("twenty", "one")),
        ("—", ()),
        ("...", ()),
    ],
)
def test_a_written_word_is_said_as_people_say_it(written: str, tokens: tuple[str, ...]) -> None:
    assert spoken_tokens(written, DICTIONARY.__contains__) == tokens


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (40, "forty"),
        (115, "one hundred fifteen"),
        (2000, "two thousand"),
        (1_000_000, "one million"),
        (1905, "one thousand nine hundred five"),
    ],
)
def test_numbers_are_spelt_out(number: int, words: str) -> None:
    assert " ".join(number_words(number)) == words


def test_an_unknown_word_is_sounded_out() -> None:
    assert sound_out("phighter") == "F AY T ER"
    assert sound_out("covid") == "K AA V IH D"
    assert sound_out("celine") == "S EH L IH N"


def test_what_has_no_latin_letters_has_no_sound() -> None:
    assert sound_out("你好") == ""
    assert sound_out("²") == ""
    assert sound_out("") == ""
