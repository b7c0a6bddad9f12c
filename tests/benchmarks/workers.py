"""What worker processes gain on one long recording, and what they change in its words.

    python -m tests.benchmarks.workers --audio DIR [--minutes 30] [--workers 2]

DIR holds ``references.json`` as tests.benchmarks.accuracy describes it; its clips are joined, over and over, to the
length asked for. Same recording, same plan of windows: by one worker in one piece, by several in chunks. Arithmetic of
one thread, in one process and in several, says what the machine itself would allow.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import jiwer
import numpy as np

from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording, decode_recording, open_decoded
from gpu_jobs.chunks import Span, plan_chunks
from gpu_jobs.engines import EngineSettings, build_chunk_engines
from gpu_jobs.fanout import ChunkOrder, NoShelf, merge_results, run_orders, total_coverage
from gpu_jobs.pool import ProcessPool
from gpu_jobs.speech import find_speech, leveled
from shared.domain.options import TranscriptionOptions
from tests.benchmarks.accuracy import JOINT, normalized

COUNT = 50_000_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="One long recording, by one worker and by several.")
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recording, reference = joined(arguments.audio, arguments.minutes * 60, Path(folder) / "samples")
        began = time.perf_counter()
        speech = find_speech(recording)
        print(f"{recording.duration_seconds / 60:.1f} min, speech found in {time.perf_counter() - began:.1f} s")
        one_seconds, one, _ = measure(recording, speech, 1, in_one_piece=True)
        many_seconds, many, cuts = measure(recording, speech, arguments.workers, in_one_piece=False)
        print(f"1 worker, one piece   {one_seconds:8.1f} s   WER {100 * jiwer.wer(reference, normalized(one)):.2f} %")
        wer = 100 * jiwer.wer(reference, normalized(many))
        print(f"{arguments.workers} workers, {cuts} chunks {many_seconds:8.1f} s   WER {wer:.2f} %")
        print(f"gain {one_seconds / many_seconds:.2f}x, texts equal: {one == many}")
        allowed = arguments.workers * counting_seconds(1) / counting_seconds(arguments.workers)
        print(f"arithmetic alone gains {allowed:.2f}x on {arguments.workers} processes of this machine")
        print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def joined(folder: Path, seconds: float, file: Path) -> tuple[Recording, str]:
    """The clips, one after the other and again from the first, and what they say."""
    references: dict[str, Any] = json.loads((folder / "references.json").read_text())
    clips = [
        (decode_recording(folder / name), entry["text"]) for name, entry in references.items() if entry.get("text")
    ]
    texts: list[str] = []
    count = 0
    with file.open("wb") as target:
        while count < seconds * SAMPLE_RATE_HZ:
            clip, text = clips[len(texts) % len(clips)]
            part = np.concatenate([leveled(clip.samples), JOINT]).astype(np.float32)
            target.write(part.tobytes())
            count += len(part)
            texts.append(text)
    return open_decoded(file), normalized(" ".join(texts))


def measure(
    recording: Recording, speech: tuple[Span, ...], workers: int, *, in_one_piece: bool
) -> tuple[float, str, int]:
    """Wall seconds once the models are loaded, the words, and the number of chunks."""
    settings = EngineSettings(cpu_threads=1)
    transcriber = build_chunk_engines(settings).transcriber
    pool = ProcessPool(settings, workers)
    duration, options = recording.duration_seconds, TranscriptionOptions(language="en")
    seconds = duration * 2 if in_one_piece else pool.chunk_seconds(duration, options)
    chunks = plan_chunks(speech, duration, transcriber.windows, seconds)
    orders = [ChunkOrder(chunk=chunk, options=options, engine=transcriber.engine(options)) for chunk in chunks]
    warm = plan_chunks(speech[:workers], duration, transcriber.windows, 1.0)
    run_orders(pool, NoShelf(), recording, [ChunkOrder(chunk=c, options=options, engine="warm") for c in warm], _ignore)
    began = time.perf_counter()
    results = run_orders(pool, NoShelf(), recording, orders, _ignore)
    took = time.perf_counter() - began
    pool.close()
    print(f"  {workers} worker(s): {total_coverage(results)}")
    merged = merge_results(results, [chunk.span for chunk in chunks])
    return took, " ".join(word.text for passage in merged for word in passage.words), len(chunks)


def counting_seconds(processes: int) -> float:
    """How long each of the processes takes for the same arithmetic, all at once: the slowest of them."""
    with get_context("spawn").Pool(processes) as pool:
        pool.map(_count, [1] * processes, chunksize=1)  # started and warm
        return max(pool.map(_count, [COUNT] * processes, chunksize=1))


def _count(to: int) -> float:
    began = time.perf_counter()
    total = 0
    for number in range(to):
        total += number
    return time.perf_counter() - began


def _ignore(_: float) -> None:
    """Nobody watches."""


if __name__ == "__main__":
    main()
