"""Metrics: which log lines carry which CloudWatch metrics, in AWS's embedded metric format.

CloudWatch reads the metrics out of the lines when they arrive in a log group: no call, no agent, no import. The line
itself says only what happened; this table says what is counted. A metric of CloudWatch's is a name, a namespace and
the values of its dimensions: alarms and dashboard name all three, and a test holds them against this table.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of a line: the value of ``field``, or 1 where there is none. ``dimension`` is a field, too."""

    name: str
    field: str | None = None
    unit: str = "Count"
    dimension: str | None = None


METRICS: Final[Mapping[str, tuple[Metric, ...]]] = {
    "job_dispatched": (Metric(name="QueueSeconds", field="queue_seconds", unit="Seconds"),),
    "job_ended": (
        Metric(name="JobsEnded", dimension="status"),
        Metric(name="AudioSeconds", field="audio_seconds", unit="Seconds"),
        Metric(name="MillicreditsUsed", field="used_millicredits"),
        Metric(name="RealTimeFactor", field="real_time_factor", unit="None"),
    ),
    "job_not_started": (Metric(name="JobsNotStarted"),),
    "job_timed_out": (Metric(name="JobsTimedOut"),),
    "webhook_attempted": (Metric(name="WebhookAttempts", dimension="state"),),
    "drop_quarantined": (Metric(name="DropsQuarantined"),),
    "ledger_mismatch": (Metric(name="LedgerMismatches"),),
}


def namespace(stage: str) -> str:
    """The CloudWatch namespace of a stage."""
    return f"audiototext/{stage}"


def embedded(record: logging.LogRecord, namespace: str) -> dict[str, Any]:
    """The fields that turn a line into a carrier of its metrics; empty for most lines.

    A metric whose field or dimension the line lacks is left out of it.
    """
    fields, values, directives = vars(record), {}, []
    for metric in METRICS.get(record.msg, ()) if isinstance(record.msg, str) else ():
        value = 1 if metric.field is None else fields.get(metric.field)
        if value is None or (metric.dimension is not None and fields.get(metric.dimension) is None):
            continue
        values[metric.name] = value
        dimensions = [] if metric.dimension is None else [metric.dimension]
        definition = {"Name": metric.name, "Unit": metric.unit}
        directives.append({"Namespace": namespace, "Dimensions": [dimensions], "Metrics": [definition]})
    if not directives:
        return {}
    return {**values, "_aws": {"Timestamp": int(record.created * 1000), "CloudWatchMetrics": directives}}
