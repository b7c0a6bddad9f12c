"""Too many submissions of one account at once: the one refused leaves nothing behind, as its answer says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from shared.adapters.dynamodb.credits import LedgerStore
from shared.adapters.dynamodb.transactions import TooMuchContention
from shared.bootstrap import Services
from shared.domain import uploads
from shared.domain.jobs import JobState
from tests.finished_jobs import put_job
from tests.integration.conftest import Cloud, Customer
from tests.integration.paid_jobs import silence, submit, work


def _submit_a_form(api: TestClient, customer: Customer, _cloud: Cloud) -> Callable[[], Any]:
    return lambda: submit(api, customer, seconds=1)


def _submit_for_reuse(api: TestClient, customer: Customer, cloud: Cloud) -> Callable[[], Any]:
    work(cloud, submit(api, customer, seconds=1).json()["id"], real_seconds=1.0)
    return lambda: submit(api, customer, seconds=1, reuse="true")


def _submit_an_upload(api: TestClient, customer: Customer, _cloud: Cloud) -> Callable[[], Any]:
    sound = silence(1)
    announced = {"filename": "talk.wav", "size": len(sound), "content_type": "audio/wav"}
    upload_id = api.post("/api/v1/uploads/", json=announced, headers=customer.headers).json()["upload_id"]
    key = uploads.upload_key(customer.account_id, upload_id)
    customer.services.bucket.put(key, sound, "audio/wav", tags=dict([uploads.UNUSED_TAG]))
    return lambda: api.post("/api/v1/transcribe/", json={"upload_id": upload_id}, headers=customer.headers)


def _retry(api: TestClient, customer: Customer, _cloud: Cloud) -> Callable[[], Any]:
    failed = put_job(customer.services, customer.account_id, JobState.FAILED)
    return lambda: api.post(f"/api/v1/transcribe/{failed.job_id}/retry/", headers=customer.headers)


@pytest.mark.parametrize("way", [_submit_a_form, _submit_for_reuse, _submit_an_upload, _retry])
def test_who_is_told_that_nothing_was_stored_is_told_the_truth(
    api: TestClient, services: Services, funded: Customer, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, way: Any
) -> None:
    ask = way(api, funded, cloud)
    before = _everything_of(services, funded)

    with monkeypatch.context() as busy:
        busy.setattr(LedgerStore, "post", _refuse)
        refused = ask()

    assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
    assert "nothing was stored" in refused.json()["message"]
    assert _everything_of(services, funded) == before
    assert ask().status_code in {200, 202}


def _everything_of(services: Services, customer: Customer) -> dict[str, Any]:
    """The account's objects and their tags."""
    found = [
        each
        for root in ("audio", "uploads", "results")
        for each in services.bucket.find(f"{root}/{customer.account_id}/")
    ]
    return {each.key: services.upload_bucket.tags(each.key) for each in found}


def _refuse(*_: Any, **__: Any) -> None:
    raise TooMuchContention("others were in the way")
