"""A chunk that cannot be transcribed: the customer pays nothing, the operator has what was done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi.testclient import TestClient

from gpu_jobs.align import Aligner
from gpu_jobs.audio import Recording
from gpu_jobs.chunk_work import ChunkEngines, OwnProcess
from gpu_jobs.chunks import Span, WindowRules
from gpu_jobs.crew import Crew
from gpu_jobs.diarize.moonshine import MoonshineDiarizer
from gpu_jobs.engines import EngineSet
from gpu_jobs.pipeline import SpeechPipeline
from gpu_jobs.run import RunEnd
from gpu_jobs.transcribe import LanguageChoice, Passage, Transcription
from infra.admin.__main__ import main
from shared.domain.errors import JobFailure
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Word
from tests.data.recordings import TWO_CITIES
from tests.integration.conftest import Cloud, Customer
from tests.pipelines import work_on


class Engine:
    """Says where each stretch of speech begins, and fails on its third chunk as often as it is told to."""

    weight, windows = 0.1, WindowRules(max_seconds=8.0)

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.chunks = 0

    def engine(self, options: TranscriptionOptions) -> str:
        return "fake:one"

    def choose_language(self, *_: object) -> LanguageChoice:
        return LanguageChoice(language="en")

    def transcribe(self, _: Recording, speech: Sequence[Span], *__: object) -> Transcription:
        self.chunks += 1
        if self.chunks >= 3 and self.failures:
            self.failures -= 1
            raise JobFailure("engine_failed", "The speech engine failed on this recording.")
        words = tuple(
            Word(text=f"{span.start_seconds:.0f}s", start_seconds=span.start_seconds, end_seconds=span.end_seconds)
            for span in speech
        )
        passage = Passage(start_seconds=words[0].start_seconds, end_seconds=words[-1].end_seconds, text="", words=words)
        return Transcription(engine="fake:one", language="en", passages=(passage,))


def work(cloud: Cloud, job_id: str, engine: Engine) -> RunEnd:
    """Dispatch the job and do its work in chunks of ten seconds."""
    chunks = OwnProcess(ChunkEngines(transcriber=engine, aligner=Aligner()), 10.0)  # type: ignore[arg-type]
    engines = EngineSet(transcriber=engine, aligner=Aligner(), diarizer=MoonshineDiarizer())  # type: ignore[arg-type]
    return work_on(cloud.services("SweepFunction"), job_id, SpeechPipeline(Crew(engines=engines, chunks=chunks)))


def submit(api: TestClient, customer: Customer) -> str:
    files = {"file": ("a.wav", TWO_CITIES.read_bytes(), "audio/wav")}
    return str(api.post("/api/v1/transcribe/", headers=customer.headers, files=files).json()["id"])


def test_a_chunk_that_fails_twice_fails_the_job_gives_all_credits_back_and_keeps_the_rest_for_the_operator(
    api: TestClient,
    cloud: Cloud,
    funded: Customer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    job_id = submit(api, funded)

    assert work(cloud, job_id, Engine(failures=2)) is RunEnd.FAILED

    view: dict[str, Any] = api.get(f"/api/v1/transcribe/{job_id}/", headers=funded.headers).json()
    assert (view["status"], view["error_code"], view["credits_used"]) == ("failed", "engine_failed", 0)
    balance = funded.balance()
    assert (balance.available_millicredits, balance.held_millicredits) == (1_000_000, 0)

    for name, value in next(f for f in cloud.created.functions if f.logical_id == "SweepFunction").environment.items():
        monkeypatch.setenv(name, value)
    assert main(["--json", "job", "parts", job_id]) == 0
    parts = json.loads(capsys.readouterr().out)
    assert [part["chunk"] for part in parts] == [0, 1]
    assert parts[0]["text"].startswith("1s")


def test_a_chunk_that_fails_once_costs_the_customer_nothing_but_time(
    api: TestClient, cloud: Cloud, funded: Customer
) -> None:
    job_id = submit(api, funded)

    assert work(cloud, job_id, Engine(failures=1)) is RunEnd.COMPLETED
