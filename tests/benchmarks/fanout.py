"""Wall time and dollars of a recording over many GPUs, by discrete-event simulation.

    make bench-fanout                the table
    make plots                       docs/images/fan-out.svg, which carries the digest of the table it was drawn from

What the planner chooses (gpu_jobs.planner) is played out with what it does not know: containers that start at different
speeds, chunks that take longer than the mean, machines taken away half-way (the chunk is done again elsewhere).
Costs are the planner's: published prices and assumed real-time factors, not measurements of ours. Plots need matplotlib
(requirements/tools/bench.txt); nothing else here needs more than the standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import random
import statistics
from dataclasses import dataclass
from pathlib import Path

from gpu_jobs.planner import GPUS, FleetPlan, GpuCosts, plan_fleet, preparing_seconds, target_seconds

DURATIONS_MINUTES = (5, 15, 30, 60, 120, 300, 600)
CEILINGS = (1, 2, 5, 10, 20, 50, 100)
RUNS = 50
START_SPREAD, CHUNK_SPREAD = 0.35, 0.15  # standard deviations of the logarithms
TAKEN_AWAY = 0.01  # the share of chunks whose machine is taken away half-way


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What one played-out plan took."""

    wall_seconds: float
    dollars: float


Table = dict[tuple[int, int], tuple[FleetPlan, Played]]
"""By minutes of audio and ceiling of GPUs."""


def play(plan: FleetPlan, gpu: GpuCosts, chance: random.Random) -> Played:
    """One run of a plan: whenever a container is free it takes the next chunk."""
    each = plan.chunk_seconds * gpu.real_time_factor + gpu.overhead_seconds
    free = [gpu.start_seconds * chance.lognormvariate(0.0, START_SPREAD) for _ in range(plan.gpus)]
    heapq.heapify(free)
    waiting = plan.chunks
    while waiting:
        began = heapq.heappop(free)
        took = each * chance.lognormvariate(0.0, CHUNK_SPREAD)
        if chance.random() < TAKEN_AWAY:
            took = took / 2 + gpu.start_seconds  # and another container starts for the same chunk
        else:
            waiting -= 1
        heapq.heappush(free, began + took)
    paid = sum(at + gpu.idle_seconds for at in free)
    wall = preparing_seconds(plan.chunks * plan.chunk_seconds) + max(free)
    return Played(wall_seconds=wall, dollars=paid * gpu.dollars_per_second)


def simulate(duration_seconds: float, gpu: GpuCosts, ceiling: int, runs: int) -> tuple[FleetPlan, Played]:
    """The plan, and the medians of playing it out; the same numbers every time."""
    plan = plan_fleet(duration_seconds, gpu, ceiling)
    chance = random.Random(f"{duration_seconds} {gpu.name} {ceiling}")
    played = [play(plan, gpu, chance) for _ in range(runs)]
    wall = statistics.median(each.wall_seconds for each in played)
    return plan, Played(wall_seconds=wall, dollars=statistics.median(each.dollars for each in played))


def main() -> None:
    """Print the table, and draw it if asked to."""
    parser = argparse.ArgumentParser(description="Simulated wall time and cost over many GPUs.")
    parser.add_argument("--gpu", default="L4", choices=sorted(GPUS))
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    gpu = GPUS[arguments.gpu]
    table = simulate_all(gpu, arguments.runs)
    heads = f"{'audio':>8}{'ceiling':>9}{'GPUs':>6}{'chunks':>8}"
    print(f"{heads}{'planned s':>11}{'played s':>10}{'target s':>10}{'USD':>10}")
    for (minutes, ceiling), (plan, played) in table.items():
        print(
            f"{minutes:>5} min{ceiling:>9}{plan.gpus:>6}{plan.chunks:>8}{plan.wall_seconds:>11.0f}"
            f"{played.wall_seconds:>10.0f}{target_seconds(minutes * 60.0):>10.0f}{played.dollars:>10.4f}"
        )
    if arguments.plot:
        draw(table, arguments.plot, gpu)


def simulate_all(gpu: GpuCosts, runs: int = RUNS) -> Table:
    """Every duration under every ceiling."""
    return {
        (minutes, ceiling): simulate(minutes * 60.0, gpu, ceiling, runs)
        for minutes in DURATIONS_MINUTES
        for ceiling in CEILINGS
    }


def digest(table: Table) -> str:
    """Changes with any number that the plot shows."""
    rows = [(key, round(played.wall_seconds, 1), round(played.dollars, 5)) for key, (_, played) in table.items()]
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def draw(table: Table, file: Path, gpu: GpuCosts) -> None:
    """Wall time and dollars against duration, a line for each ceiling."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "fan-out"  # the same file every time
    from matplotlib import pyplot as plt

    figure, (time_axes, cost_axes) = plt.subplots(1, 2, figsize=(11, 4.2))
    for ceiling in CEILINGS:
        rows = [table[minutes, ceiling][1] for minutes in DURATIONS_MINUTES]
        time_axes.plot(DURATIONS_MINUTES, [row.wall_seconds for row in rows], marker="o", label=str(ceiling))
        cost_axes.plot(DURATIONS_MINUTES, [row.dollars for row in rows], marker="o", label=str(ceiling))
    targets = [target_seconds(minutes * 60.0) for minutes in DURATIONS_MINUTES]
    time_axes.plot(DURATIONS_MINUTES, targets, "k--", label="target")
    time_axes.set_ylabel("wall time, seconds")
    cost_axes.set_ylabel("US dollars")
    for axes in (time_axes, cost_axes):
        axes.set(xscale="log", yscale="log", xlabel=f"audio, minutes ({gpu.name}; simulated)")
        axes.grid(visible=True, alpha=0.3)
        axes.legend(title="at most so many GPUs", fontsize=8)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, metadata={"Date": None, "Description": f"simulation {digest(table)}"})


if __name__ == "__main__":
    main()
