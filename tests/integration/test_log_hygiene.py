"""No key, token, hash, presigned URL or transcript is ever logged, whatever the level and whatever goes wrong."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from fastapi.testclient import TestClient

from shared import logs
from shared.domain.accounts import hash_key
from tests.integration.conftest import Cloud, Customer
from tests.integration.crashes import Story, fresh_clients
from tests.integration.paid_jobs import SAID, SUBMIT, submit, work
from tests.property.world import Fault

NOT_OURS = {"moto", "httpx", "httpx2"}  # the test's own client and its AWS
SECRET_SENTENCES = (SAID, "A secret sentence.")


class Lines(logging.Handler):
    """Every line as production would write it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(LambdaPowertoolsFormatter(service="test"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line, and the record's raw arguments, which a formatter may drop."""
        if record.name.partition(".")[0] in NOT_OURS:
            return
        self.lines.append(self.format(record))
        self.lines.append(json.dumps(record.__dict__, default=str))


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """All lines from here on, with the logging of production at its most talkative."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    logs.configure("test")
    handler = Lines()
    root.addHandler(handler)
    yield handler.lines
    root.handlers = before
    root.setLevel(level)


def test_a_full_run_logs_no_secret(api: TestClient, funded: Customer, cloud: Cloud, lines: list[str]) -> None:
    headers = {"Idempotency-Key": "my-own-secret-word"}
    made = api.post("/api/v1/keys/", headers=funded.headers | headers, json={"name": "n"}).json()
    rotated = api.post(f"/api/v1/keys/{made['id']}/rotate/", headers=funded.headers).json()
    job_id = submit(api, funded, headers={"Idempotency-Key": "another-secret-word"}).json()["id"]
    submit(api, funded, headers={"Idempotency-Key": "another-secret-word"})
    submit(api, funded, seconds=36_000, max_credits="1")
    work(cloud, job_id, real_seconds=60.0)
    api.get(f"{SUBMIT}{job_id}/?segments=true", headers=funded.headers)
    for path in ("account/", "account/ledger/", "account/usage/", "keys/"):
        api.get(f"/api/v1/{path}", headers=funded.headers)
    api.get("/api/v1/account/", headers={"Authorization": f"Bearer {made['key'][:-1]}"})
    api.get(f"/api/v1/{funded.api_key}/", headers=funded.headers)
    api.delete(f"/api/v1/keys/{made['id']}/", headers=funded.headers)

    assert any(job_id in line for line in lines), "the run was not logged at all"
    secrets = [funded.api_key, made["key"], rotated["key"], "my-own-secret-word", "another-secret-word"]
    assert_absent(lines, secrets)


def test_a_run_in_which_everything_fails_once_logs_no_secret(cloud: Cloud, lines: list[str]) -> None:
    with fresh_clients():
        quiet = Story(cloud.services("SweepFunction").settings)
        quiet.tell()
        secrets = [quiet.secret, quiet.idempotency_key]
        for number in range(len(quiet.calls())):
            story = Story(cloud.services("SweepFunction").settings)
            story.faults.plan(Fault.FAILED_AFTER, number)
            story.tell()
            secrets += [story.secret, story.idempotency_key]
    assert any("run_broke_down" in line for line in lines)
    assert_absent(lines, secrets)


def assert_absent(lines: list[str], secrets: list[str]) -> None:
    """None of the secrets, their hashes, their tails or the words of a transcript stands in any line."""
    text = "\n".join(lines)
    keys = [secret for secret in secrets if secret.startswith("att_")]
    wanted = [*secrets, *(hash_key(key) for key in keys), *(key[4:] for key in keys), *SECRET_SENTENCES]
    found = [secret for secret in wanted if secret in text]
    assert not found, [line for line in lines if any(secret in line for secret in found)][:3]
    assert "X-Amz-Signature" not in text
    assert "Bearer att_" not in text
