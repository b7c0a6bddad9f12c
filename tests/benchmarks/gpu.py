"""Real-time factors of large-v3 and turbo on a GPU, by batch size, beside bare faster-whisper in the same run.

    make bench-gpu                                                   on a machine with a GPU
    python -m tests.benchmarks.gpu --device cpu --size micro --batches 1,2 --minutes 1      that it works

Weights have the true size and random values, and give as many tokens per window as speech does
(tests.benchmarks.true_size_whisper). The planner's real_time_factor (gpu_jobs.planner) is 1 over "x real time".
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from gpu_jobs.devices import compute_device
from gpu_jobs.planner import CHUNK_CHOICES_SECONDS
from tests.benchmarks.speech import Settings, bare_batched, long_recording, measure, our_pipeline
from tests.benchmarks.true_size_whisper import SIZES, build
from tests.data.recordings import TWO_CITIES

SIZES_OF_PRODUCTION = ["large-v3", "large-v3-turbo"]
BATCHES = "1,2,4,8,16,32,64"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Real-time factors by batch size.")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--compute-type", default="")
    parser.add_argument("--size", nargs="+", default=SIZES_OF_PRODUCTION, choices=sorted(SIZES))
    parser.add_argument("--batches", default=BATCHES)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args()
    compute_type = arguments.compute_type or ("float16" if arguments.device == "cuda" else "int8")
    print(f"{compute_device()}, {compute_type}, {arguments.minutes:g} min, best of {arguments.runs}")
    print(f"{'model':<16}{'batch':>6}{'ours, s':>9}{'x real time':>13}{'bare, s':>9}{'bare / ours':>13}")
    with tempfile.TemporaryDirectory() as folder:
        file = long_recording(TWO_CITIES, arguments.minutes * 60, Path(folder) / "long.wav")
        for size in arguments.size:
            model = build(Path(folder) / size, size)
            for batch_size in (int(batch) for batch in arguments.batches.split(",")):
                settings = Settings(
                    model=model,
                    device=arguments.device,
                    compute_type=compute_type,
                    batch_size=batch_size,
                    chunk_seconds=CHUNK_CHOICES_SECONDS[-1],  # long enough to fill the batches; what the planner likes
                )
                rows = {"ours": our_pipeline(settings), "bare": bare_batched(settings)}
                best = measure(rows, file, arguments.runs)
                (ours, _), (bare, _) = best["ours"], best["bare"]
                speed = arguments.minutes * 60 / ours
                print(
                    f"{size:<16}{batch_size:>6}{ours:>9.2f}{speed:>13.1f}{bare:>9.2f}{bare / ours:>13.2f}", flush=True
                )


if __name__ == "__main__":
    main()
