"""How many GPUs of which chunk length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_jobs.planner import GPUS, plan_fleet, preparing_seconds, target_seconds
from tests.benchmarks.fanout import digest, simulate_all
from tests.infra.repository import ROOT


@given(minutes=st.floats(0.1, 720), gpu=st.sampled_from(sorted(GPUS)), ceiling=st.integers(1, 100))
def test_a_plan_keeps_to_its_ceiling_does_all_chunks_and_is_the_same_again(
    minutes: float, gpu: str, ceiling: int
) -> None:
    plan = plan_fleet(minutes * 60, GPUS[gpu], ceiling)

    assert 1 <= plan.gpus <= min(ceiling, plan.chunks)
    assert plan.chunks * plan.chunk_seconds == pytest.approx(minutes * 60)
    assert plan.meets_target == (plan.wall_seconds <= target_seconds(minutes * 60) + 1e-3)
    assert plan == plan_fleet(minutes * 60, GPUS[gpu], ceiling)


@given(minutes=st.floats(1, 600), ceiling=st.integers(1, 99))
def test_a_higher_ceiling_never_makes_a_plan_in_time_dearer_nor_a_late_one_later(minutes: float, ceiling: int) -> None:
    low = plan_fleet(minutes * 60, GPUS["L4"], ceiling)
    high = plan_fleet(minutes * 60, GPUS["L4"], ceiling + 1)

    if low.meets_target:
        assert high.meets_target
        assert high.dollars <= low.dollars
    else:
        assert high.wall_seconds <= low.wall_seconds


def test_ten_hours_within_two_per_cent_of_their_length_take_several_gpus() -> None:
    plan = plan_fleet(36_000.0, GPUS["L4"], 100)

    assert plan.meets_target
    assert plan.wall_seconds <= 720.0
    assert 2 <= plan.gpus < 100  # not more than it takes


def test_a_target_out_of_reach_gives_the_fastest_plan_and_says_so() -> None:
    plan = plan_fleet(36_000.0, GPUS["L4"], 1)

    assert not plan.meets_target
    assert plan.gpus == 1


def test_finding_the_speakers_is_in_the_time_and_in_the_price() -> None:
    words, both = (plan_fleet(1_800.0, GPUS["L4"], 1, speakers=speakers) for speakers in (None, GPUS["A10"]))
    working = 1_800.0 * GPUS["A10"].speakers_factor + GPUS["A10"].start_seconds

    paid = (working + GPUS["A10"].idle_seconds) * GPUS["A10"].dollars_per_second
    assert both.dollars == pytest.approx(words.dollars + paid)
    assert both.wall_seconds == max(words.wall_seconds, preparing_seconds(1_800.0) + working)


@pytest.mark.parametrize("minutes", [5, 30, 120, 600])
def test_the_gpus_of_production_find_the_speakers_within_the_target(minutes: int) -> None:
    assert plan_fleet(minutes * 60.0, GPUS["L4"], 10, speakers=GPUS["L40S"]).meets_target


def test_words_need_not_be_there_long_before_the_speakers() -> None:
    hurried = plan_fleet(36_000.0, GPUS["L4"], 100, target=300.0)
    patient = plan_fleet(36_000.0, GPUS["L4"], 100, target=300.0, speakers=GPUS["L40S"])

    assert hurried.meets_target
    assert not patient.meets_target  # nothing could: one GPU hears the whole
    assert patient.gpus < hurried.gpus


def test_the_target_counts_from_the_file_not_from_the_first_gpu() -> None:
    plan = plan_fleet(36_000.0, GPUS["H100"], 100)

    assert plan.wall_seconds > preparing_seconds(36_000.0) + GPUS["H100"].start_seconds


def test_the_plot_in_the_docs_shows_what_the_planner_does_now() -> None:
    drawn = (ROOT / "docs" / "images" / "fan-out.svg").read_text()

    assert digest(simulate_all(GPUS["L4"])) in drawn, "Run: make plots"


def test_no_audio_or_no_gpu_is_no_plan() -> None:
    with pytest.raises(ValueError, match="at least one GPU"):
        plan_fleet(60.0, GPUS["L4"], 0)
