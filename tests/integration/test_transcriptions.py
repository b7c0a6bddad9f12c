"""Jobs that have ended, over the API: read, exported, listed, corrected, cancelled, deleted."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from shared.bootstrap import Services
from shared.domain import job_rules as rules
from shared.domain.accounts import Scope
from shared.domain.job_rules import LAST_LOOK
from shared.domain.jobs import JobState
from shared.domain.transcripts import Segment
from tests.finished_jobs import TRANSCRIPT, put_job, store
from tests.integration.conftest import Cloud, Customer


def _get(api: TestClient, customer: Customer, path: str, **headers: str) -> Any:
    return api.get(f"/api/v1/transcribe/{path}", headers=customer.headers | headers)


# ---- results ---------------------------------------------------------------------------------------------------------


def test_a_finished_job_is_not_sent_twice_to_who_has_it(
    api: TestClient, services: Services, customer: Customer
) -> None:
    job = put_job(services, customer.account_id)
    first = _get(api, customer, f"{job.job_id}/")
    again = _get(api, customer, f"{job.job_id}/", **{"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    other = _get(api, customer, f"{job.job_id}/?segments=true", **{"If-None-Match": first.headers["ETag"]})
    assert other.status_code == 200


@pytest.mark.parametrize("what", ["", "export/?format=txt"])
def test_who_has_a_deleted_job_is_sent_the_one_made_again_under_its_id(
    api: TestClient, services: Services, customer: Customer, what: str
) -> None:
    job = put_job(services, customer.account_id)
    first = _get(api, customer, f"{job.job_id}/{what}")
    store(services).delete(job)
    made_again = replace(job, created_at=datetime.now(UTC) + timedelta(hours=2), revision=0)
    assert store(services).replace(made_again).revision == job.revision

    second = _get(api, customer, f"{job.job_id}/{what}", **{"If-None-Match": first.headers["ETag"]})

    assert second.status_code == 200
    assert second.headers["ETag"] != first.headers["ETag"]


def test_a_running_job_says_when_to_ask_again_and_has_no_etag(
    api: TestClient, services: Services, customer: Customer
) -> None:
    job = put_job(services, customer.account_id, JobState.RUNNING)
    answer = _get(api, customer, f"{job.job_id}/")
    assert answer.json() == {"id": job.job_id, "status": "processing", "progress": 45, "stage": "transcribing"}
    assert answer.headers["Retry-After"] == "5"
    assert "ETag" not in answer.headers


def test_a_long_result_is_compressed_for_who_accepts_it(
    api: TestClient, services: Services, customer: Customer
) -> None:
    job = put_job(services, customer.account_id, transcript=_long(2_000))
    plain = _get(api, customer, f"{job.job_id}/?segments=true", **{"Accept-Encoding": "identity"})
    packed = _get(api, customer, f"{job.job_id}/?segments=true", **{"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) < len(plain.content) / 3
    assert packed.json() == plain.json()
    refused = _get(api, customer, f"{job.job_id}/?segments=true", **{"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused.headers


def test_a_result_that_no_answer_can_hold_is_a_redirect_to_its_copy(
    api: TestClient, services: Services, customer: Customer
) -> None:
    job = put_job(services, customer.account_id, transcript=_long(60_000))
    answer = _get(api, customer, f"{job.job_id}/?segments=true", **{"Accept-Encoding": "identity"})
    assert answer.status_code == 307
    key = next(each.key for each in services.bucket.find(f"exports/{customer.account_id}/{job.job_id}/"))
    assert key in answer.headers["Location"]
    assert len(json.loads(gzip.decompress(services.bucket.get(key)))["segments"]) == 60_000
    packed = _get(api, customer, f"{job.job_id}/?segments=true", **{"Accept-Encoding": "gzip"})
    assert packed.status_code == 200


def _long(segments: int) -> Any:
    talk = tuple(
        Segment(
            start_seconds=index * 5.0,
            end_seconds=index * 5.0 + 4,
            text=f"This is sentence number {index} of a rather long talk about nothing.",
            speaker_id=f"SPEAKER_0{index % 3}",
            confidence=0.9,
        )
        for index in range(segments)
    )
    return replace(TRANSCRIPT, segments=talk, duration_seconds=segments * 5.0)


# ---- exports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "content_type", "start"),
    [
        ("txt", "text/plain; charset=utf-8", b"Speaker 1: Hello and welcome."),
        ("srt", "application/x-subrip; charset=utf-8", b"1\n00:00:00,000 --> "),
        ("vtt", "text/vtt; charset=utf-8", b"WEBVTT\n\n00:00:00.000 --> "),
        ("json", "application/json", b"{"),
        ("tsv", "text/tab-separated-values; charset=utf-8", b"start\tend\tspeaker\ttext\n0\t2000\tSpeaker 1\t"),
        (
            "docx",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            b"PK",
        ),
        ("md", "text/markdown; charset=utf-8", b"# talk.mp3\n"),
    ],
)
def test_every_format_is_a_file_with_a_name(
    api: TestClient, services: Services, customer: Customer, kind: str, content_type: str, start: bytes
) -> None:
    job = put_job(services, customer.account_id)
    answer = _get(api, customer, f"{job.job_id}/export/?format={kind}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, content_type)
    assert f'filename="talk.{kind}"' in answer.headers["Content-Disposition"]
    assert answer.content.startswith(start)
    again = _get(api, customer, f"{job.job_id}/export/?format={kind}", **{"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "format"),
        ("format=pdf", "format"),
        ("format=srt&format=vtt", "format"),
        ("format=srt&max_columns=7", "max_columns"),
        ("format=srt&max_lines=1.5", "max_lines"),
        ("format=srt&columns_per_second=nan", "columns_per_second"),
    ],
)
def test_a_malformed_export_is_refused(
    api: TestClient, services: Services, customer: Customer, query: str, field: str
) -> None:
    job = put_job(services, customer.account_id)
    answer = _get(api, customer, f"{job.job_id}/export/?{query}")
    assert (answer.status_code, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.FAILED, JobState.CANCELLED])
def test_there_is_no_export_without_a_result(
    api: TestClient, services: Services, customer: Customer, state: JobState
) -> None:
    job = put_job(services, customer.account_id, state)
    answer = _get(api, customer, f"{job.job_id}/export/?format=txt")
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")


# ---- lists -----------------------------------------------------------------------------------------------------------


def test_the_list_has_every_job_once_over_its_pages(api: TestClient, services: Services, customer: Customer) -> None:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    made = [
        put_job(services, customer.account_id, state, created_at=start + timedelta(hours=index))
        for index, state in enumerate([JobState.COMPLETED, JobState.FAILED, JobState.RUNNING] * 3)
    ]
    seen: list[str] = []
    cursor = ""
    while True:
        page = _get(api, customer, f"?limit=2&cursor={cursor}").json()
        seen += [each["id"] for each in page["transcriptions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [job.job_id for job in reversed(made)]
    failed = _get(api, customer, "?status=failed").json()["transcriptions"]
    assert [each["id"] for each in failed] == [job.job_id for job in reversed(made) if job.state is JobState.FAILED]
    some = _get(api, customer, "?since=2026-11-01T02:00:00Z&until=2026-11-01T04:00:00Z").json()["transcriptions"]
    assert [each["id"] for each in some] == [job.job_id for job in reversed(made[2:5])]
    assert _get(api, customer, "?source=drop").json()["transcriptions"] == []
    store(services).replace(replace(made[0], drop_key="drop/a/talk.mp3"))
    dropped = _get(api, customer, "?source=drop").json()["transcriptions"]
    assert [each["id"] for each in dropped] == [made[0].job_id]
    assert len(_get(api, customer, "?source=upload").json()["transcriptions"]) == 8


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=running", "status"),
        ("source=mail", "source"),
        ("since=yesterday", "since"),
        ("since=2026-11-02T00:00:00Z&until=2026-11-01T00:00:00Z", "until"),
        ("limit=0", "limit"),
        ("limit=1e3", "limit"),
        ("limit=100000", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=%F0%9F%98%80", "cursor"),
    ],
)
def test_a_malformed_list_is_refused(api: TestClient, customer: Customer, query: str, field: str) -> None:
    answer = _get(api, customer, f"?{query}")
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_a_cursor_of_another_account_shows_nothing_of_it(
    api: TestClient, services: Services, customer: Customer, cloud: Cloud
) -> None:
    other = services.accounts.create("Eve")
    _, secret = services.keys.create(other.account_id, "eve")
    for _ in range(3):
        put_job(services, customer.account_id)
    cursor = _get(api, customer, "?limit=1").json()["next_cursor"]
    answer = api.get(f"/api/v1/transcribe/?cursor={cursor}", headers={"Authorization": f"Bearer {secret}"})
    assert answer.json()["transcriptions"] == []


# ---- speakers --------------------------------------------------------------------------------------------------------


def test_speakers_are_renamed_and_merged_everywhere(api: TestClient, services: Services, customer: Customer) -> None:
    job = put_job(services, customer.account_id)
    before = _get(api, customer, f"{job.job_id}/")
    edits = [{"id": "SPEAKER_00", "label": "Host"}, {"id": "SPEAKER_02", "merge_into": "SPEAKER_00"}]
    answer = api.patch(f"/api/v1/transcribe/{job.job_id}/", json={"speakers": edits}, headers=customer.headers)
    assert answer.status_code == 200
    assert answer.json()["speakers"] == [
        {"id": "SPEAKER_00", "label": "Host", "speaking_time": 5.5},
        {"id": "SPEAKER_01", "label": "Speaker 2", "speaking_time": 2.25},
    ]
    after = _get(api, customer, f"{job.job_id}/?segments=true", **{"If-None-Match": before.headers["ETag"]})
    assert [segment["speaker"] for segment in after.json()["segments"]] == ["Host", "Host", "Speaker 2", "Host"]
    assert "Host: Hello" in _get(api, customer, f"{job.job_id}/export/?format=txt").text


@pytest.mark.parametrize(
    ("method", "path", "wish"),
    [
        ("PATCH", "", {"speakers": [{"id": "SPEAKER_00", "label": "Host"}]}),
        ("POST", "rerun/", {"stage": "summary", "webhook_url": "https://example.com/mine"}),
    ],
)
def test_a_key_that_may_not_read_gets_no_transcript_by_changing_it(
    api: TestClient, services: Services, funded: Customer, method: str, path: str, wish: dict[str, Any]
) -> None:
    job = put_job(services, funded.account_id)
    writer = {"Authorization": f"Bearer {funded.make_key(frozenset({Scope.TRANSCRIBE}))}"}

    answer = api.request(method, f"/api/v1/transcribe/{job.job_id}/{path}", json=wish, headers=writer)

    assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
    assert "'read'" in answer.json()["message"]


@pytest.mark.parametrize(
    "edits",
    [
        [{"id": "SPEAKER_09", "label": "Nobody"}],
        [{"id": "SPEAKER_00", "merge_into": "SPEAKER_09"}],
        [{"id": "SPEAKER_00", "merge_into": "SPEAKER_00"}],
        [{"id": "SPEAKER_00", "merge_into": "SPEAKER_01"}, {"id": "SPEAKER_01", "merge_into": "SPEAKER_00"}],
        [{"id": "SPEAKER_00", "label": "A"}, {"id": "SPEAKER_00", "label": "B"}],
        [{"id": "SPEAKER_00"}],
        [{"id": "SPEAKER_00", "label": "\u202e\x00"}],
        [{"id": "SPEAKER_00", "label": "x" * 101}],
        [],
        "nonsense",
    ],
)
def test_wrong_speakers_are_refused(api: TestClient, services: Services, customer: Customer, edits: Any) -> None:
    job = put_job(services, customer.account_id)
    answer = api.patch(f"/api/v1/transcribe/{job.job_id}/", json={"speakers": edits}, headers=customer.headers)
    assert (answer.status_code, answer.json()["field"]) == (400, "speakers")
    assert _get(api, customer, f"{job.job_id}/").json()["speakers"][0]["label"] == "Speaker 1"


# ---- cancel and delete -----------------------------------------------------------------------------------------------


def test_a_cancelled_job_stays_cancelled(api: TestClient, services: Services, customer: Customer) -> None:
    job = put_job(services, customer.account_id)
    answer = api.post(f"/api/v1/transcribe/{job.job_id}/cancel/", headers=customer.headers)
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")


def test_a_deleted_job_is_gone_with_everything_of_it(api: TestClient, services: Services, customer: Customer) -> None:
    job = put_job(services, customer.account_id, transcript=_long(60_000))
    _get(api, customer, f"{job.job_id}/?segments=true", **{"Accept-Encoding": "identity"})
    path = f"/api/v1/transcribe/{job.job_id}/"
    receipt = api.delete(path, headers=customer.headers).json()
    folders = sorted(each["key"].split("/")[0] for each in receipt["objects"])
    assert folders == ["audio", "exports", "results"]
    for prefix in ("audio", "results", "exports"):
        assert services.bucket.find(f"{prefix}/{customer.account_id}/") == []
    assert _get(api, customer, f"{job.job_id}/").status_code == 404
    assert api.delete(path, headers=customer.headers).status_code == 404
    assert _get(api, customer, "").json()["transcriptions"] == []


def test_the_sweeper_looks_once_more_after_a_deletion(
    api: TestClient, services: Services, customer: Customer, cloud: Cloud
) -> None:
    job = put_job(services, customer.account_id)
    api.delete(f"/api/v1/transcribe/{job.job_id}/", headers=customer.headers)
    late = f"results/{customer.account_id}/{job.job_id}/late.json.gz"
    services.bucket.put(late, b"what a run that was just ending stored", "application/gzip")
    later = cloud.services("SweepFunction")
    later.jobs._ports = _at(later, datetime.now(UTC) + LAST_LOOK + timedelta(minutes=1))
    assert later.jobs.repair(job.job_id) == "forgotten"
    assert services.bucket.find(late) == []
    assert store(services).get(job.job_id) is None


def test_a_job_is_deleted_when_its_retention_is_over(services: Services, customer: Customer, cloud: Cloud) -> None:
    job = put_job(services, customer.account_id)
    job = store(services).replace(rules.published(job))
    later = cloud.services("SweepFunction")
    assert later.jobs.repair(job.job_id) == "nothing"
    later.jobs._ports = _at(later, job.expires_at + timedelta(minutes=1))
    assert later.jobs.repair(job.job_id) == "deleted"
    assert services.bucket.find(f"results/{customer.account_id}/") == []
    assert services.bucket.find(f"audio/{customer.account_id}/") == []


def _at(services: Services, now: datetime) -> Any:
    return replace(services.jobs._ports, now=lambda: now)
