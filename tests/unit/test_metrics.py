"""Lines carry their metrics as CloudWatch's embedded metric format wants them, and lines that lack a value do not."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from shared import metrics
from shared.metrics import METRICS

# The units that CloudWatch knows and we use.
UNITS = {"Count", "Seconds", "None"}


def line(message: str, **fields: Any) -> dict[str, Any]:
    """The line as it is written, read again."""
    record = logging.makeLogRecord({"msg": message, "levelname": "INFO", **fields})
    record.__dict__.update(metrics.embedded(record, "audiototext/dev"))
    shown: dict[str, Any] = json.loads(LambdaPowertoolsFormatter(service="test").format(record))
    return shown


def full(message: str) -> dict[str, Any]:
    """A line with every field its metrics want."""
    wanted = METRICS[message]
    fields: dict[str, Any] = {each.field: 1.5 for each in wanted if each.field}
    return line(message, **fields, **{each.dimension: "some" for each in wanted if each.dimension})


@pytest.mark.parametrize("message", METRICS)
def test_every_metric_stands_in_its_line_as_the_format_says(message: str) -> None:
    shown = full(message)
    assert isinstance(shown["_aws"]["Timestamp"], int)
    named = []
    for directive in shown["_aws"]["CloudWatchMetrics"]:
        assert directive.keys() == {"Namespace", "Dimensions", "Metrics"}
        assert directive["Namespace"] == "audiototext/dev"
        (dimensions,) = directive["Dimensions"]
        assert all(isinstance(shown[name], str) for name in dimensions)
        (metric,) = directive["Metrics"]
        assert metric["Unit"] in UNITS
        assert isinstance(shown[metric["Name"]], int | float)
        named.append(metric["Name"])
    assert named == [each.name for each in METRICS[message]]


def test_a_line_without_a_value_has_the_other_metrics_and_not_that_one() -> None:
    shown = line("job_ended", status="failed", audio_seconds=0.0, used_millicredits=0)
    named = [each["Metrics"][0]["Name"] for each in shown["_aws"]["CloudWatchMetrics"]]
    assert named == ["JobsEnded", "AudioSeconds", "MillicreditsUsed"]
    assert shown["JobsEnded"] == 1


def test_other_lines_carry_nothing() -> None:
    assert "_aws" not in line("request", status=200)


def test_no_two_lines_make_the_same_metric_and_no_metric_hides_a_field() -> None:
    names = [each.name for wanted in METRICS.values() for each in wanted]
    assert len(names) == len(set(names))
    assert all(name[0].isupper() for name in names)  # fields are snake_case
