"""The cost model: its calls are the counted ones, its document is up to date, its arithmetic holds together."""

from __future__ import annotations

import json
import re

import pytest

from infra.admin import cost
from infra.admin.__main__ import main
from tests.infra.policies import RESOURCES
from tests.infra.repository import ROOT

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_document_is_what_the_model_says() -> None:
    assert (ROOT / "docs" / "cost.md").read_text(encoding="utf-8") == cost.document()


def test_every_input_has_a_value_a_source_and_a_date() -> None:
    raw = cost.read_inputs().raw
    for group, entries in raw.items():
        if group != "calls":
            for name, each in entries.items():
                assert each["value"] > 0, f"{group}.{name}"
                assert each["source"]
                assert each["date"] >= "2025"


def test_a_measured_speed_takes_the_place_of_the_scaled_one() -> None:
    slow = cost.read_inputs({"L4": 20.0})
    assert cost.speed(slow, "whisper-turbo", "L4") == 20.0
    assert cost.gpu_dollars_per_hour(slow, "whisper-turbo", "L4") > cost.gpu_dollars_per_hour(
        cost.read_inputs(), "whisper-turbo", "L4"
    )


def test_an_hour_on_a_gpu_costs_its_seconds_and_its_idle_share() -> None:
    inputs = cost.read_inputs({"L4": 36.0})  # 100 s of work, 100 / 0.7 s paid
    assert cost.gpu_dollars_per_hour(inputs, "whisper-large-v3", "L4") == pytest.approx(100 / 0.7 * 0.000222)


def test_where_others_are_cheaper_it_says_never() -> None:
    inputs = cost.read_inputs(dict.fromkeys(cost.read_inputs().gpus, 0.5))
    assert all(row["hours_a_month"] is None for row in cost.break_even(inputs, "whisper-turbo"))


def test_the_command_needs_no_deployment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "cost", "--speed", "L4=40"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {row["gpu"] for row in shown["per_audio_hour"]} >= {"T4", "L4", "A10", "L40S", "A100-80GB", "H100"}


@pytest.mark.parametrize("text", ["L4", "L4=", "L4=0", "L4=-1", "=3", "L4=nan"])
def test_a_malformed_speed_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["cost", "--speed", text])
    assert "like L4=40" in capsys.readouterr().err


def test_what_a_stage_costs_at_rest_is_the_sum_of_its_table_and_the_alarms_in_it_are_those_of_the_template() -> None:
    section = OPERATIONS.partition("## What it costs at rest")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| ([0-9.]+) \|$", section, re.MULTILINE)
    total = sum(float(dollars) for what, dollars in rows if "SnapStart" not in what)
    assert total == pytest.approx(cost.read_inputs().value("price", "at_rest_month"), abs=0.005)
    assert f"About {total:.2f} dollars" in section
    alarms = {name: each for name, each in RESOURCES.items() if each["Type"] == "AWS::CloudWatch::Alarm"}
    # An alarm over a formula is paid for by the metrics it reads.
    counts = {
        name: max(1, sum("MetricStat" in metric for metric in each["Properties"].get("Metrics", [])))
        for name, each in alarms.items()
    }
    on_modal = sum(count for name, count in counts.items() if alarms[name].get("Condition") != "RunsOnQueue")
    assert f"Alarms: {on_modal} at 0.10 with Runner=modal ({sum(counts.values())} with queue" in section
    assert f"{(on_modal - 10) * 0.10:.2f}" == next(dollars for what, dollars in rows if what.startswith("Alarms"))


def test_the_machine_of_the_model_is_the_one_that_is_deployed() -> None:
    inputs, text = cost.read_inputs(), (ROOT / "modal_app.py").read_text(encoding="utf-8")
    found = re.search(r"cpu=([0-9.]+),\s+memory=([0-9]+),", text)
    assert found
    assert inputs.value("shape", "machine_cores") == float(found[1])
    assert f'PLANNED_GPU, SPEAKERS_GPU = "{cost.DEPLOYED_GPU}"' in text
    assert inputs.value("shape", "machine_gib") == int(found[2]) / 1024
