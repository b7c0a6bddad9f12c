"""Uploads: announced, sent straight to storage, named by a transcription, and everything that can go wrong."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from fastapi.testclient import TestClient

from gpu_jobs.run import RunEnd
from shared.adapters.dynamodb.credits import LedgerStore
from shared.bootstrap import Services
from shared.domain import uploads as rules
from shared.domain.ids import UploadId
from shared.services.uploads import Uploads
from tests.integration.conftest import Cloud, Customer
from tests.integration.paid_jobs import silence, work
from tests.media_files import RECIPES, make

MIB = 1024 * 1024


def _announce(api: TestClient, customer: Customer, **values: Any) -> Any:
    body = {"filename": "talk.mp3", "size": 1_000, "content_type": "audio/mpeg"} | values
    return api.post("/api/v1/uploads/", json=body, headers=customer.headers)


def _put(services: Services, customer: Customer, upload_id: str, body: bytes) -> None:
    """What S3 does with a POSTed form; that its policy is enforced is tested against the local stack's guard."""
    key = rules.upload_key(customer.account_id, upload_id)  # type: ignore[arg-type]
    services.bucket.put(key, body, "audio/mpeg")


def test_an_upload_is_announced_sent_and_transcribed(api: TestClient, services: Services, funded: Customer) -> None:
    sound = make(RECIPES["mp3_cbr"], 3)
    upload = _announce(api, funded, size=len(sound)).json()
    _put(services, funded, upload["upload_id"], sound)

    answer = api.post(
        "/api/v1/transcribe/",
        json={"upload_id": upload["upload_id"], "diarization": True, "vocabulary": ["Ada"], "max_credits": 5},
        headers=funded.headers,
    )

    assert answer.status_code == 202
    job = services.jobs.get(answer.json()["id"], funded.account_id)
    assert job.recording.filename == "talk.mp3"
    assert job.recording.size_bytes == len(sound)
    assert job.estimated_seconds == pytest.approx(3, rel=0.01)
    assert (job.options.diarization, job.options.vocabulary) == (True, ("Ada",))
    assert services.upload_bucket.tags(job.recording.key) == dict([rules.USED_TAG])
    assert answer.headers["Location"] == f"/api/v1/transcribe/{job.job_id}/"


def test_the_form_names_key_type_size_and_tag(api: TestClient, funded: Customer) -> None:
    answer = _announce(api, funded, size=123_456)

    upload = answer.json()
    assert answer.status_code == 201
    assert upload["method"] == "POST"
    assert upload["fields"]["key"] == f"uploads/{funded.account_id}/{upload['upload_id']}/recording"
    assert upload["fields"]["Content-Type"] == "audio/mpeg"
    assert "unused" in upload["fields"]["tagging"]


def test_a_large_upload_goes_in_parts_and_can_be_resumed(api: TestClient, services: Services, funded: Customer) -> None:
    size = 2 * rules.PART_BYTES + 1_000
    upload = _announce(api, funded, size=size, multipart=True).json()
    upload_id, headers = upload["upload_id"], funded.headers
    assert (upload["method"], upload["part_count"], upload["part_size"]) == ("PUT", 3, rules.PART_BYTES)

    urls = api.post(f"/api/v1/uploads/{upload_id}/parts/", json={"part_numbers": [1, 3]}, headers=headers).json()
    assert [part["part_number"] for part in urls["parts"]] == [1, 3]
    assert all("content-length" in part["url"] for part in urls["parts"])  # the size is part of what is signed
    plan = services.uploads.get(funded.account_id, upload_id)
    key, multipart_id = rules.upload_key(funded.account_id, plan.upload_id), plan.multipart_id or ""
    services.upload_bucket.put_part(key, multipart_id, 1, bytes(rules.PART_BYTES))
    services.upload_bucket.put_part(key, multipart_id, 3, bytes(999))

    state = api.get(f"/api/v1/uploads/{upload_id}/", headers=headers).json()
    assert state["parts_received"] == [{"part_number": 1, "size": rules.PART_BYTES}, {"part_number": 3, "size": 999}]
    early = api.post(f"/api/v1/uploads/{upload_id}/complete/", headers=headers)
    assert early.status_code == 409
    assert "2 of 3 parts are missing or incomplete: 2, 3." in early.json()["message"]

    services.upload_bucket.put_part(key, multipart_id, 2, bytes(rules.PART_BYTES))
    services.upload_bucket.put_part(key, multipart_id, 3, bytes(1_000))
    for _ in range(2):  # a lost answer makes clients ask again
        done = api.post(f"/api/v1/uploads/{upload_id}/complete/", headers=headers)
        assert (done.status_code, done.json()["status"]) == (200, "complete")
    stored = services.upload_bucket.find(key)
    assert stored is not None
    assert stored.size_bytes == size


