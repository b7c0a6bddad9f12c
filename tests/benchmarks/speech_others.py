"""The whole pipeline beside openai-whisper and whisper.cpp (pywhispercpp): same file, same weights, same tokens.

    python -m tests.benchmarks.speech_others [--audio FILE] [--minutes 2] [--size base] [--runs 2]

The weights are those of tests.benchmarks.speech, in each library's own form. We cut windows at silences, the others
every 30 s, so theirs are made to give more tokens in each window, such that all give the same number in all: speech has
the same words however it is cut. At its end they say the time, as real ones do, or openai-whisper would take the last
20 ms for a window of its own; times are not counted. All take turns in one run, with as many threads, beam 5, no second
try and word times. Measure on a quiet machine: beside other work whisper.cpp was seen to take several times as long.
Each uses what it has for a CPU: ours int8, whisper.cpp q8_0 (its int8), openai-whisper float32. The others get the
samples from a WAV file; we decode, find speech, check and cut segments as always.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.speech import Row, Settings, long_recording, our_pipeline
from tests.benchmarks.tied_whisper import build, make
from tests.benchmarks.true_size_whisper import SIZES, TOKENS
from tests.benchmarks.whisper_files import openai_arrays, write_ggml
from tests.data.recordings import TWO_CITIES

ROOT = Path(__file__).parents[2]
TOOL = [str(ROOT / ".venv-tools" / "bench-speech" / "bin" / "python"), "-m", "tests.benchmarks.other_whispers"]
WINDOW_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one transcription took and gave."""

    seconds: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Other:
    """A library in a process of its own, its model loaded."""

    process: subprocess.Popen[str]

    def run(self) -> Run:
        """Transcribe the file once."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return Run(**json.loads(self.process.stdout.readline()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The pipeline beside openai-whisper and whisper.cpp.")
    parser.add_argument("--audio", type=Path, help="a recording; without one, a reading of 44 s over and over")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--size", choices=sorted(SIZES), default="base")
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args()
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        file = long_recording(arguments.audio or TWO_CITIES, arguments.minutes * 60, folder / "long.wav")
        ours = our_pipeline(Settings(model=build(folder / arguments.size, arguments.size), threads=threads))
        spoken = _timed(ours, file).tokens
        windows = math.ceil(arguments.minutes * 60 / WINDOW_SECONDS)
        models = _other_models(folder, arguments.size, round(spoken / windows))
        others = {
            "openai-whisper, float32": stack.enter_context(_other("openai", models[0], file, threads)),
            "whisper.cpp, q8_0": stack.enter_context(_other("ggml", models[1], file, threads)),
        }
        print(
            f"{arguments.size}, {threads} threads, {arguments.minutes:g} min, best of {arguments.runs}, beam 5, ",
            end="",
        )
        print(f"word times; ours in {spoken // TOKENS} windows, the others in {windows}")
        _report(_measure(ours, others, file, arguments.runs), arguments.minutes * 60)


def _measure(ours: Row, others: dict[str, Other], file: Path, runs: int) -> dict[str, Run]:
    """Each one's best, after one run to warm up; they take turns."""
    for other in others.values():
        other.run()
    found: dict[str, list[Run]] = {}
    for _ in range(runs):
        found.setdefault("ours, int8", []).append(_timed(ours, file))
        for name, other in others.items():
            found.setdefault(name, []).append(other.run())
    return {name: min(taken, key=lambda run: run.seconds) for name, taken in found.items()}


def _report(best: dict[str, Run], audio_seconds: float) -> None:
    ours = next(iter(best.values()))
    print(f"{'':<26}{'seconds':>9}{'x real time':>13}{'tokens':>8}{'seconds / ours':>16}")
    for name, run in best.items():
        line = f"{name:<26}{run.seconds:>9.2f}{audio_seconds / run.seconds:>13.1f}{run.tokens:>8}"
        print(f"{line}{run.seconds / ours.seconds:>16.2f}")
    if len({run.tokens for run in best.values()}) > 1:
        print("The numbers of tokens differ: choose --minutes 2, 2.5 or 5, which divide evenly into windows.")


def _timed(row: Row, file: Path) -> Run:
    """With these weights, every token is a word."""
    began = time.perf_counter()
    words = row(file)
    return Run(seconds=time.perf_counter() - began, tokens=words)


def _other_models(folder: Path, name: str, text_tokens: int) -> tuple[Path, Path]:
    """OpenAI's and whisper.cpp's form of the model."""
    size = SIZES[name]
    arrays = openai_arrays(make(size, text_tokens, says_time=True))
    np.savez(folder / "openai.npz", allow_pickle=False, **arrays)
    filters = folder / "filters.npy"
    subprocess.run([*TOOL, "mel-filters", str(filters), "-", str(size.mels)], cwd=ROOT, check=True)
    return folder / "openai.npz", write_ggml(folder / "ggml.bin", size, arrays, np.load(filters))


@contextmanager
def _other(library: str, model: Path, file: Path, threads: int) -> Iterator[Other]:
    command = [*TOOL, library, str(model), str(file), str(threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n", f"{library} did not load"
            yield Other(process)
        finally:
            process.kill()


if __name__ == "__main__":
    main()
