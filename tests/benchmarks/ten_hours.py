"""The machine without a GPU on a very long recording: its peak memory, and the seconds of each of its steps.

    python -m tests.benchmarks.ten_hours [--hours 10] [--gpus 10]

Everything that runs there runs: decoding, finding speech, planning, giving words to speakers, cutting segments, the
result as bytes. Words and turns themselves come from elsewhere: here from a stand-in, as many of them as talk has.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording, decode_recording
from gpu_jobs.chunks import Span, plan_chunks
from gpu_jobs.crew import Crew
from gpu_jobs.diarize import SpeakerCount
from gpu_jobs.engines import EngineSet, EngineSettings, build_engines
from gpu_jobs.fanout import ChunkOrder, ChunkResult, OnResult
from gpu_jobs.pipeline import SpeechPipeline
from gpu_jobs.planner import GPUS, FleetPlan, plan_fleet
from gpu_jobs.transcribe import LanguageChoice, Passage, SecondsDone
from shared.domain.options import TranscriptionOptions
from shared.domain.transcript_values import to_values
from shared.domain.transcripts import Coverage, Turn, Word
from tests.data.recordings import TWO_CITIES

PEAK_MIB, PLANNING_SECONDS = 1_536, 30.0
WORD_SECONDS, TURN_SECONDS, BLOCK_MINUTES = 0.35, 7.0, 10.0


class Elsewhere:
    """Machines that answer at once: words in all of the speech, and two speakers in turn."""

    weight, engine = 0.1, "stand-in:1"

    def __init__(self, gpus: int) -> None:
        self._gpus = gpus
        self.planning_seconds = 0.0
        self.chunks = 0

    def plan(self, duration_seconds: float, options: TranscriptionOptions) -> FleetPlan:
        """As in the cloud."""
        speakers = GPUS["L40S"] if options.diarization else None
        return plan_fleet(duration_seconds, GPUS["L4"], self._gpus, speakers=speakers)

    def chunk_seconds(self, duration_seconds: float, options: TranscriptionOptions) -> float:
        """As in the cloud."""
        return self.plan(duration_seconds, options).chunk_seconds

    def choose_language(
        self, recording: Recording, speech: Sequence[Span], options: TranscriptionOptions, on_progress: SecondsDone
    ) -> LanguageChoice:
        """English. The plan is made right after this, so it is timed here, by making it once more."""
        began = time.perf_counter()
        windows = build_engines(EngineSettings(transcriber="faster-whisper")).transcriber.windows
        duration = recording.duration_seconds
        self.chunks = len(plan_chunks(speech, duration, windows, self.chunk_seconds(duration, options)))
        self.planning_seconds = time.perf_counter() - began
        return LanguageChoice(language="en", confidence=1.0)

    def run(
        self, recording: Recording, orders: Sequence[ChunkOrder], on_result: OnResult, on_progress: SecondsDone
    ) -> None:
        """A word every WORD_SECONDS of speech."""
        for order in orders:
            on_result(order, _result(order))
        on_progress(recording.duration_seconds)

    def diarize(
        self, recording: Recording, on_progress: SecondsDone, count: SpeakerCount | None = None
    ) -> tuple[Turn, ...]:
        """Somebody else every TURN_SECONDS."""
        starts = np.arange(0.0, recording.duration_seconds, TURN_SECONDS).tolist()
        return tuple(
            Turn(start_seconds=start, end_seconds=start + TURN_SECONDS, speaker_id=f"SPEAKER_{number % 2:02d}")
            for number, start in enumerate(starts)
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Memory and seconds of the side without a GPU.")
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--gpus", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = _long_file(arguments.hours, Path(folder) / "long.wav")
        elsewhere = Elsewhere(arguments.gpus)
        built = build_engines(EngineSettings())
        engines = EngineSet(transcriber=built.transcriber, aligner=built.aligner, diarizer=elsewhere)
        crew = Crew(engines=engines, chunks=elsewhere, diarizes_beside=True, expects=elsewhere.plan)
        before = _peak_mib()
        began = time.perf_counter()
        options = TranscriptionOptions(diarization=True, word_timestamps=True, summary=True)
        transcript = SpeechPipeline(crew).transcribe(file, options, lambda *_: None)
        took = time.perf_counter() - began
        body = gzip.compress(json.dumps(to_values(transcript)).encode(), compresslevel=6)
    words = sum(len(segment.words) for segment in transcript.segments)
    size = f"{words} words, {elsewhere.chunks} chunks, result {len(body) / 2**20:.1f} MiB"
    print(f"{arguments.hours:g} h, {size}, {took:.0f} s")
    for part, seconds in transcript.compute_seconds.items():
        print(f"  {part:<18}{seconds:>8.1f} s")
    print(f"planning          {elsewhere.planning_seconds:>8.2f} s (at most {PLANNING_SECONDS:g})")
    print(f"peak memory       {_peak_mib():>8.0f} MiB (at most {PEAK_MIB}; {before:.0f} before the recording)")


def _result(order: ChunkOrder) -> ChunkResult:
    words = [
        Word(text=f"word{number % 500}.", start_seconds=start, end_seconds=start + WORD_SECONDS, confidence=0.9)
        for span in order.chunk.speech
        for number, start in enumerate(np.arange(span.start_seconds, span.end_seconds, WORD_SECONDS).tolist())
    ]
    seconds = sum(span.duration_seconds for span in order.chunk.speech)
    span = order.chunk.span
    passage = Passage(
        start_seconds=span.start_seconds, end_seconds=span.end_seconds, text="", confidence=0.9, words=tuple(words)
    )
    coverage = Coverage(speech_seconds=round(seconds, 3), covered_seconds=round(seconds, 3))
    return ChunkResult(engine="stand-in:1", language="en", passages=(passage,), coverage=coverage)


def _long_file(hours: float, path: Path) -> Path:
    """A reading over and over, as a WAV file, written in blocks."""
    import wave

    samples = np.asarray(decode_recording(TWO_CITIES).samples)
    block = (np.resize(samples, round(BLOCK_MINUTES * 60 * SAMPLE_RATE_HZ)) * 32767).astype("<i2").tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        for _ in range(round(hours * 60 / BLOCK_MINUTES)):
            file.writeframes(block)
    return path


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