def test_more_than_five_gigabytes_go_in_parts_unasked(api: TestClient, funded: Customer) -> None:
    upload = _announce(api, funded, size=rules.MAX_POST_BYTES + 1).json()

    assert upload["method"] == "PUT"
    assert upload["part_count"] == -(-(rules.MAX_POST_BYTES + 1) // rules.PART_BYTES)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"size": 0}, "size"),
        ({"size": -1}, "size"),
        ({"size": 51 * 10**9}, "size"),
        ({"size": 10**30}, "size"),
        ({"size": "12"}, "size"),
        ({"size": True}, "size"),
        ({"size": None}, "size"),
        ({"filename": None}, "filename"),
        ({"filename": 5}, "filename"),
        ({"content_type": 5}, "content_type"),
        ({"multipart": "yes"}, "multipart"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_wrong_announcement_names_its_field(
    api: TestClient, funded: Customer, values: dict[str, Any], field: str
) -> None:
    answer = _announce(api, funded, **values)

    assert (answer.status_code, answer.json()["field"]) == (400, field)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\music\\a.mp3", "a.mp3"),
        ("a\r\nSet-Cookie: x.mp3", "aSet-Cookie: x.mp3"),
        ("🎙️ talk.mp3", "🎙️ talk.mp3"),
        ("x" * 1_024 + ".mp3", "x" * 251 + ".mp3"),
        ("\u202egpj.mp3", "gpj.mp3"),
        ("..", "recording"),
    ],
)
def test_names_are_kept_harmless(api: TestClient, funded: Customer, given: str, kept: str) -> None:
    assert _announce(api, funded, filename=given).json()["filename"] == kept


def test_what_has_not_arrived_cannot_be_transcribed(api: TestClient, funded: Customer) -> None:
    upload_id = _announce(api, funded).json()["upload_id"]

    answer = api.post("/api/v1/transcribe/", json={"upload_id": upload_id}, headers=funded.headers)

    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")


def test_an_upload_of_another_account_looks_like_none(
    api: TestClient, services: Services, funded: Customer, cloud: Any
) -> None:
    account = services.accounts.create("Eve")
    _, secret = services.keys.create(account.account_id, "test")
    upload_id = _announce(api, funded).json()["upload_id"]
    headers = {"Authorization": f"Bearer {secret}"}

    for answer in (
        api.get(f"/api/v1/uploads/{upload_id}/", headers=headers),
        api.delete(f"/api/v1/uploads/{upload_id}/", headers=headers),
        api.post("/api/v1/transcribe/", json={"upload_id": upload_id}, headers=headers),
        api.get("/api/v1/uploads/..%2f..%2fplan.json/", headers=headers),
        api.post("/api/v1/transcribe/", json={"upload_id": "../" + upload_id}, headers=headers),
    ):
        assert answer.status_code == 404


def test_an_upload_is_forgotten_after_a_day(services: Services, funded: Customer, api: TestClient) -> None:
    upload_id = _announce(api, funded).json()["upload_id"]
    made = services.uploads.get(funded.account_id, upload_id).created_at
    later = Uploads(services.bucket, services.upload_bucket, lambda: made + timedelta(days=1), lambda: "")

    from shared.domain.errors import NotFound

    with pytest.raises(NotFound):
        later.get(funded.account_id, upload_id)


