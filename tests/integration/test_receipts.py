"""What a receipt says of a job whose heavy work was done on GPUs elsewhere, from the submission to the row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from gpu_jobs.pipeline import SpeechPipeline
from gpu_jobs.run import RunEnd
from tests.data.recordings import BECKETT
from tests.drivers import driver
from tests.integration.conftest import Cloud, Customer
from tests.integration.paid_jobs import SUBMIT
from tests.integration.speech.machines import Elsewhere
from tests.pipelines import work_on

QUEUE_SECONDS = 1.0
L40S_DOLLARS_PER_SECOND = 0.000542


def receipt_of(cloud: Cloud, api: TestClient, customer: Customer, job_id: str, folder: Path) -> Any:
    """The receipt of the job, after work on L40S that had to be waited for."""
    services = cloud.services("SweepFunction")
    elsewhere = Elsewhere(services.bucket, services.upload_bucket, QUEUE_SECONDS)
    with driver(folder, "echo NVIDIA L40S"):
        assert work_on(services, job_id, SpeechPipeline(elsewhere.crew)) is RunEnd.COMPLETED
    return api.get(f"{SUBMIT}{job_id}/", headers=customer.headers).json()["receipt"]


def test_speakers_language_and_summary_are_priced_as_the_gpus_they_took_and_waiting_costs_nothing(
    cloud: Cloud, api: TestClient, funded: Customer, tmp_path: Path
) -> None:
    submitted = api.post(
        SUBMIT,
        headers=funded.headers,
        files={"file": ("talk.wav", BECKETT.read_bytes(), "audio/wav")},
        data={"diarization": "true", "summary": "true"},
    ).json()
    receipt = receipt_of(cloud, api, funded, submitted["id"], tmp_path)
    on_gpu = {use["part"]: use for use in receipt["compute"] if use["device"] == "L40S"}
    assert set(on_gpu) >= {"transcribing", "choosing_language", "diarizing", "summarizing"}
    assert {use["usd_per_second"] for use in on_gpu.values()} == {L40S_DOLLARS_PER_SECOND}
    assert all(on_gpu[part]["seconds"] < QUEUE_SECONDS for part in ("choosing_language", "diarizing", "summarizing"))
    here = {use["part"]: use for use in receipt["compute"] if use["device"] == "local"}
    assert set(here) == {"decoding", "finding_speech", "diarizing"}
    assert here["diarizing"]["seconds"] < QUEUE_SECONDS  # the look at the channels

    again = api.post(
        f"{SUBMIT}{submitted['id']}/rerun/",
        headers=funded.headers,
        json={"stage": "diarization", "num_speakers": 1},
    ).json()
    receipt = receipt_of(cloud, api, funded, again["id"], tmp_path)
    assert {(use["part"], use["device"]) for use in receipt["compute"]} == {
        ("decoding", "local"),
        ("finding_speech", "local"),
        ("diarizing", "local"),
        ("diarizing", "L40S"),
    }


def test_a_device_that_is_not_known_has_a_row_without_a_price(
    cloud: Cloud, api: TestClient, funded: Customer, tmp_path: Path
) -> None:
    files = {"file": ("talk.wav", BECKETT.read_bytes(), "audio/wav")}
    job_id = api.post(SUBMIT, headers=funded.headers, files=files).json()["id"]
    services = cloud.services("SweepFunction")
    with driver(tmp_path, "exit 9"):
        work_on(services, job_id, SpeechPipeline(Elsewhere(services.bucket, services.upload_bucket).crew))
    receipt = api.get(f"{SUBMIT}{job_id}/", headers=funded.headers).json()["receipt"]
    (row,) = [use for use in receipt["compute"] if use["part"] == "transcribing"]
    assert (row["device"], row["usd_per_second"]) == ("unknown", 0)
    assert row["seconds"] > 0
