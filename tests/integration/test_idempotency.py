"""Every POST that creates something does it once per Idempotency-Key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from fastapi.testclient import TestClient

from infra.api_documents import document
from shared.adapters.dynamodb.requests import RequestStore
from shared.bootstrap import Services
from shared.domain.endpoints import MAX_ENDPOINTS
from shared.domain.idempotency import Claim, Replay
from shared.domain.ids import UploadId
from shared.domain.uploads import upload_key
from tests.integration.conftest import Cloud, Customer
from tests.integration.paid_jobs import silence, submit, work

V1 = "/api/v1"
CREATES_NOTHING = {
    "/v1/audio/translations/": "always refused",
    f"{V1}/uploads/{{id}}/parts/": "signs addresses",
    f"{V1}/uploads/{{id}}/complete/": "completes what is there; again is harmless",
    f"{V1}/transcribe/{{id}}/cancel/": "ends what is there; again is a 409",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A request that creates, and a different one to the same end."""

    path: str
    body: dict[str, Any] = field(default_factory=dict)
    other: dict[str, Any] | None = None
    other_path: str | None = None


Prepare = Callable[[TestClient, Customer, Cloud], Creation]


def _endpoint(api: TestClient, customer: Customer, name: str = "one") -> str:
    made = api.post(f"{V1}/webhooks/", headers=customer.headers, json={"url": f"https://example.com/{name}"})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def _failed_job(api: TestClient, customer: Customer, cloud: Cloud, seconds: int) -> str:
    job_id = str(submit(api, customer, seconds=seconds, max_credits=str(seconds // 60)).json()["id"])
    work(cloud, job_id, real_seconds=seconds * 10)
    return job_id


def _key(api: TestClient, customer: Customer, _: Cloud) -> Creation:
    return Creation(path="/keys/", body={"name": "a"}, other={"name": "b"})


def _rotation(api: TestClient, customer: Customer, _: Cloud) -> Creation:
    made = api.post(f"{V1}/keys/", headers=customer.headers, json={"name": "old"}).json()
    return Creation(path=f"/keys/{made['id']}/rotate/", other={"grace_seconds": 5})


def _upload(api: TestClient, customer: Customer, _: Cloud) -> Creation:
    body = {"filename": "a.wav", "size": 1_000}
    return Creation(path="/uploads/", body=body, other=body | {"size": 1_001})


def _webhook(api: TestClient, customer: Customer, _: Cloud) -> Creation:
    return Creation(
        path="/webhooks/", body={"url": "https://example.com/a"}, other={"url": "https://example.com/other"}
    )


def _webhook_secret(api: TestClient, customer: Customer, _: Cloud) -> Creation:
    return Creation(path=f"/webhooks/{_endpoint(api, customer)}/rotate-secret/", other={"secret": "whsec_" + "A" * 32})


def _webhook_test(api: TestClient, customer: Customer, _: Cloud) -> Creation:
    one, two = (_endpoint(api, customer, name) for name in "ab")
    return Creation(path=f"/webhooks/{one}/test/", other_path=f"/webhooks/{two}/test/")


def _webhook_replays(api: TestClient, customer: Customer, _: Cloud) -> Creation:
    endpoint_id = _endpoint(api, customer)
    api.post(f"{V1}/webhooks/{endpoint_id}/test/", headers=customer.headers)
    body = {"since": "2020-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z"}
    return Creation(path=f"/webhooks/{endpoint_id}/replay/", body=body, other=body | {"only_failed": True})


def _delivery_replay(api: TestClient, customer: Customer, _: Cloud) -> Creation:
    endpoint_id = _endpoint(api, customer)
    one, two = (api.post(f"{V1}/webhooks/{endpoint_id}/test/", headers=customer.headers).json()["id"] for _ in range(2))
    return Creation(path=f"/webhook-deliveries/{one}/replay/", other_path=f"/webhook-deliveries/{two}/replay/")


def _url(api: TestClient, customer: Customer, _: Cloud) -> Creation:
    one = {"url": "https://www.youtube.com/watch?v=dQw4w9WgXcQ"}
    return Creation(path="/transcribe/url/", body=one, other=one | {"summary": True})


def _retry(api: TestClient, customer: Customer, cloud: Cloud) -> Creation:
    one, two = (_failed_job(api, customer, cloud, seconds) for seconds in (60, 120))
    return Creation(path=f"/transcribe/{one}/retry/", other_path=f"/transcribe/{two}/retry/")


def _rerun(api: TestClient, customer: Customer, cloud: Cloud) -> Creation:
    job_id = str(submit(api, customer, seconds=60).json()["id"])
    work(cloud, job_id, real_seconds=60.0)
    return Creation(path=f"/transcribe/{job_id}/rerun/", body={"stage": "summary"}, other={"stage": "diarization"})


CREATIONS: dict[str, Prepare] = {
    f"{V1}/keys/": _key,
    f"{V1}/keys/{{id}}/rotate/": _rotation,
    f"{V1}/uploads/": _upload,
    f"{V1}/webhooks/": _webhook,
    f"{V1}/webhooks/{{id}}/rotate-secret/": _webhook_secret,
    f"{V1}/webhooks/{{id}}/test/": _webhook_test,
    f"{V1}/webhooks/{{id}}/replay/": _webhook_replays,
    f"{V1}/webhook-deliveries/{{id}}/replay/": _delivery_replay,
    f"{V1}/transcribe/url/": _url,
    f"{V1}/transcribe/{{id}}/retry/": _retry,
    f"{V1}/transcribe/{{id}}/rerun/": _rerun,
}
FORMS = {f"{V1}/transcribe/", "/v1/audio/transcriptions/"}  # test_payer_protection.py, test_openai.py


def test_every_post_that_creates_says_that_it_takes_an_idempotency_key() -> None:
    posts = {path: operations["post"] for path, operations in document()["paths"].items() if "post" in operations}
    taking = {
        path
        for path, operation in posts.items()
        if "Idempotency-Key" in {parameter["name"] for parameter in operation.get("parameters", [])}
    }
    assert taking == {*CREATIONS, *FORMS}
    assert posts.keys() - taking == CREATES_NOTHING.keys()
    for path in taking:
        assert {"409", "422"} <= posts[path]["responses"].keys(), path


@pytest.fixture(params=list(CREATIONS))
def creation(request: pytest.FixtureRequest, api: TestClient, funded: Customer, cloud: Cloud) -> Creation:
    """Something to be made once."""
    return CREATIONS[request.param](api, funded, cloud)


def test_sent_again_it_gets_the_first_answer_and_has_no_second_effect(
    api: TestClient, funded: Customer, creation: Creation
) -> None:
    headers = funded.headers | {"Idempotency-Key": "once"}
    before = things(api, funded)
    first = api.post(V1 + creation.path, headers=headers, json=creation.body)
    made = things(api, funded)
    again = api.post(V1 + creation.path, headers=headers, json=creation.body)

    assert first.status_code in {200, 201, 202}, first.text
    assert made != before, "nothing was made at all"
    assert "Idempotent-Replayed" not in first.headers
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (first.status_code, "true")
    assert without_signatures(again.json()) == without_signatures(first.json())
    assert again.headers.get("Location") == first.headers.get("Location")
    assert things(api, funded) == made


def test_another_request_under_the_key_is_a_422(api: TestClient, funded: Customer, creation: Creation) -> None:
    headers = funded.headers | {"Idempotency-Key": "once"}
    assert api.post(V1 + creation.path, headers=headers, json=creation.body).is_success
    different = creation.body if creation.other is None else creation.other
    answer = api.post(V1 + (creation.other_path or creation.path), headers=headers, json=different)
    assert (answer.status_code, answer.json()["error"]) == (422, "idempotency_key_reused")


def test_while_the_first_is_being_carried_out_another_is_told_to_wait(
    api: TestClient, funded: Customer, creation: Creation, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = funded.headers | {"Idempotency-Key": "once"}
    seen: list[tuple[int, str, str]] = []
    claim = RequestStore.claim

    def claim_and_be_overtaken(store: RequestStore, asked: Claim) -> Replay | None:
        """Right after the first request's claim comes the second one."""
        outcome = claim(store, asked)
        monkeypatch.setattr(RequestStore, "claim", claim)
        second = api.post(V1 + creation.path, headers=headers, json=creation.body)
        seen.append((second.status_code, second.json()["error"], second.headers["Retry-After"]))
        return outcome

    monkeypatch.setattr(RequestStore, "claim", claim_and_be_overtaken)
    assert api.post(V1 + creation.path, headers=headers, json=creation.body).is_success
    assert seen == [(409, "request_in_progress", "1")]


def test_a_request_that_was_refused_leaves_its_key_free(api: TestClient, funded: Customer) -> None:
    headers = funded.headers | {"Idempotency-Key": "once"}
    made = [_endpoint(api, funded, str(number)) for number in range(MAX_ENDPOINTS)]
    wish = {"url": "https://example.com/last"}
    assert api.post(f"{V1}/webhooks/", headers=headers, json=wish).status_code == 409
    assert api.delete(f"{V1}/webhooks/{made[0]}/", headers=funded.headers).status_code == 204
    assert api.post(f"{V1}/webhooks/", headers=headers, json=wish).status_code == 201


def test_a_webhook_secret_is_kept_with_its_endpoint_only(
    api: TestClient, funded: Customer, cloud: Cloud, services: Services
) -> None:
    headers = funded.headers | {"Idempotency-Key": "once"}
    wish = {"url": "https://example.com/secret"}
    made = api.post(f"{V1}/webhooks/", headers=headers, json=wish).json()
    table: Any = boto3.client("dynamodb")
    assert made["secrets"][0]["secret"] not in str(table.scan(TableName=services.settings.requests_table)["Items"])
    assert api.delete(f"{V1}/webhooks/{made['id']}/", headers=funded.headers).status_code == 204
    again = api.post(f"{V1}/webhooks/", headers=headers, json=wish)
    assert (again.status_code, again.json()["id"], "secrets" in again.json()) == (201, made["id"], False)


def test_an_upload_s_form_is_signed_anew_until_its_recording_has_arrived(
    api: TestClient, funded: Customer, services: Services
) -> None:
    headers = funded.headers | {"Idempotency-Key": "once"}
    body = {"filename": "a.wav", "size": len(silence(1))}
    first, again = (api.post(f"{V1}/uploads/", headers=headers, json=body).json() for _ in range(2))
    assert again["fields"]["key"] == first["fields"]["key"]
    arrive(services, funded, first["upload_id"])
    late = api.post(f"{V1}/uploads/", headers=headers, json=body)
    assert (late.status_code, late.json()["upload_id"], "url" in late.json()) == (201, first["upload_id"], False)


def test_the_first_answer_is_given_again_even_when_the_upload_is_gone(
    api: TestClient, funded: Customer, services: Services
) -> None:
    headers = funded.headers | {"Idempotency-Key": "once"}
    body = {"filename": "a.wav", "size": len(silence(1))}
    upload_id = api.post(f"{V1}/uploads/", headers=funded.headers, json=body).json()["upload_id"]
    arrive(services, funded, upload_id)
    first = api.post(f"{V1}/transcribe/", headers=headers, json={"upload_id": upload_id})
    assert first.status_code == 202
    assert api.delete(f"{V1}/transcribe/{first.json()['id']}/", headers=funded.headers).is_success
    again = api.post(f"{V1}/transcribe/", headers=headers, json={"upload_id": upload_id})
    assert (again.status_code, again.json(), again.headers["Idempotent-Replayed"]) == (202, first.json(), "true")
    other = api.post(f"{V1}/transcribe/", headers=headers, json={"upload_id": upload_id, "summary": True})
    assert other.status_code in {404, 409}, "another request is told that the upload is gone"


def arrive(services: Services, customer: Customer, upload_id: str) -> None:
    """The bytes of an announced upload come into the bucket."""
    key = upload_key(customer.account_id, UploadId(upload_id))
    services.bucket.put(key, silence(1), "audio/wav")


def without_signatures(body: dict[str, Any]) -> dict[str, Any]:
    """An answer without what is signed for the moment."""
    return {name: value for name, value in body.items() if name not in {"url", "fields", "url_expires_at"}}


def things(api: TestClient, customer: Customer) -> dict[str, Any]:
    """Everything of the account's that a POST can make."""
    services = customer.services
    webhooks = api.get(f"{V1}/webhooks/", headers=customer.headers).json()["endpoints"]
    return {
        "keys": [key.key_id for key in services.keys.of_account(customer.account_id)],
        "uploads": [found.key for found in services.bucket.find(f"uploads/{customer.account_id}/")],
        "secrets": [services.endpoints.get(customer.account_id, each["id"]).secrets for each in webhooks],
        "deliveries": [
            len(api.get(f"{V1}/webhooks/{each['id']}/deliveries/", headers=customer.headers).json()["deliveries"])
            for each in webhooks
        ],
        "jobs": [job.job_id for job in services.jobs._ports.store.recent(customer.account_id, 100)],
    }
