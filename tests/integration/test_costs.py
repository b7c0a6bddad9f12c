"""How many calls to AWS each request makes: latency and money, counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.integration.aws_calls import counted
from tests.integration.conftest import Customer
from tests.integration.test_transcribe import URL, complete, submit


@pytest.fixture
def calls(funded: Customer) -> Iterator[list[str]]:
    aws = funded.services._aws
    with counted(aws.dynamodb, aws.s3, aws.sqs, aws.events) as noted:
        yield noted


def test_polling_a_running_job_is_one_read(api: TestClient, funded: Customer, calls: list[str]) -> None:
    job_id = submit(api, funded).json()["id"]  # the key is cached from here on
    calls.clear()
    assert api.get(f"{URL}{job_id}/", headers=funded.headers).json()["status"] == "processing"
    assert calls == ["dynamodb.GetItem"]


def test_polling_with_a_key_not_seen_before_also_reads_it_and_notes_its_use(
    api: TestClient, funded: Customer, calls: list[str]
) -> None:
    job_id = submit(api, funded).json()["id"]
    key = funded.make_key()
    calls.clear()
    api.get(f"{URL}{job_id}/", headers={"Authorization": f"Bearer {key}"})
    assert calls == ["dynamodb.GetItem", "dynamodb.UpdateItem", "dynamodb.GetItem"]


def test_getting_a_finished_job_is_one_read_and_one_object(api: TestClient, funded: Customer, calls: list[str]) -> None:
    job_id = submit(api, funded).json()["id"]
    complete(funded, job_id)
    calls.clear()
    api.get(f"{URL}{job_id}/?segments=true", headers=funded.headers)
    assert calls == ["dynamodb.GetItem", "s3.GetObject"]


def test_submitting_is_a_transaction_and_a_message_besides_the_upload(
    api: TestClient, funded: Customer, calls: list[str]
) -> None:
    submit(api, funded)
    calls.clear()
    assert submit(api, funded).status_code == 202
    assert calls == ["s3.PutObject", "dynamodb.TransactWriteItems", "sqs.SendMessage"]


@pytest.mark.parametrize("data", [{"model": "x"}, {"webhook_url": "x"}])
def test_a_refused_form_costs_nothing(
    api: TestClient, funded: Customer, calls: list[str], data: dict[str, str]
) -> None:
    submit(api, funded)
    calls.clear()
    submit(api, funded, data)
    submit(api, funded, body=b"text", name="a.mp3")
    assert calls == []


def test_a_malformed_key_costs_nothing(api: TestClient, funded: Customer, calls: list[str]) -> None:
    api.get("/api/v1/languages/", headers={"Authorization": "Bearer nonsense"})
    assert calls == []
