"""Machines elsewhere, played by threads of this process, behind the cloud app's own wiring (gpu_jobs.cloud.crew_of)."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from gpu_jobs import remote
from gpu_jobs.audio import Recording
from gpu_jobs.cloud import Fleet, crew_of
from gpu_jobs.crew import Crew
from gpu_jobs.diarize import SpeakerCount
from gpu_jobs.engines import EngineSettings, build_chunk_engines, build_engines
from gpu_jobs.planner import GPUS, FleetPlan, plan_fleet
from gpu_jobs.remote import Calls, RemoteChunks
from gpu_jobs.summarize import vllm
from shared.adapters.s3 import Bucket
from shared.adapters.s3_uploads import UploadBucket
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Turn

SETTINGS = EngineSettings(cpu_threads=1)
NOTES = json.dumps({"summary": "Waiting.", "topics": ["waiting"], "speakers": {}})


class OneVoice:
    """A diarizer that hears one voice all the time."""

    weight, engine = 0.1, "fake:one"

    def diarize(self, recording: Recording, on_progress: Any, count: SpeakerCount | None = None) -> tuple[Turn, ...]:
        return (Turn(start_seconds=0.0, end_seconds=recording.duration_seconds, speaker_id="SPEAKER_00"),)


class Elsewhere:
    """The other side; counts the work it is given, and lets it wait for a machine for ``queue_seconds``."""

    def __init__(self, bucket: Bucket, reader: UploadBucket, queue_seconds: float = 0.0) -> None:
        self.bucket, self.reader = bucket, reader
        self.engines = build_chunk_engines(SETTINGS)
        self.orders: list[str] = []
        self.broken: BaseException | None = None
        self.at_once, self.machines = 0, 1  # one machine is the planner's choice for ten seconds
        self._queue_seconds = queue_seconds

    def transcribe(self, prefix: str, values: dict[str, Any]) -> dict[str, Any]:
        self.orders.append(str(values["index"]))
        self.at_once += 1
        try:
            assert self.at_once <= self.machines
            if self.broken is not None:
                raise self.broken
            return remote.transcribe_chunk(self.engines, self.bucket, self.reader, prefix, values)
        finally:
            self.at_once -= 1

    def choose_language(self, prefix: str, values: dict[str, Any]) -> dict[str, Any]:
        self._begin("language")
        return remote.choose_language(self.engines, self.bucket, self.reader, prefix, values)

    def diarize(self, prefix: str, values: dict[str, Any]) -> dict[str, Any]:
        self._begin("speakers")
        return remote.diarize(OneVoice(), self.bucket, prefix, values)

    def summarise(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        self._begin("summary")
        return vllm.answered(lambda: lambda _: NOTES, messages)

    def crew(self, shelf: Any) -> Crew:
        """The cloud app's, but with several chunks of a short recording."""
        fleet = Fleet(
            calls=Calls(transcribe=self.transcribe, choose_language=self.choose_language, diarize=self.diarize),
            summarise=self.summarise,
            llm="fake",
            diarizer="fake:one",
            gpu="L4",
            speakers_gpu="L40S",
            max_gpus=4,
        )
        services: Any = SimpleNamespace(bucket=self.bucket)
        crew = crew_of(fleet, services, build_engines(SETTINGS), shelf)

        def plan(seconds: float, options: TranscriptionOptions) -> FleetPlan:
            planned = plan_fleet(seconds, GPUS["L4"], 4, speakers=GPUS["L40S"] if options.diarization else None)
            return replace(planned, chunk_seconds=4.0)

        assert crew.elsewhere is not None
        chunks = RemoteChunks(fleet.calls, shelf, self.bucket, plan, crew.elsewhere)
        return replace(crew, chunks=chunks, expects=plan)

    def _begin(self, order: str) -> None:
        self.orders.append(order)
        time.sleep(self._queue_seconds)
