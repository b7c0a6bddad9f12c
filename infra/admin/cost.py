"""What it costs to run: dollars per audio hour and per 1,000 requests, from counted AWS calls and published prices.

``audiototext-admin cost`` shows it, ``python -m infra.admin.cost`` writes docs/cost.md. Inputs are in cost.toml.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.admin.show import Shown

INPUTS = Path(__file__).with_name("cost.toml")
PRICING = Path(__file__).resolve().parents[2] / "shared" / "pricing.toml"
DEPLOYED_GPU = "L4"  # the first choice of modal_app.py
REFERENCE_GPU = "A100-80GB"  # what the published speeds were measured on
HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Values by group and name, the calls of each operation, GPU prices, and speeds that somebody measured himself."""

    raw: Mapping[str, Any]
    gpu_dollars_per_second: Mapping[str, float]
    measured_speed: Mapping[str, float]

    def value(self, group: str, name: str) -> float:
        """One input."""
        return float(self.raw[group][name]["value"])

    @property
    def models(self) -> list[str]:
        """The models there are speeds of."""
        return list(self.raw["speed"])

    @property
    def gpus(self) -> list[str]:
        """The GPUs there are both a price and a throughput of."""
        return [name for name in self.raw["tflops"] if name in self.gpu_dollars_per_second]


def read_inputs(measured_speed: Mapping[str, float] | None = None) -> Inputs:
    """The inputs as they stand in the files."""
    prices = tomllib.loads(PRICING.read_text("utf-8"))["compute"]
    return Inputs(
        raw=tomllib.loads(INPUTS.read_text("utf-8")),
        gpu_dollars_per_second={name: float(price) for name, price in prices.items()},
        measured_speed=measured_speed or {},
    )


def call_dollars(inputs: Inputs, call: str) -> float:
    """One AWS call. Raises KeyError for a call that the model does not know."""
    writes = inputs.value("shape", "item_write_units") * inputs.value("price", "dynamodb_write_unit")
    return {
        "GetItem": inputs.value("price", "dynamodb_read_unit"),
        "Query": inputs.value("price", "dynamodb_read_unit"),
        "PutItem": writes,
        "UpdateItem": writes,
        "TransactWriteItems": 2 * inputs.value("shape", "transaction_items") * writes,
        "SendMessage": 3 * inputs.value("price", "sqs_request"),  # sent, received, deleted
        "PutEvents": inputs.value("price", "event"),
        "PutObject": inputs.value("price", "s3_write"),
        "GetObject": inputs.value("price", "s3_read"),
        "HeadObject": inputs.value("price", "s3_read"),
    }[call]


def operation_dollars(inputs: Inputs, operation: str) -> float:
    """The AWS calls of one operation, without the function that makes them."""
    return sum(call_dollars(inputs, call) for call in inputs.raw["calls"][operation])


def request_dollars(inputs: Inputs, operation: str) -> float:
    """One request to the API: gateway, function of 1 GB, log, and its calls."""
    function = inputs.value("shape", "api_seconds") * inputs.value("price", "lambda_gb_second")
    log = inputs.value("shape", "log_kb_per_request") / 1e6 * inputs.value("price", "log_gb")
    fixed = inputs.value("price", "api_request") + inputs.value("price", "lambda_request") + function + log
    return fixed + operation_dollars(inputs, operation)


def aws_dollars_per_hour(inputs: Inputs) -> float:
    """Everything in AWS for an hour of audio: jobs of the assumed length, polled, stored, read by machines elsewhere.

    The one that decodes reads the recording, the GPUs its samples. Both are free for machines in the bucket's region.
    """
    jobs = 60 / inputs.value("shape", "minutes_per_job")
    polls = inputs.value("shape", "polls_per_job")
    job = request_dollars(inputs, "submit") + inputs.value("price", "s3_write")
    job += polls * request_dollars(inputs, "poll") + request_dollars(inputs, "poll, completed")
    job += sum(operation_dollars(inputs, name) for name in ("dispatch", "begin a run", "complete", "webhook"))
    run = inputs.value("shape", "event_run_gb_seconds") * inputs.value("price", "lambda_gb_second")
    job += inputs.value("shape", "event_runs_per_job") * (inputs.value("price", "lambda_request") + run)
    gigabytes = inputs.value("shape", "audio_mb_per_hour") / 1000
    kept = gigabytes * inputs.value("shape", "audio_kept_months") * inputs.value("price", "s3_gb_month")
    read_elsewhere = gigabytes + inputs.value("shape", "samples_mb_per_hour") / 1000
    return jobs * job + kept + read_elsewhere * inputs.value("price", "transfer_out_gb")


def speed(inputs: Inputs, model: str, gpu: str) -> float:
    """Seconds of audio per second of this GPU: measured if somebody did, else scaled from the published figure."""
    if gpu in inputs.measured_speed:
        return inputs.measured_speed[gpu]
    return inputs.value("speed", model) * inputs.value("tflops", gpu) / inputs.value("tflops", REFERENCE_GPU)


def gpu_dollars_per_hour(inputs: Inputs, model: str, gpu: str) -> float:
    """The GPU's part of an hour of audio, idle time included."""
    return _paid_seconds(inputs, model, gpu) * inputs.gpu_dollars_per_second[gpu]


