"""What a transcription costs."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.options import Model, TranscriptionOptions
from shared.domain.pricing import Price, PriceTable

TABLE = PriceTable(
    version="t",
    models_per_minute_millicredits={Model.LARGE_V3: 1_000, Model.TURBO: 500},
    diarization_per_minute_millicredits=200,
    summary_per_minute_millicredits=100,
    minimum_millicredits=100,
    step_millicredits=100,
)


@pytest.mark.parametrize(
    ("seconds", "millicredits"),
    [(0, 0), (0.01, 100), (6, 100), (6.001, 200), (60, 1_000), (90, 1_500), (330, 5_500), (1847.5, 30_800)],
)
def test_audio_is_charged_by_the_minute_rounded_up_to_a_tenth_of_a_credit(seconds: float, millicredits: int) -> None:
    assert TABLE.price_of(TranscriptionOptions()).charge(seconds) == millicredits


def test_options_add_their_surcharges() -> None:
    options = TranscriptionOptions(model=Model.TURBO, diarization=True, summary=True)
    assert TABLE.price_of(options).charge(60) == 800


@given(st.floats(min_value=0, max_value=10**6), st.floats(min_value=0, max_value=10**6))
def test_more_audio_never_costs_less(one: float, other: float) -> None:
    price = TABLE.price_of(TranscriptionOptions())
    shorter, longer = sorted((one, other))
    assert price.charge(shorter) <= price.charge(longer)


@given(st.floats(min_value=0.001, max_value=10**6))
def test_a_charge_is_a_whole_number_of_steps_and_at_least_the_minimum(seconds: float) -> None:
    charge = TABLE.price_of(TranscriptionOptions()).charge(seconds)
    assert charge % 100 == 0
    assert charge >= 100


def test_the_table_in_the_repository_can_be_read() -> None:
    text = Path("shared/pricing.toml").read_text("utf-8")
    price = PriceTable.from_mapping(tomllib.loads(text)).price_of(TranscriptionOptions())
    assert isinstance(price, Price)


@pytest.mark.parametrize("missing", ["version", "models", "surcharges", "minimum", "step"])
def test_a_table_with_something_missing_says_what(missing: str) -> None:
    data = tomllib.loads(Path("shared/pricing.toml").read_text("utf-8"))
    del data[missing]
    with pytest.raises(ValueError, match=missing):
        PriceTable.from_mapping(data)


def test_a_negative_price_is_refused() -> None:
    data = tomllib.loads(Path("shared/pricing.toml").read_text("utf-8"))
    data["models"]["whisper-turbo"] = -1
    with pytest.raises(ValueError, match="negative"):
        PriceTable.from_mapping(data)


def test_a_price_change_does_not_alter_a_price_already_taken() -> None:
    before = TABLE.price_of(TranscriptionOptions())
    dearer = replace(TABLE, models_per_minute_millicredits={Model.LARGE_V3: 9_000, Model.TURBO: 9_000})
    assert before.charge(60) == 1_000
    assert dearer.price_of(TranscriptionOptions()).charge(60) == 9_000
