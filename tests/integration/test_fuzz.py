"""Whatever is sent, the answer is one the contract knows: never a 5xx, always our shape."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.bootstrap import Services
from tests import media
from tests.integration.conftest import Customer
from tests.integration.test_transcribe import URL

KNOWN = {202, 400, 402, 403, 404, 405, 409, 413, 415, 422, 429}
NAMES = ["file", "model", "language", "diarization", "timestamps", "word_timestamps", "summary", "vocabulary"]
NAMES += ["vocabulary[]", "webhook_url", "max_credits", "dry_run", "reuse"]
WAV = media.wav(0.1)

some_text = st.text(st.characters(codec=None), max_size=60) | st.sampled_from(
    ["true", "0", "", "en", "whisper-turbo", "[", '["a"]', "-1", "1e999"]
)
some_urls = st.builds("https://{}".format, st.text(max_size=40))
some_files = st.just(WAV) | st.binary(max_size=300) | st.builds(lambda cut: WAV[:cut], st.integers(0, len(WAV)))
some_fields = st.lists(
    st.tuples(st.sampled_from(NAMES) | st.text(min_size=1, max_size=20), some_text | some_urls), max_size=8
)
relaxed = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def fuzzed(services: Services) -> Customer:
    """One account for all examples."""
    account = services.accounts.create("Mallory")
    customer = Customer(
        services=services,
        account_id=account.account_id,
        api_key=services.keys.create(account.account_id, "fuzz")[1],
    )
    customer.grant(100_000)
    return customer


def check(response: Any) -> None:
    assert response.status_code in KNOWN | {200}, response.text
    body = response.json()
    if response.status_code >= 400:
        assert body.keys() <= {"error", "message", "request_id", "field"}
        assert body["error"] != "server_error"
        assert len(body["message"]) < 2_000
    else:
        assert body["estimated_credits"] is None or body["estimated_credits"] < 10


@relaxed
@given(fields=some_fields, file=st.none() | some_files, name=st.text(max_size=40))
def test_any_form_is_taken_or_refused(
    api: TestClient, fuzzed: Customer, fields: list[tuple[str, str]], file: bytes | None, name: str
) -> None:
    files: list[Any] = [(field, (None, text.encode("utf-8", "surrogatepass"))) for field, text in fields]
    if file is not None:
        files.append(("file", (name or "x", file)))
    check(api.post(URL, headers=fuzzed.headers, files=files or {"none": (None, "")}))


PIECES = [
    b"--x",
    b"--x--",
    b"\r\n",
    b"\n",
    b'Content-Disposition: form-data; name="file"; filename="a.wav"',
    b"\r\n\r\n",
]
PIECES += [
    b'Content-Disposition: form-data; name="summary"',
    b"Content-Type: audio/wav",
    b"true",
    WAV[:200],
    b"\x00\xff",
]


@relaxed
@given(pieces=st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=15), ending=st.booleans())
def test_any_body_is_taken_or_refused(api: TestClient, fuzzed: Customer, pieces: list[bytes], ending: bool) -> None:
    body = b"".join(pieces) + (b"\r\n--x--\r\n" if ending else b"")
    headers = {**fuzzed.headers, "Content-Type": "multipart/form-data; boundary=x"}
    check(api.post(URL, headers=headers, content=body))


header_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)


@relaxed
@given(content_type=header_text, key=header_text | st.none(), body=st.binary(max_size=100))
def test_any_header_is_taken_or_refused(
    api: TestClient, fuzzed: Customer, content_type: str, key: str | None, body: bytes
) -> None:
    headers = {**fuzzed.headers, "Content-Type": content_type}
    if key is not None:
        headers["Idempotency-Key"] = key
    check(api.post(URL, headers=headers, content=body))


@relaxed
@given(job_id=st.text(min_size=1, max_size=60), query=st.text(max_size=40))
def test_any_id_and_query_is_answered(api: TestClient, fuzzed: Customer, job_id: str, query: str) -> None:
    from urllib.parse import quote

    path = f"{URL}{quote(job_id, safe='', errors='replace')}/?segments={quote(query, errors='replace')}"
    response = api.get(path, headers=fuzzed.headers)
    assert response.status_code in KNOWN | {200}  # clients themselves make the list's path of "." and ".."
