"""Recordings submitted over HTTP and worked on by a real run with a fixed engine."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from gpu_jobs.progress import OnProgress
from gpu_jobs.rebuild import with_summary, with_turns
from gpu_jobs.run import RunEnd
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Engines, Segment, Summary, Transcript, Turn
from tests.integration.conftest import Cloud, Customer
from tests.pipelines import Asked, StandIn, work_on

SUBMIT = "/api/v1/transcribe/"
SAID = "The quiet words of a customer."


class Engine(StandIn):
    """Hears the same words in every recording, which turns out to be ``real_seconds`` long."""

    def __init__(self, real_seconds: float) -> None:
        self._real_seconds = real_seconds

    def hear(self, asked: Asked) -> Transcript:
        """The same words, after two seconds of a GPU and one of this machine."""
        assert asked.path.stat().st_size
        asked.on_measured(self._real_seconds)
        return Transcript(
            duration_seconds=self._real_seconds,
            language="en",
            engines=Engines(transcriber="fixed:1"),
            segments=(Segment(start_seconds=0.0, end_seconds=self._real_seconds, text=SAID),),
            compute_seconds={"transcribing@L4": 2.0, "decoding": 1.0},
        )

    def diarize_again(
        self,
        path: Path,
        base: Transcript,
        options: TranscriptionOptions,
        on_progress: OnProgress,
        shelf: object = None,
    ) -> Transcript:
        """Each of the speakers asked for says a part."""
        assert path.stat().st_size
        on_progress("diarizing", 0.0, self._real_seconds)
        count = options.num_speakers or 1
        turn_seconds = self._real_seconds / count
        turns = [
            Turn(start_seconds=n * turn_seconds, end_seconds=(n + 1) * turn_seconds, speaker_id=str(n))
            for n in range(count)
        ]
        return with_turns(base, turns, options, "fixed:speakers", {"diarizing@L4": 3.0})

    def summarize_again(self, base: Transcript, on_progress: OnProgress, shelf: object = None) -> Transcript:
        """As short as it gets."""
        on_progress("summarizing", 0.0, self._real_seconds)
        return with_summary(base, Summary(text="Somebody spoke."), "fixed:summary", {"summarizing@L4": 1.0})


def silence(seconds: int) -> bytes:
    """A WAV file of so many seconds."""
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(1)
        recording.setframerate(1_000)
        recording.writeframes(bytes([128]) * 1_000 * seconds)
    return file.getvalue()


def submit(
    api: TestClient, customer: Customer, seconds: int = 60, headers: dict[str, str] | None = None, **fields: str
) -> Any:
    """Send a recording."""
    return api.post(
        SUBMIT,
        headers=customer.headers | (headers or {}),
        files={"file": ("talk.wav", silence(seconds), "audio/wav")},
        data=fields,
    )


def work(cloud: Cloud, job_id: str, real_seconds: float) -> RunEnd:
    """Dispatch the job and do its work."""
    return work_on(cloud.services("SweepFunction"), job_id, Engine(real_seconds))
