"""How many GPUs of which length of chunk: the cheapest plan that is done in time. Pure.

Source of the costs: published container starts and prices (docs/cost-and-speed.md), and real-time factors of Whisper in
batches; `make bench-gpu` measures them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil

from shared.domain.options import TranscriptionOptions

CHUNK_CHOICES_SECONDS = (60.0, 120.0, 180.0, 300.0, 600.0, 900.0)
MIN_TARGET_SECONDS, TARGET_SHARE = 60.0, 0.02

PREPARING_SHARE = 1 / 600
"""Seconds that pass before the first chunk can be asked for, for a second of audio: decoding, finding speech, putting
the samples into the bucket, on two cores. Measured by `make bench-long` (1/1000, without the bucket), with room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCosts:
    """What a GPU costs and how fast it is. ``real_time_factor`` is GPU seconds for a second of audio, transcribed;
    ``speakers_factor`` for one whose speakers are found.

    ``start_seconds`` passes from asking for a container to the model being loaded, ``overhead_seconds`` with each
    chunk, ``idle_seconds`` is paid after the last chunk (the scaledown window).
    """

    name: str
    dollars_per_second: float
    real_time_factor: float
    speakers_factor: float
    start_seconds: float = 12.0
    overhead_seconds: float = 0.5
    idle_seconds: float = 2.0


GPUS: Mapping[str, GpuCosts] = {
    costs.name: costs
    for costs in (
        GpuCosts(name="L4", dollars_per_second=0.000222, real_time_factor=1 / 40, speakers_factor=1 / 35),
        GpuCosts(name="A10", dollars_per_second=0.000306, real_time_factor=1 / 55, speakers_factor=1 / 43),
        GpuCosts(name="L40S", dollars_per_second=0.000542, real_time_factor=1 / 100, speakers_factor=1 / 65),
        GpuCosts(name="H100", dollars_per_second=0.001097, real_time_factor=1 / 180, speakers_factor=1 / 87),
    )
}
"""large-v3, batched, float16, and pyannote; assumed from published figures, not measured by us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """What to ask for, and what it should take. ``meets_target`` is False where no plan under the ceiling could.

    ``gpus`` transcribe; where speakers are found, one more does so meanwhile, and is in the time and in the dollars.
    """

    gpu: str
    chunk_seconds: float
    chunks: int
    gpus: int
    wall_seconds: float
    dollars: float
    meets_target: bool


Plan = Callable[[float, TranscriptionOptions], FleetPlan]
"""What to ask for, for a recording of so many seconds of which this is asked."""


def target_seconds(duration_seconds: float) -> float:
    """The default: two per cent of the audio, and never less than a minute."""
    return max(MIN_TARGET_SECONDS, TARGET_SHARE * duration_seconds)


def preparing_seconds(duration_seconds: float) -> float:
    """What passes before any GPU is asked for anything."""
    return PREPARING_SHARE * duration_seconds


def plan_fleet(
    duration_seconds: float,
    gpu: GpuCosts,
    ceiling: int,
    target: float | None = None,
    *,
    speakers: GpuCosts | None = None,
) -> FleetPlan:
    """The cheapest plan within the target (in seconds of wall time), or the fastest one where none is. Deterministic.

    ``ceiling`` is the most GPUs at once that transcribe. One more, ``speakers``, finds the speakers if they are asked
    for, in the whole of the recording: where that takes longer than the target, words that are there sooner are no use.
    """
    if duration_seconds <= 0 or ceiling < 1:
        raise ValueError("a plan needs audio and at least one GPU")
    target = target_seconds(duration_seconds) if target is None else target
    beside = _finding_speakers(duration_seconds, speakers)
    limit = max(target, beside.wall_seconds)
    plans = [
        _plan(duration_seconds, gpu, chunk_seconds, gpus, beside, target)
        for chunk_seconds in CHUNK_CHOICES_SECONDS
        for gpus in _counts(ceil(duration_seconds / chunk_seconds), ceiling)
    ]
    in_time = [plan for plan in plans if plan.wall_seconds <= round(limit, 3)]
    if in_time:
        return min(in_time, key=lambda plan: (plan.dollars, plan.wall_seconds, plan.gpus))
    return min(plans, key=lambda plan: (plan.wall_seconds, plan.dollars, plan.gpus))


def _counts(chunks: int, ceiling: int) -> list[int]:
    """Numbers of GPUs worth a thought: with any other one, some GPU would have nothing to do in the last round."""
    most = min(chunks, ceiling)
    return sorted({ceil(chunks / rounds) for rounds in range(1, chunks + 1) if ceil(chunks / rounds) <= most} or {most})


@dataclass(frozen=True, slots=True)
class _Work:
    """Seconds from the file to the end of it, and dollars."""

    wall_seconds: float = 0.0
    dollars: float = 0.0


def _finding_speakers(duration_seconds: float, gpu: GpuCosts | None) -> _Work:
    if gpu is None:
        return _Work()
    working = gpu.start_seconds + duration_seconds * gpu.speakers_factor
    return _Work(preparing_seconds(duration_seconds) + working, (working + gpu.idle_seconds) * gpu.dollars_per_second)


def _plan(
    duration_seconds: float, gpu: GpuCosts, chunk_seconds: float, gpus: int, beside: _Work, target: float
) -> FleetPlan:
    chunks = ceil(duration_seconds / chunk_seconds)
    length = duration_seconds / chunks
    each = length * gpu.real_time_factor + gpu.overhead_seconds
    words_there = preparing_seconds(duration_seconds) + gpu.start_seconds + ceil(chunks / gpus) * each
    wall = max(words_there, beside.wall_seconds)
    paid = gpus * (gpu.start_seconds + gpu.idle_seconds) + chunks * each
    return FleetPlan(
        gpu=gpu.name,
        chunk_seconds=length,
        chunks=chunks,
        gpus=gpus,
        wall_seconds=round(wall, 3),
        dollars=round(paid * gpu.dollars_per_second + beside.dollars, 9),
        meets_target=wall <= target,
    )
