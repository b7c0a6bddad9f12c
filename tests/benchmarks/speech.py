"""The whole pipeline beside bare faster-whisper, on the same file, with the same weights, in turn in one run.

    python -m tests.benchmarks.speech [--audio FILE] [--minutes 5] [--size base] [--runs 3] [--pause 0]

Weights have the true size and random values; every window gives the same number of tokens in every row
(tests.benchmarks.true_size_whisper). Each row begins with the file and ends with words and their times: decoding,
finding speech, transcribing. Ours also looks for loops, gaps and inventions and cuts segments.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel

from gpu_jobs.audio import SAMPLE_RATE_HZ, decode_recording
from gpu_jobs.chunk_work import CHUNK_SECONDS, ChunkEngines, OwnProcess
from gpu_jobs.crew import Crew
from gpu_jobs.engines import EngineSettings, build_engines
from gpu_jobs.pipeline import SpeechPipeline
from gpu_jobs.transcribe.whisper import BATCH_SIZE
from shared.domain.options import TranscriptionOptions
from tests import sounds
from tests.benchmarks.true_size_whisper import SIZES, build
from tests.data.recordings import TWO_CITIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all rows share."""

    model: Path
    device: str = "cpu"
    compute_type: str = "int8"
    threads: int = 0
    batch_size: int = BATCH_SIZE
    chunk_seconds: float = CHUNK_SECONDS


Row = Callable[[Path], int]
"""From a file to the number of words."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The pipeline beside bare faster-whisper.")
    parser.add_argument("--audio", type=Path, help="a recording; without one, a reading of 44 s over and over")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds of silence after every time it is repeated")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--size", choices=sorted(SIZES), default="base")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        to = Path(folder) / "long.wav"
        file = long_recording(arguments.audio or TWO_CITIES, arguments.minutes * 60, to, arguments.pause)
        settings = Settings(model=build(Path(folder) / arguments.size, arguments.size), threads=os.cpu_count() or 1)
        rows = {"ours": our_pipeline(settings), "bare batched": bare_batched(settings)}
        rows["bare sequential"] = bare_sequential(settings)
        print(
            f"{arguments.size}, int8, {settings.threads} threads, {arguments.minutes:g} min, best of {arguments.runs}"
        )
        report(measure(rows, file, arguments.runs), arguments.minutes * 60)


def report(best: dict[str, tuple[float, int]], audio_seconds: float) -> None:
    """A line for each row, and how many times as long as ours it takes; also for the same number of words.

    Speech has the same words however it is cut into windows; these weights give TOKENS for each window.
    """
    ours, our_words = best["ours"]
    print(f"{'':<18}{'seconds':>9}{'x real time':>13}{'words':>8}{'seconds / ours':>16}{'per word / ours':>17}")
    for name, (seconds, words) in best.items():
        line = f"{name:<18}{seconds:>9.2f}{audio_seconds / seconds:>13.1f}{words:>8}{seconds / ours:>16.2f}"
        print(f"{line}{seconds / words / (ours / our_words):>17.2f}")


def measure(rows: dict[str, Row], file: Path, runs: int) -> dict[str, tuple[float, int]]:
    """Each row's best seconds and its words, after one run to warm up.

    The rows take turns, in one order and then in the other: a machine that slows down does so for all of them.
    """
    for row in rows.values():
        row(TWO_CITIES)
    best: dict[str, tuple[float, int]] = {}
    order = list(rows.items())
    for _ in range(runs):
        for name, row in order:
            began = time.perf_counter()
            words = row(file)
            took = time.perf_counter() - began
            best[name] = min(best.get(name, (took, words)), (took, words))
        order.reverse()
    return best


def our_pipeline(settings: Settings) -> Row:
    """Without speakers and summary, which the others do not make."""
    engines = build_engines(
        EngineSettings(
            transcriber="faster-whisper",
            whisper_model=str(settings.model),
            device=settings.device,
            compute_type=settings.compute_type,
            cpu_threads=settings.threads,
            batch_size=settings.batch_size,
        )
    )
    workers = ChunkEngines(transcriber=engines.transcriber, aligner=engines.aligner)
    chunks = OwnProcess(workers, settings.chunk_seconds)
    pipeline = SpeechPipeline(Crew(engines=engines, chunks=chunks))
    options = TranscriptionOptions(language="en", word_timestamps=True)

    def run(file: Path) -> int:
        transcript = pipeline.transcribe(file, options, lambda *_: None)
        return sum(len(segment.words) for segment in transcript.segments)

    return run


def bare_batched(settings: Settings) -> Row:
    """faster-whisper's own batched pipeline."""
    pipeline = BatchedInferencePipeline(_model(settings))

    def run(file: Path) -> int:
        found, _ = pipeline.transcribe(str(file), language="en", word_timestamps=True, batch_size=settings.batch_size)
        return _words(found)

    return run


def bare_sequential(settings: Settings) -> Row:
    """What most people run by hand. Without the text before, whose prompt would cost it more."""
    model = _model(settings)

    def run(file: Path) -> int:
        found, _ = model.transcribe(
            str(file), language="en", word_timestamps=True, vad_filter=True, condition_on_previous_text=False
        )
        return _words(found)

    return run


def long_recording(path: Path, seconds: float, to: Path, pause_seconds: float = 0.0) -> Path:
    """The recording, over and over, as a WAV file of so many seconds."""
    pause = sounds.silence(pause_seconds)
    samples = np.concatenate([np.asarray(decode_recording(path).samples), pause])
    return sounds.write_audio(to, np.resize(samples, round(seconds * SAMPLE_RATE_HZ)))


def _model(settings: Settings) -> WhisperModel:
    return WhisperModel(
        str(settings.model),
        device=settings.device,
        compute_type=settings.compute_type,
        cpu_threads=settings.threads,
    )


def _words(found: Any) -> int:
    return sum(len(segment.words) for segment in found)


if __name__ == "__main__":
    main()