def machine_dollars_per_hour(inputs: Inputs, model: str, gpu: str) -> float:
    """The part of the machine without a GPU that fetches, decodes, shares out and puts together.

    It is there as long as the GPU when there is one GPU, and shorter when the work is shared out over more.
    """
    cores = inputs.value("shape", "machine_cores") * inputs.gpu_dollars_per_second["cpu"]
    memory = inputs.value("shape", "machine_gib") * inputs.value("price", "modal_gib_second")
    return _paid_seconds(inputs, model, gpu) * (cores + memory)


def _paid_seconds(inputs: Inputs, model: str, gpu: str) -> float:
    return HOUR_SECONDS / speed(inputs, model, gpu) / inputs.value("shape", "busy_share")


def rows(inputs: Inputs) -> Iterator[dict[str, Any]]:
    """Dollars per audio hour for each model on each GPU."""
    aws = aws_dollars_per_hour(inputs)
    for model in inputs.models:
        for gpu in inputs.gpus:
            speech, machine = gpu_dollars_per_hour(inputs, model, gpu), machine_dollars_per_hour(inputs, model, gpu)
            yield {
                "model": model,
                "gpu": gpu,
                "speed": round(speed(inputs, model, gpu)),
                "gpu_dollars": round(speech, 4),
                "machine_dollars": round(machine, 4),
                "aws_dollars": round(aws, 4),
                "dollars_per_audio_hour": round(speech + machine + aws, 4),
            }


def break_even(inputs: Inputs, model: str) -> Iterator[dict[str, Any]]:
    """From how many audio hours a month this, on the GPU that is deployed, is cheaper than others; None: never."""
    ours = next(
        row["dollars_per_audio_hour"] for row in rows(inputs) if (row["model"], row["gpu"]) == (model, DEPLOYED_GPU)
    )
    for name, each in inputs.raw["hosted"].items():
        saved = float(each["value"]) - ours
        hours = inputs.value("price", "at_rest_month") / saved if saved > 0 else None
        yield {
            "instead_of": name,
            "their_dollars": each["value"],
            "our_dollars": ours,
            "hours_a_month": None if hours is None else round(hours, 1),
        }


def cost(arguments: argparse.Namespace) -> Shown:
    """Dollars per audio hour by model and GPU, from counted calls and published prices."""
    inputs = read_inputs(dict(arguments.speed or []))
    found = list(rows(inputs))
    thousand = 1000 * request_dollars(inputs, "poll")
    return Shown(
        data={"per_audio_hour": found, "dollars_per_1000_polls": round(thousand, 5)},
        title="Dollars per audio hour",
        rows=found,
        note=f"1,000 polls cost {thousand:.4f} dollars. Sources, dates and break-even: docs/cost.md",
    )


def speed_argument(text: str) -> tuple[str, float]:
    """``L4=40``: seconds of audio per second of GPU."""
    gpu, _, factor = text.partition("=")
    try:
        value = float(factor)
    except ValueError:
        value = 0.0
    if not gpu or not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: a GPU and its speed, like L4=40")
    return gpu, value


_HEAD = """\
# What it costs to run

Written by `python -m infra.admin.cost > docs/cost.md` from infra/admin/cost.toml; a test keeps it so.
`audiototext-admin cost --speed L4=40` computes it with a speed that you measured: the receipts of your jobs say how
many GPU seconds they took.

**GPU speeds other than the A100's are scaled, not measured; AWS's prices are from memory of 2025**; and nobody has run
this in a cloud account yet. Diarization and summaries come on top and are not in the figures.

## Dollars per audio hour
"""


def document() -> str:
    """docs/cost.md."""
    inputs = read_inputs()
    parts = [
        _HEAD,
        _markdown(list(rows(inputs))),
        "\n## Dollars per 1,000 requests\n",
        _markdown(
            [
                {
                    "request": name,
                    "dollars": f"{1000 * request_dollars(inputs, name):.5f}",
                    "aws_calls": ", ".join(calls),
                }
                for name, calls in inputs.raw["calls"].items()
                if name in {"submit", "poll", "poll, completed"}
            ]
        ),
        "\nA submit comes without its upload; calls as counted by `python -m tests.benchmarks.aws_calls`.\n",
    ]
    for model in inputs.models:
        parts += [
            f"\n## Break-even, {model} on the {DEPLOYED_GPU} that is deployed\n",
            _markdown(list(break_even(inputs, model))),
        ]
    parts.append("\n`hours_a_month`: from there on ours is cheaper, what it costs at rest included; - is never.\n")
    parts.append("\n## Inputs\n")
    parts.append(
        _markdown(
            [
                {"input": f"{group}.{name}", "value": each["value"], "source": each["source"], "date": each["date"]}
                for group, entries in inputs.raw.items()
                if group != "calls"
                for name, each in entries.items()
            ]
            + [
                {"input": f"gpu.{name}", "value": f"{inputs.gpu_dollars_per_second[name]:g}/s",
                 "source": "Modal's price list (shared/pricing.toml)", "date": "2026-10"}
                for name in inputs.gpus
            ]
        )
    )  # fmt: skip
    return "".join(parts)


def _markdown(table: list[dict[str, Any]]) -> str:
    def line(cells: Iterator[Any] | list[Any]) -> str:
        return "| " + " | ".join("-" if cell is None else str(cell) for cell in cells) + " |\n"

    names = list(table[0])
    return "\n" + line(names) + line(["---"] * len(names)) + "".join(line(list(row.values())) for row in table)


if __name__ == "__main__":
    sys.stdout.write(document())
