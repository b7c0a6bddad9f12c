"""Who speaks when, by the local engine: how wrong and how fast, beside the library as it comes, in the same run.

    python -m tests.benchmarks.speakers --audio DIR [--runs 2]

DIR holds pairs of NAME.wav and NAME.rttm. Errors are pyannote.metrics' (requirements/accuracy.txt), with and without a
collar of 0.25 s. Seconds of processor time stand beside those of the clock: they are the same on a busy machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording, decode_recording
from gpu_jobs.diarize.moonshine import TINY_MODEL, MoonshineDiarizer, joined_turns
from shared.domain.transcripts import Turn

COLLARS_SECONDS = (0.25, 0.0)
BLOCK_SECONDS = 0.5

Diarize = Callable[[Recording], tuple[Turn, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Of one run."""

    wall_seconds: float
    processor_seconds: float
    turns: tuple[Turn, ...]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Errors and speed of the local speaker engine.")
    parser.add_argument("--audio", type=Path, required=True, help="folder with NAME.wav and NAME.rttm")
    parser.add_argument("--runs", type=int, default=2)
    arguments = parser.parse_args()
    rows: dict[str, Diarize] = {"library as it comes": as_it_comes, "ours": ours}
    heads = f"{'recording':<14}{'by':<22}{'DER, collar 0.25':>17}{'collar 0':>10}{'speakers':>10}"
    print(f"{heads}{'x real time':>13}{'processor s / audio s':>23}")
    for path in sorted(arguments.audio.glob("*.rttm")):
        recording = decode_recording(path.with_suffix(".wav"))
        reference = reference_turns(path)
        best = measure(rows, recording, arguments.runs)
        for name, taken in best.items():
            errors = [error_rate(reference, taken.turns, collar) for collar in COLLARS_SECONDS]
            found = f"{len({t.speaker_id for t in taken.turns})}/{len({t.speaker_id for t in reference})}"
            factor = taken.wall_seconds / recording.duration_seconds
            work = taken.processor_seconds / recording.duration_seconds
            line = f"{path.stem:<14}{name:<22}{errors[0]:>17.1%}{errors[1]:>10.1%}{found:>10}"
            print(f"{line}{factor:>13.2f}{work:>23.2f}")


def measure(rows: dict[str, Diarize], recording: Recording, runs: int) -> dict[str, Taken]:
    """The best run of each row; they take turns."""
    best: dict[str, Taken] = {}
    for _ in range(runs):
        for name, diarize in rows.items():
            began, worked = time.perf_counter(), time.process_time()
            turns = diarize(recording)
            taken = Taken(
                wall_seconds=time.perf_counter() - began,
                processor_seconds=time.process_time() - worked,
                turns=turns,
            )
            best[name] = min(best.get(name, taken), taken, key=lambda each: each.wall_seconds)
    return best


def ours(recording: Recording) -> tuple[Turn, ...]:
    """With our settings and the second look."""
    return MoonshineDiarizer().diarize(recording, lambda _: None)


def as_it_comes(recording: Recording) -> tuple[Turn, ...]:
    """The library with its own cadences, fed as its examples do."""
    from moonshine_voice import ModelArch, Transcriber, get_model_path

    options = {"identify_speakers": "true", "return_audio_data": "false"}
    with Transcriber(str(get_model_path(TINY_MODEL)), ModelArch.TINY, options=options) as model:
        stream = model.create_stream(update_interval=BLOCK_SECONDS)
        try:
            stream.start()
            start = 0.0
            while start < recording.duration_seconds:
                stream.add_audio(recording.slice(start, start + BLOCK_SECONDS).tolist(), SAMPLE_RATE_HZ)
                start += BLOCK_SECONDS
            result = stream.stop()
        finally:
            stream.close()
    return joined_turns(result.lines, recording.duration_seconds)


def reference_turns(path: Path) -> tuple[Turn, ...]:
    """The turns of an RTTM file."""
    fields = [line.split() for line in path.read_text().splitlines() if line.startswith("SPEAKER")]
    return tuple(
        Turn(start_seconds=float(f[3]), end_seconds=float(f[3]) + float(f[4]), speaker_id=f[7]) for f in fields
    )


def error_rate(reference: tuple[Turn, ...], found: tuple[Turn, ...], collar_seconds: float) -> float:
    """The diarization error rate: missed, invented and confused speech over all speech."""
    from pyannote.core import Annotation, Segment
    from pyannote.metrics.diarization import DiarizationErrorRate

    def annotation(turns: tuple[Turn, ...]) -> Any:
        result = Annotation()
        for index, turn in enumerate(turns):
            result[Segment(turn.start_seconds, turn.end_seconds), index] = turn.speaker_id
        return result

    return float(DiarizationErrorRate(collar=collar_seconds)(annotation(reference), annotation(found)))


if __name__ == "__main__":
    main()
