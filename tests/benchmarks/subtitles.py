"""How well our subtitles are cut, beside Whisper's own writer at the same limits (42 columns, 2 lines).

    python -m tests.benchmarks.subtitles TRANSCRIPT.json... [--against DIR/whisper/utils.py]

TRANSCRIPT.json is a stored result (or its "segments" with words). Whisper's writer is one module of the openai-whisper
source archive (`pip download --no-deps --no-binary :all: openai-whisper`), which imports nothing heavy by itself.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import io
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from shared.domain.graphemes import columns
from shared.domain.subtitles import Cue, SubtitleStyle, cut
from shared.domain.transcript_values import from_values
from shared.domain.transcripts import Segment, Transcript

STYLE = SubtitleStyle()
ENDS = tuple(".!?…,;:")


def main() -> None:
    """Cut each transcript with each cutter and print what a reader would notice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("transcripts", nargs="+", type=Path)
    parser.add_argument("--against", type=Path, help="whisper/utils.py of the openai-whisper source archive")
    arguments = parser.parse_args()
    table = Table("recording", "cutter", "cues", *_HEADINGS, "ms")
    for path in arguments.transcripts:
        transcript = _read(path)
        cutters = {"ours": _ours} | ({"whisper": _whisper_of(arguments.against)} if arguments.against else {})
        for name, cutter in cutters.items():
            started = time.perf_counter()
            cues = cutter(transcript)
            spent = (time.perf_counter() - started) * 1000
            table.add_row(path.stem, name, str(len(cues)), *_measure(cues, transcript), f"{spent:.1f}")
    Console(width=140).print(table)


def _read(path: Path) -> Transcript:
    body = path.read_bytes()
    head, _, rows = (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).partition(b"\n")
    return from_values(json.loads(head), json.loads(rows) if rows else None)


def _ours(transcript: Transcript) -> list[Cue]:
    return cut(transcript.segments, STYLE)


def _whisper_of(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("whisper_utils", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def cutter(transcript: Transcript) -> list[Cue]:
        writer = module.WriteSRT(".")
        file = io.StringIO()
        result = {"segments": [_whisper_segment(segment) for segment in transcript.segments]}
        options = {"max_line_width": STYLE.max_columns, "max_line_count": STYLE.max_lines, "highlight_words": False}
        writer.write_result(result, file=file, options=options)
        return [_parse(block) for block in file.getvalue().strip().split("\n\n")]

    return cutter


def _whisper_segment(segment: Segment) -> dict[str, Any]:
    words = [{"word": f" {w.text}", "start": w.start_seconds, "end": w.end_seconds} for w in segment.words]
    return {"start": segment.start_seconds, "end": segment.end_seconds, "text": segment.text, "words": words}


def _parse(block: str) -> Cue:
    _, times, *lines = block.splitlines()
    start, end = (_milliseconds(time) for time in times.split(" --> "))
    return Cue(start_milliseconds=start, end_milliseconds=end, lines=tuple(line.strip() for line in lines))


def _milliseconds(text: str) -> int:
    hours, minutes, seconds = text.replace(",", ".").split(":")
    return round((int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * 1000)


_HEADINGS = (
    "too wide", "overlap", "< 1 s", "> 7 s", "> 17 columns/s", "> 25 columns/s", "ends mid-clause", "two speakers",
)  # fmt: skip


def _measure(cues: list[Cue], transcript: Transcript) -> list[str]:
    seconds = [(cue.end_milliseconds - cue.start_milliseconds) / 1000 for cue in cues]
    speeds = [columns(" ".join(cue.lines)) / max(s, 0.001) for cue, s in zip(cues, seconds, strict=True)]
    bad = (
        sum(any(columns(line) > STYLE.max_columns for line in cue.lines) for cue in cues),
        sum(a.end_milliseconds > b.start_milliseconds for a, b in pairwise(cues)),
        sum(s < STYLE.min_seconds for s in seconds),
        sum(s > STYLE.max_seconds for s in seconds),
        sum(speed > STYLE.columns_per_second for speed in speeds),
        sum(speed > 25 for speed in speeds),
        sum(not cue.lines[-1].endswith(ENDS) for cue in cues),
        sum(_speakers_during(cue, transcript) > 1 for cue in cues),
    )
    return [f"{count} ({100 * count / max(1, len(cues)):.0f} %)" for count in bad]


def _speakers_during(cue: Cue, transcript: Transcript) -> int:
    """Speakers whose words are shown in the cue, found by the middle of each word."""
    shown = {
        word.speaker_id or segment.speaker_id
        for segment in transcript.segments
        for word in segment.words
        if cue.start_milliseconds <= 500 * (word.start_seconds + word.end_seconds) < cue.end_milliseconds
        and word.text in " ".join(cue.lines)
    }
    return len(shown)


if __name__ == "__main__":
    main()
