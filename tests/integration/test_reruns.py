"""One stage of a completed transcription run again: the same words, paid for by what is new."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from gpu_jobs.run import RunEnd
from shared.bootstrap import Services
from shared.domain.accounts import Principal
from shared.domain.ids import JobId
from shared.domain.jobs import Job, JobState
from shared.domain.reruns import RerunStage, RerunWish
from shared.domain.transcripts import Word
from shared.services.submissions import Submitted
from tests.finished_jobs import TRANSCRIPT, put_job, store
from tests.integration.conftest import Cloud, Customer
from tests.integration.crashes import Story, fresh_clients
from tests.integration.paid_jobs import work
from tests.property.world import Fault

MINUTES = 10
TALK = replace(
    TRANSCRIPT,
    duration_seconds=MINUTES * 60.0,
    segments=tuple(
        replace(
            segment,
            words=tuple(
                Word(text=text, start_seconds=segment.start_seconds, end_seconds=segment.end_seconds)
                for text in segment.text.split()
            ),
        )
        for segment in TRANSCRIPT.segments
    ),
)


def _finished(services: Services, customer: Customer) -> Job:
    return put_job(services, customer.account_id, transcript=TALK)


def _rerun(api: TestClient, customer: Customer, job: Job, **body: Any) -> Any:
    return api.post(f"/api/v1/transcribe/{job.job_id}/rerun/", json=body, headers=customer.headers)


def _show(api: TestClient, customer: Customer, job_id: str) -> Any:
    return api.get(f"/api/v1/transcribe/{job_id}/?segments=true", headers=customer.headers).json()


def test_speakers_are_found_anew_for_the_price_of_that_alone(
    api: TestClient, services: Services, funded: Customer, cloud: Cloud
) -> None:
    job = _finished(services, funded)
    before = _show(api, funded, job.job_id)
    answer = _rerun(api, funded, job, stage="diarization", num_speakers=2)
    assert answer.status_code == 202, answer.text
    assert answer.json()["estimated_credits"] == 0.2 * MINUTES
    assert answer.headers["Location"] == f"/api/v1/transcribe/{answer.json()['id']}/"
    assert funded.balance().held_millicredits == 200 * MINUTES
    assert work(cloud, answer.json()["id"], 9.0) is RunEnd.COMPLETED
    after = _show(api, funded, answer.json()["id"])
    assert [each["id"] for each in after["speakers"]] == ["SPEAKER_00", "SPEAKER_01"]
    assert after["transcript"].split() == before["transcript"].split()
    assert after["summary"] == before["summary"]
    assert after["engine"]["diarizer"] == "fixed:speakers"
    assert after["receipt"]["credits_by_part"] == {"diarization": 0.2 * MINUTES}
    assert [use["part"] for use in after["receipt"]["compute"]] == ["diarizing"]
    assert after["receipt"]["rerun_of"] == job.job_id
    assert _show(api, funded, job.job_id) == before
    assert funded.balance().available_millicredits == 1_000_000 - 200 * MINUTES
    assert services.credits.verify(funded.account_id).open_holds == {}


def test_a_summary_is_made_again_without_the_recording(
    api: TestClient, services: Services, funded: Customer, cloud: Cloud
) -> None:
    job = _finished(services, funded)
    services.bucket.delete(job.recording.key)
    answer = _rerun(api, funded, job, stage="summary")
    assert work(cloud, answer.json()["id"], 9.0) is RunEnd.COMPLETED
    after = _show(api, funded, answer.json()["id"])
    assert after["summary"] == "Somebody spoke."
    assert after["credits_used"] == 0.1 * MINUTES
    assert [each["label"] for each in after["speakers"]] == ["Speaker 1", "Speaker 2", "Speaker 3"]
    refused = _rerun(api, funded, job, stage="diarization")
    assert (refused.status_code, refused.json()["error"]) == (409, "conflict")


def test_asking_twice_makes_one_and_a_corrected_transcript_makes_another(
    api: TestClient, services: Services, funded: Customer
) -> None:
    job = _finished(services, funded)
    first = _rerun(api, funded, job, stage="summary")
    again = _rerun(api, funded, job, stage="summary")
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert funded.balance().held_millicredits == 100 * MINUTES
    edits = {"speakers": [{"id": "SPEAKER_00", "label": "Host"}]}
    api.patch(f"/api/v1/transcribe/{job.job_id}/", json=edits, headers=funded.headers)
    assert _rerun(api, funded, job, stage="summary").json()["id"] != first.json()["id"]
    api.delete(f"/api/v1/transcribe/{first.json()['id']}/", headers=funded.headers)
    assert funded.balance().held_millicredits == 100 * MINUTES


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "stage"),
        ({"stage": "transcription"}, "stage"),
        ({"stage": "summary", "num_speakers": 2}, "stage"),
        ({"stage": "diarization", "num_speakers": 2, "min_speakers": 1}, "num_speakers"),
        ({"stage": "diarization", "min_speakers": 3, "max_speakers": 2}, "min_speakers"),
        ({"stage": "diarization", "num_speakers": 0}, "num_speakers"),
        ({"stage": "diarization", "max_credits": 1.9}, "max_credits"),
        ({"stage": "summary", "webhook_url": "https://10.0.0.1/"}, "webhook_url"),
    ],
)
def test_a_malformed_wish_is_refused(
    api: TestClient, services: Services, funded: Customer, body: dict[str, Any], field: str
) -> None:
    answer = _rerun(api, funded, _finished(services, funded), **body)
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert funded.balance().held_millicredits == 0


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.FAILED, JobState.CANCELLED])
def test_only_a_completed_job_has_stages_to_run_again(
    api: TestClient, services: Services, funded: Customer, state: JobState
) -> None:
    answer = _rerun(api, funded, put_job(services, funded.account_id, state), stage="summary")
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")


def test_a_quote_says_what_the_stage_costs_and_without_credits_nothing_is_made(
    api: TestClient, services: Services, customer: Customer
) -> None:
    job = _finished(services, customer)
    quote = _rerun(api, customer, job, stage="diarization", dry_run=True)
    assert (quote.status_code, quote.json()["estimated_credits"]) == (200, 0.2 * MINUTES)
    answer = _rerun(api, customer, job, stage="diarization")
    assert (answer.status_code, answer.json()["error"]) == (402, "insufficient_credits")
    assert services.bucket.get(job.recording.key) == b"RIFF"


@pytest.mark.parametrize(("stage", "code"), [("summary", "result_missing"), ("diarization", "result_missing")])
def test_a_stage_whose_first_job_was_deleted_meanwhile_fails_and_costs_nothing(
    api: TestClient, services: Services, funded: Customer, cloud: Cloud, stage: str, code: str
) -> None:
    job = _finished(services, funded)
    new_id = _rerun(api, funded, job, stage=stage).json()["id"]
    api.delete(f"/api/v1/transcribe/{job.job_id}/", headers=funded.headers)
    assert work(cloud, new_id, 9.0) is RunEnd.FAILED
    assert _show(api, funded, new_id)["error_code"] == code
    assert funded.balance().available_millicredits == 1_000_000


def test_a_recording_that_is_gone_by_then_fails_the_job_and_a_retry_of_it_is_the_same_stage(
    api: TestClient, services: Services, funded: Customer, cloud: Cloud
) -> None:
    job = _finished(services, funded)
    new_id = _rerun(api, funded, job, stage="diarization", num_speakers=3).json()["id"]
    services.bucket.delete(job.recording.key)
    assert work(cloud, new_id, 9.0) is RunEnd.FAILED
    assert _show(api, funded, new_id)["error_code"] == "audio_missing"
    services.bucket.put(job.recording.key, b"RIFF", "audio/mpeg")
    retried = api.post(f"/api/v1/transcribe/{new_id}/retry/", headers=funded.headers)
    assert retried.json()["estimated_credits"] == 0.2 * MINUTES
    assert work(cloud, retried.json()["id"], 9.0) is RunEnd.COMPLETED
    assert len(_show(api, funded, retried.json()["id"])["speakers"]) == 3


def test_each_of_the_two_may_be_deleted_without_the_other(
    api: TestClient, services: Services, funded: Customer, cloud: Cloud
) -> None:
    job = _finished(services, funded)
    ids = [_rerun(api, funded, job, stage="diarization", num_speakers=count).json()["id"] for count in (1, 2)]
    for each in ids:
        assert work(cloud, each, 9.0) is RunEnd.COMPLETED
    receipt = api.delete(f"/api/v1/transcribe/{ids[0]}/", headers=funded.headers).json()
    assert [each["key"].split("/")[0] for each in receipt["objects"]] == ["results"]
    assert services.bucket.get(job.recording.key) == b"RIFF"
    assert _show(api, funded, job.job_id)["status"] == "completed"
    api.delete(f"/api/v1/transcribe/{job.job_id}/", headers=funded.headers)
    assert _show(api, funded, ids[1])["transcript"].startswith("Hello and welcome.")


def test_words_are_stored_for_later_and_shown_only_to_who_asked_for_them(
    api: TestClient, services: Services, funded: Customer
) -> None:
    job = _finished(services, funded)
    assert all("words" not in segment for segment in _show(api, funded, job.job_id)["segments"])
    exported = api.get(f"/api/v1/transcribe/{job.job_id}/export/?format=json", headers=funded.headers)
    assert "words" not in json.loads(exported.text)["segments"][0]
    asked = replace(job, options=replace(job.options, word_timestamps=True))
    store(services).replace(asked)
    assert len(_show(api, funded, job.job_id)["segments"][0]["words"]) == 3


# ---- whatever breaks -------------------------------------------------------------------------------------------------


@dataclass
class RerunStory(Story):
    """The stage instead of a recording that is handed in."""

    stage: RerunStage = RerunStage.DIARIZATION

    def __post_init__(self) -> None:
        super().__post_init__()
        self.base = put_job(self.observer(), self.account_id, transcript=TALK)
        self.calls_before = len(self.faults.calls)

    def submit(self, principal: Principal) -> Submitted:
        """Send the request once."""
        job = self.services.jobs.get(self.base.job_id, self.account_id)
        submission = self.services.repeats.rerun(principal, job, RerunWish(stage=self.stage))
        return self.services.submissions.submit(submission, None)


@pytest.fixture(scope="module")
def cloud_with_clients(cloud: Cloud) -> Iterator[Cloud]:
    """The template in moto, and clients made inside it."""
    with fresh_clients():
        yield cloud


@pytest.mark.parametrize("fault", list(Fault))
def test_whatever_call_it_befalls_a_stage_is_charged_once_or_not_at_all(
    cloud_with_clients: Cloud, fault: Fault
) -> None:
    settings = cloud_with_clients.services("SweepFunction").settings
    quiet = RerunStory(settings)
    quiet.tell()
    for number, name in enumerate(quiet.calls()):
        story = RerunStory(settings)
        story.faults.plan(fault, number)
        job = story.tell()
        assert job.state in {JobState.COMPLETED, JobState.FAILED}, f"{fault} call {number} ({name})"
        balance = story.observer().credits.balance(story.account_id)
        charged = 200 * MINUTES if job.state is JobState.COMPLETED else 0
        assert (balance.held_millicredits, balance.available_millicredits) == (0, 100_000 - charged)
        assert story.observer().credits.verify(story.account_id).open_holds == {}
        assert store(story.observer()).get(JobId(story.base.job_id)) is not None
