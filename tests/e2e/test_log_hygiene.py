"""Everything a stack logs in a full run, at its most talkative, read for what must never be in it."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from infra.local.launch import LocalStack
from shared.domain.accounts import hash_key
from tests.receivers import OK, answering, receiver
from tests.recordings import asset

DEADLINE_SECONDS = 120
IDEMPOTENCY_KEYS = ("my-own-secret-word", "another-secret-word", "the-third-secret-word")


class Client:
    """Somebody who uses the API and remembers every secret that was told."""

    def __init__(self, stack: LocalStack) -> None:
        self._base = f"{stack.ready['base_url']}/api/v1/"
        self.secrets: list[str] = [stack.ready["api_key"], *IDEMPOTENCY_KEYS]
        self.signed: list[str] = []
        self.headers = {"Authorization": f"Bearer {stack.ready['api_key']}"}

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """One request."""
        headers = self.headers | more.pop("headers", {})
        return requests.request(method, self._base + path, headers=headers, timeout=60, **more)

    def make_keys(self) -> None:
        """Keys are made, replaced, mistyped, put where they do not belong, and revoked."""
        once = {"Idempotency-Key": IDEMPOTENCY_KEYS[0]}
        made = self.ask("POST", "keys/", json={"name": "n"}, headers=once).json()
        assert self.ask("POST", "keys/", json={"name": "n"}, headers=once).json() == made
        rotated = self.ask("POST", f"keys/{made['id']}/rotate/").json()
        self.secrets += [made["key"], rotated["key"]]
        for wrong in (made["key"][:-1], made["key"] + "x", made["key"].upper()):
            assert self.ask("GET", "account/", headers={"Authorization": f"Bearer {wrong}"}).status_code == 401
        assert self.ask("GET", f"{made['key']}/").status_code == 404
        assert self.ask("GET", f"transcribe/{made['key']}/").status_code == 404
        assert self.ask("GET", "account/ledger/", params={"cursor": made["key"]}).status_code == 400
        assert self.ask("POST", "keys/", data=made["key"]).status_code == 415
        assert self.ask("DELETE", f"keys/{made['id']}/").status_code == 204

    def make_webhook(self, url: str) -> None:
        """An endpoint, whose secret is rotated and tried."""
        once = {"Idempotency-Key": IDEMPOTENCY_KEYS[1]}
        made = self.ask("POST", "webhooks/", json={"url": url}, headers=once).json()
        rotated = self.ask("POST", f"webhooks/{made['id']}/rotate-secret/").json()
        assert self.ask("POST", f"webhooks/{made['id']}/test/").status_code == 202
        self.secrets += [each["secret"] for each in (*made["secrets"], *rotated["secrets"])]

    def transcribe(self) -> str:
        """A recording comes in by a presigned form and is transcribed; the words."""
        with asset("beckett.wav").open("rb") as file:
            body = file.read()
        plan = self.ask("POST", "uploads/", json={"filename": "talk.wav", "size": len(body)}).json()
        self.signed.append(next(value for name, value in plan["fields"].items() if "signature" in name.lower()))
        sent = requests.post(plan["url"], data=plan["fields"], files={"file": body}, timeout=60)
        assert sent.ok, sent.text
        once = {"Idempotency-Key": IDEMPOTENCY_KEYS[2]}
        wish = {"upload_id": plan["upload_id"], "summary": True}
        job_id = self.ask("POST", "transcribe/", json=wish, headers=once).json()["id"]
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (shown := self.ask("GET", f"transcribe/{job_id}/?segments=true").json())["status"] == "processing":
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert shown["status"] == "completed", shown
        assert self.ask("GET", f"transcribe/{job_id}/export/?format=srt").ok
        for path in ("account/", "account/ledger/", "account/usage/", "keys/"):
            assert self.ask("GET", path).ok
        return str(shown["transcript"])


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A stack that says everything it can."""
    with LocalStack("--parameter", "LogLevel=DEBUG") as stack:
        yield stack


def test_no_key_token_hash_signature_or_word_is_in_any_log_of_a_full_run(stack: LocalStack) -> None:
    client = Client(stack)
    client.make_keys()
    with receiver(answering(OK)) as customer:
        client.make_webhook(customer.url)
        words = client.transcribe()
        customer.wait_for_request(DEADLINE_SECONDS)

    # At its start the stack shows its demo key on purpose: by itself, in a line to paste, and in an example.
    log = stack.log + stack.output.replace(stack.ready["api_key"], "", 3)
    for function in ("ApiFunction", "DispatchFunction", "DeliverWebhookFunction", "worker-1"):
        assert f"[{function}]" in log, "not all of the stack was listened to"
    assert '"DEBUG"' in log

    keys = [secret for secret in client.secrets if secret.startswith("att_")]
    wanted = [*client.secrets, *client.signed, *(key[4:] for key in keys), *(hash_key(key) for key in keys)]
    wanted += [base64.b64encode(secret.encode()).decode().rstrip("=") for secret in client.secrets]
    wanted += [sentence.strip() for sentence in words.split(".") if len(sentence.split()) > 3]
    assert len(wanted) > 20
    found = [secret for secret in wanted if secret in log]
    assert not found, [line for line in log.splitlines() if any(secret in line for secret in found)][:3]
    assert "X-Amz-Signature=" not in log
    assert "Bearer att_" not in log
