"""How many GPUs of which length of chunk: the cheapest plan that is done in time. Pure.

Source of the costs: published container starts and prices (docs/cost-and-speed.md), and real-time factors of Whisper in
batches; `make bench-gpu` measures them again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

CHUNK_CHOICES_SECONDS = (60.0, 120.0, 180.0, 300.0, 600.0, 900.0)
MIN_TARGET_SECONDS, TARGET_SHARE = 60.0, 0.02

PREPARING_SHARE = 1 / 600
"""Seconds that pass before the first chunk can be asked for, for a second of audio: decoding, finding speech, putting
the samples into the bucket, on two cores. Measured by `make bench-long` (1/1000, without the bucket), with room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCosts:
    """What a GPU costs and how fast it is. ``real_time_factor`` is GPU seconds for a second of audio.

    ``start_seconds`` passes from asking for a container to the model being loaded, ``overhead_seconds`` with each
    chunk, ``idle_seconds`` is paid after the last chunk (the scaledown window).
    """

    name: str
    dollars_per_second: float
    real_time_factor: float
    start_seconds: float
    overhead_seconds: float = 0.5
    idle_seconds: float = 2.0


GPUS: Mapping[str, GpuCosts] = {
    costs.name: costs
    for costs in (
        GpuCosts(name="L4", dollars_per_second=0.000222, real_time_factor=1 / 40, start_seconds=12.0),
        GpuCosts(name="A10", dollars_per_second=0.000306, real_time_factor=1 / 55, start_seconds=12.0),
        GpuCosts(name="L40S", dollars_per_second=0.000542, real_time_factor=1 / 100, start_seconds=12.0),
        GpuCosts(name="H100", dollars_per_second=0.001097, real_time_factor=1 / 180, start_seconds=12.0),
    )
}
"""large-v3, batched, float16; assumed from published figures, not measured by us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """What to ask for, and what it should take. ``meets_target`` is False where no plan under the ceiling could."""

    gpu: str
    chunk_seconds: float
    chunks: int
    gpus: int
    wall_seconds: float
    dollars: float
    meets_target: bool


def target_seconds(duration_seconds: float) -> float:
    """The default: two per cent of the audio, and never less than a minute."""
    return max(MIN_TARGET_SECONDS, TARGET_SHARE * duration_seconds)


def preparing_seconds(duration_seconds: float) -> float:
    """What passes before any GPU is asked for anything."""
    return PREPARING_SHARE * duration_seconds


def plan_fleet(duration_seconds: float, gpu: GpuCosts, ceiling: int, target: float | None = None) -> FleetPlan:
    """The cheapest plan within the target (in seconds of wall time), or the fastest one where none is. Deterministic.

    ``ceiling`` is the most GPUs at once.
    """
    if duration_seconds <= 0 or ceiling < 1:
        raise ValueError("a plan needs audio and at least one GPU")
    limit = target_seconds(duration_seconds) if target is None else target
    plans = [
        _plan(duration_seconds, gpu, chunk_seconds, gpus, limit)
        for chunk_seconds in CHUNK_CHOICES_SECONDS
        for gpus in _counts(ceil(duration_seconds / chunk_seconds), ceiling)
    ]
    in_time = [plan for plan in plans if plan.meets_target]
    if in_time:
        return min(in_time, key=lambda plan: (plan.dollars, plan.wall_seconds, plan.gpus))
    return min(plans, key=lambda plan: (plan.wall_seconds, plan.dollars, plan.gpus))


def _counts(chunks: int, ceiling: int) -> list[int]:
    """Numbers of GPUs worth a thought: with any other one, some GPU would have nothing to do in the last round."""
    most = min(chunks, ceiling)
    return sorted({ceil(chunks / rounds) for rounds in range(1, chunks + 1) if ceil(chunks / rounds) <= most} or {most})


def _plan(duration_seconds: float, gpu: GpuCosts, chunk_seconds: float, gpus: int, limit: float) -> FleetPlan:
    chunks = ceil(duration_seconds / chunk_seconds)
    length = duration_seconds / chunks
    each = length * gpu.real_time_factor + gpu.overhead_seconds
    wall = preparing_seconds(duration_seconds) + gpu.start_seconds + ceil(chunks / gpus) * each
    paid = gpus * (gpu.start_seconds + gpu.idle_seconds) + chunks * each
    return FleetPlan(
        gpu=gpu.name,
        chunk_seconds=length,
        chunks=chunks,
        gpus=gpus,
        wall_seconds=round(wall, 3),
        dollars=round(paid * gpu.dollars_per_second, 9),
        meets_target=wall <= limit,
    )