def test_an_abandoned_upload_leaves_nothing(api: TestClient, services: Services, funded: Customer) -> None:
    upload_id = _announce(api, funded, size=6 * MIB, multipart=True).json()["upload_id"]

    assert api.delete(f"/api/v1/uploads/{upload_id}/", headers=funded.headers).status_code == 204
    assert api.get(f"/api/v1/uploads/{upload_id}/", headers=funded.headers).status_code == 404
    client = services.upload_bucket._client
    keys = [each["Key"] for each in client.list_multipart_uploads(Bucket=services.bucket.name).get("Uploads", [])]
    assert not any(upload_id in key for key in keys)


def test_an_upload_that_is_no_recording_is_refused_for_nothing(
    api: TestClient, services: Services, funded: Customer
) -> None:
    upload_id = _announce(api, funded).json()["upload_id"]
    _put(services, funded, upload_id, b"PK\x03\x04" + bytes(500))

    answer = api.post("/api/v1/transcribe/", json={"upload_id": upload_id}, headers=funded.headers)

    assert answer.status_code == 400
    assert "ZIP" in answer.json()["message"]
    assert funded.balance().held_millicredits == 0


@pytest.mark.parametrize(
    ("changes", "status"), [({"dry_run": True}, 200), ({"max_credits": 0.001}, 400), ({"language": "klingon"}, 400)]
)
def test_an_upload_no_transcription_took_stays_unused_and_can_be_deleted(
    changes: dict[str, Any], status: int, api: TestClient, services: Services, funded: Customer
) -> None:
    sound = make(RECIPES["mp3_cbr"], 3)
    upload = _announce(api, funded, size=len(sound), multipart=True).json()
    upload_id, headers = upload["upload_id"], funded.headers
    plan = services.uploads.get(funded.account_id, upload_id)
    key = rules.upload_key(funded.account_id, plan.upload_id)
    services.upload_bucket.put_part(key, plan.multipart_id or "", 1, sound)
    assert api.post(f"/api/v1/uploads/{upload_id}/complete/", headers=headers).status_code == 200

    answer = api.post("/api/v1/transcribe/", json={"upload_id": upload_id, **changes}, headers=headers)

    assert answer.status_code == status
    assert services.upload_bucket.tags(key) == dict([rules.UNUSED_TAG])
    assert api.delete(f"/api/v1/uploads/{upload_id}/", headers=headers).status_code == 204
    assert services.upload_bucket.find(key) is None


def test_reuse_says_that_it_does_not_know_uploads(api: TestClient, services: Services, funded: Customer) -> None:
    sound = make(RECIPES["mp3_cbr"], 3)
    upload_id = _announce(api, funded, size=len(sound)).json()["upload_id"]
    _put(services, funded, upload_id, sound)

    answer = api.post("/api/v1/transcribe/", json={"upload_id": upload_id, "reuse": True}, headers=funded.headers)

    assert answer.status_code == 202
    assert "reuse" in answer.json()["warnings"][0]


def test_an_upload_that_two_transcriptions_use_is_kept_when_the_second_is_refused(
    api: TestClient, services: Services, funded: Customer
) -> None:
    sound = make(RECIPES["mp3_cbr"], 3)
    upload_id = _announce(api, funded, size=len(sound)).json()["upload_id"]
    _put(services, funded, upload_id, sound)
    body = {"upload_id": upload_id}

    assert api.post("/api/v1/transcribe/", json=body, headers=funded.headers).status_code == 202
    refused = api.post("/api/v1/transcribe/", json=body | {"max_credits": 0.001}, headers=funded.headers)

    assert refused.status_code == 400
    key = rules.upload_key(funded.account_id, upload_id)
    assert services.upload_bucket.tags(key) == dict([rules.USED_TAG])
    assert api.delete(f"/api/v1/uploads/{upload_id}/", headers=funded.headers).status_code == 409


def _arrived(api: TestClient, services: Services, customer: Customer, sound: bytes) -> dict[str, str]:
    """An upload that is there, as the body of a submission."""
    upload_id = _announce(api, customer, size=len(sound)).json()["upload_id"]
    _put(services, customer, upload_id, sound)
    return {"upload_id": upload_id}


