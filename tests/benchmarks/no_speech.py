"""What is taken for speech in a folder of recordings, and which words come of it: none should where nobody speaks.

    python -m tests.benchmarks.no_speech --audio DIR [--minutes 2] [--at-least 15]

Of every recording that is long enough the first minutes. Instrumental music: the packages supertux-data,
wesnoth-1.16-music, hedgewars-data, extremetuxracer-data, frozen-bubble-data and lincity-ng-data of Debian 12 hold 126
pieces (``apt-get download``, ``dpkg-deb -x``); hedgewars-data also 839 short shouts, to see what is lost. Sounds under
ten seconds are given the benefit of the doubt: some effects of these games give a word.
The engine is chosen by ENGINE and MODEL as everywhere.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from gpu_jobs.audio import Recording, decode_recording
from gpu_jobs.engines import build_engines, read_engine_settings
from gpu_jobs.pipeline import transcribe_recording
from gpu_jobs.speech import find_speech
from shared.domain.options import TranscriptionOptions

SUFFIXES = {".ogg", ".mp3", ".flac", ".wav", ".m4a", ".opus"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What is taken for speech, and what is made of it.")
    parser.add_argument("--audio", type=Path, required=True, help="a folder, searched to the bottom")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--at-least", type=float, default=15.0, help="seconds: shorter recordings are left out")
    arguments = parser.parse_args()
    engines = build_engines(read_engine_settings(os.environ))
    recordings = silent = words = 0
    heard_seconds = speech_seconds = 0.0
    for path in sorted(path for path in arguments.audio.rglob("*") if path.suffix.lower() in SUFFIXES):
        recording = Recording(samples=decode_recording(path).slice(0.0, arguments.minutes * 60))
        if recording.duration_seconds < arguments.at_least:
            continue
        recordings += 1
        heard_seconds += recording.duration_seconds
        seconds = sum(span.duration_seconds for span in find_speech(recording))
        speech_seconds += seconds
        if not seconds:
            silent += 1
            continue
        text = transcribe_recording(recording, TranscriptionOptions(language="en"), engines, lambda *_: None).text
        words += len(text.split())
        print(f"{path.name:<40}{seconds:>8.1f} s  {text[:80]!r}", flush=True)
    print(f"{recordings} recordings, {heard_seconds:.0f} s: {speech_seconds:.1f} s taken for speech, {words} words")
    print(f"{silent} recordings without any")


if __name__ == "__main__":
    main()