def _submit(api: TestClient, customer: Customer, body: dict[str, Any], key: str | None = None) -> Any:
    headers = customer.headers | ({"Idempotency-Key": key} if key else {})
    return api.post("/api/v1/transcribe/", json=body, headers=headers)


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_transcriptions_of_one_upload_either_may_be_deleted_without_the_other(
    first: int, api: TestClient, services: Services, funded: Customer, cloud: Cloud
) -> None:
    body = _arrived(api, services, funded, silence(5))
    ids = [_submit(api, funded, body | {"language": language}).json()["id"] for language in ("en", "de")]

    assert api.delete(f"/api/v1/transcribe/{ids.pop(first)}/", headers=funded.headers).status_code == 200
    assert work(cloud, ids[0], 5.0) is RunEnd.COMPLETED

    assert api.delete(f"/api/v1/transcribe/{ids[0]}/", headers=funded.headers).status_code == 200
    assert services.bucket.find(f"uploads/{funded.account_id}/") == []
    assert services.bucket.find(f"audio/{funded.account_id}/") == []


def test_many_transcriptions_of_one_upload_at_once_have_a_recording_each(
    api: TestClient, services: Services, funded: Customer
) -> None:
    body = _arrived(api, services, funded, silence(5))
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: _submit(api, funded, body), range(6)))
    jobs = [services.jobs.get(answer.json()["id"], funded.account_id) for answer in answers]
    assert len({job.recording.key for job in jobs}) == len({job.job_id for job in jobs}) == 6
    assert all(services.upload_bucket.find(job.recording.key) for job in jobs)


def test_a_submission_of_an_upload_sent_again_leaves_no_second_copy(
    api: TestClient, services: Services, funded: Customer
) -> None:
    body = _arrived(api, services, funded, silence(5))
    made = [_submit(api, funded, body, key="a-key-of-16-chars").json()["id"] for _ in range(2)]
    assert made[0] == made[1]
    refused = _submit(api, funded, body | {"max_credits": 0.001})
    assert refused.status_code == 400
    assert services.bucket.find(f"audio/{funded.account_id}/") == []


def test_an_upload_whose_first_transcription_was_refused_is_taken_in_place_by_the_next(
    api: TestClient, services: Services, funded: Customer
) -> None:
    body = _arrived(api, services, funded, silence(5))
    assert _submit(api, funded, body | {"max_credits": 0.001}).status_code == 400
    job = services.jobs.get(_submit(api, funded, body).json()["id"], funded.account_id)
    assert job.recording.key == rules.upload_key(funded.account_id, UploadId(body["upload_id"]))
    assert services.upload_bucket.tags(job.recording.key) == dict([rules.USED_TAG])


def test_an_upload_whose_transcription_broke_down_can_be_deleted_or_taken_by_the_next(
    api: TestClient, services: Services, funded: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (_arrived(api, services, funded, silence(5)) for _ in range(2))
    with monkeypatch.context() as broken:
        broken.setattr(LedgerStore, "post", _unreachable)
        assert [_submit(api, funded, body).status_code for body in (first, second)] == [500, 500]

    assert api.delete(f"/api/v1/uploads/{first['upload_id']}/", headers=funded.headers).status_code == 204
    job = services.jobs.get(_submit(api, funded, second).json()["id"], funded.account_id)
    assert job.recording.key == rules.upload_key(funded.account_id, UploadId(second["upload_id"]))


def test_an_upload_whose_transcription_was_made_before_the_breakdown_stays_its_own(
    api: TestClient, services: Services, funded: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = _arrived(api, services, funded, silence(5))
    with monkeypatch.context() as broken:
        broken.setattr(services.jobs, "enqueue", _unreachable)
        assert _submit(api, funded, body).status_code == 500

    assert api.delete(f"/api/v1/uploads/{body['upload_id']}/", headers=funded.headers).status_code == 409


def _unreachable(*_: Any, **__: Any) -> None:
    raise EndpointConnectionError(endpoint_url="https://dynamodb")


@pytest.mark.parametrize("body", [{}, {"upload_id": ""}, {"upload_id": 7.5}, {"upload_id": None}, {"upload_id": {}}])
def test_a_json_request_without_an_upload_says_what_is_missing(
    api: TestClient, funded: Customer, body: dict[str, Any]
) -> None:
    answer = api.post("/api/v1/transcribe/", json=body, headers=funded.headers)

    assert answer.status_code in {400, 404}
