"""Multipart forms in constant memory: what arrives, what is left behind, and what hostile bodies achieve."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.api import multipart
from functions.api.app import create_app
from functions.api.multipart import Destination, ReceivedForm, receive_form
from gpu_jobs.memory import memory_lid
from shared.adapters.s3_uploads import Part, UploadBucket
from shared.bootstrap import Services
from shared.domain.errors import InvalidRequest, PayloadTooLarge, RequestError, RequestTimedOut
from shared.services.uploads import Uploads
from tests.integration.conftest import Customer
from tests.media import wav

BOUNDARY = "--------boundary"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
KEY = "audio/test/recording"


@dataclass
class Body:
    """Parts of a form, as bytes on the wire."""

    parts: list[bytes] = field(default_factory=list)

    def text(self, name: str, value: str) -> Body:
        """Add a field."""
        return self._add(f'form-data; name="{name}"', "", value.encode())

    def file(self, data: bytes, name: str = "file", filename: str = "a.mp3") -> Body:
        """Add a file."""
        return self._add(f'form-data; name="{name}"; filename="{filename}"', "Content-Type: audio/mpeg\r\n", data)

    def wire(self) -> bytes:
        """The whole body."""
        return b"".join(self.parts) + f"--{BOUNDARY}--\r\n".encode()

    def _add(self, disposition: str, headers: str, data: bytes) -> Body:
        head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n{headers}\r\n".encode()
        self.parts.append(head + data + b"\r\n")
        return self


@pytest.fixture(scope="module")
def bucket(services: Services) -> UploadBucket:
    """The stack's bucket."""
    assert isinstance(services.uploads, Uploads)
    return services.upload_bucket


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3's smallest part, so that tests stay quick."""
    monkeypatch.setattr(multipart, "PART_BYTES", 5 * 1024 * 1024)


async def _chunks(
    data: bytes, sizes: Sequence[int] = (65_536,), error: BaseException | None = None
) -> AsyncIterator[bytes]:
    at, turn = 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        yield data[at : at + size]
        at, turn = at + size, turn + 1
    if error is not None:
        raise error


def _receive(bucket: UploadBucket, chunks: AsyncIterator[bytes], content_type: str = CONTENT_TYPE) -> ReceivedForm:
    destination = Destination(bucket=bucket, key=KEY, admit=lambda _texts, _head: None)
    return asyncio.run(receive_form(chunks, content_type, destination))


def _open_uploads(bucket: UploadBucket) -> int:
    return len(bucket._client.list_multipart_uploads(Bucket=bucket.name).get("Uploads", []))


def test_a_small_recording_stays_in_memory_with_fields_before_and_after_it(bucket: UploadBucket) -> None:
    body = Body().text("language", "en").file(b"sound" * 100).text("diarization", "true")

    form = _receive(bucket, _chunks(body.wire()))

    assert form.texts == {"language": ["en"], "diarization": ["true"]}
    assert form.file is not None
    assert form.file.file is not None
    assert form.file.file.read() == b"sound" * 100
    assert (form.file.filename, form.file.content_type, form.file.stored_key) == ("a.mp3", "audio/mpeg", None)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("extra", [1, 5 * 1024 * 1024, 7_654_321])
def test_a_large_recording_goes_to_the_bucket_whole(bucket: UploadBucket, extra: int) -> None:
    data = bytes(range(256)) * (5 * 1024 * 4 + 1) + b"x" * extra

    form = _receive(bucket, _chunks(Body().file(data).text("language", "en").wire(), (65_536, 1, 8_191)))

    assert form.texts == {"language": ["en"]}
    assert form.file is not None
    assert (form.file.stored_key, form.file.size_bytes) == (KEY, len(data))
    assert form.file.sha256 == hashlib.sha256(data).hexdigest()
    assert bucket._client.get_object(Bucket=bucket.name, Key=KEY)["Body"].read() == data
    assert _open_uploads(bucket) == 0


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("error", [ConnectionResetError(), asyncio.CancelledError(), RuntimeError("any")])
def test_a_broken_connection_leaves_no_multipart_upload_behind(bucket: UploadBucket, error: BaseException) -> None:
    bucket._client.delete_object(Bucket=bucket.name, Key=KEY)
    data = Body().file(b"x" * 12_000_000).wire()[:11_500_000]

    with pytest.raises(type(error)):
        _receive(bucket, _chunks(data, error=error))

    assert _open_uploads(bucket) == 0
    assert bucket.find(KEY) is None


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("call", ["begin", "put_part", "complete"])
def test_a_request_that_is_cancelled_during_a_call_to_s3_leaves_nothing(
    bucket: UploadBucket, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that makes the call cannot be interrupted, so its effect comes after the cancellation."""
    bucket._client.delete_object(Bucket=bucket.name, Key=KEY)
    real, entered, cancelled = getattr(bucket, call), threading.Event(), threading.Event()

    def slow(*arguments: object) -> object:
        entered.set()
        assert cancelled.wait(10)
        return real(*arguments)

    monkeypatch.setattr(bucket, call, slow)

    async def scenario() -> None:
        destination = Destination(bucket=bucket, key=KEY, admit=lambda _texts, _head: None)
        chunks = _chunks(Body().file(b"x" * 12_000_000).wire())
        request = asyncio.create_task(receive_form(chunks, CONTENT_TYPE, destination))
        await asyncio.to_thread(entered.wait, 10)
        request.cancel()
        await asyncio.sleep(0.05)
        cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await request

    asyncio.run(scenario())

    assert _open_uploads(bucket) == 0
    assert bucket.find(KEY) is None


@pytest.mark.usefixtures("small_parts")
def test_a_form_that_breaks_off_is_refused_and_leaves_nothing(bucket: UploadBucket) -> None:
    bucket._client.delete_object(Bucket=bucket.name, Key=KEY)

    with pytest.raises(InvalidRequest, match="breaks off"):
        _receive(bucket, _chunks(Body().file(b"x" * 12_000_000).wire()[:-6]))

    assert _open_uploads(bucket) == 0
    assert bucket.find(KEY) is None


@pytest.mark.usefixtures("small_parts")
def test_who_may_not_submit_is_told_before_the_body_is_taken_in(bucket: UploadBucket) -> None:
    def refuse(texts: Mapping[str, Sequence[str]], head: bytes) -> None:
        assert texts == {"language": ["en"]}
        assert head == b"x" * multipart.HEAD_BYTES
        raise PayloadTooLarge("no")

    destination = Destination(bucket=bucket, key=KEY, admit=refuse)
    sent = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal sent
        async for chunk in _chunks(Body().text("language", "en").file(b"x" * 50_000_000).wire()):
            sent += len(chunk)
            yield chunk

    with pytest.raises(PayloadTooLarge):
        asyncio.run(receive_form(counted(), CONTENT_TYPE, destination))

    assert sent < 6_000_000
    assert _open_uploads(bucket) == 0


LARGE = 9 * 1024 * 1024  # over PART_BYTES


def _post(api: TestClient, customer: Customer, body: Body) -> Any:
    headers = customer.headers | {"Content-Type": CONTENT_TYPE}
    return api.post("/api/v1/transcribe/", content=body.wire(), headers=headers)


@pytest.fixture
def sent(bucket: UploadBucket, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The parts that went to S3, as their numbers."""
    numbers: list[int] = []
    put_part = bucket.put_part

    def counted(key: str, multipart_id: str, number: int, body: bytes) -> Part:
        numbers.append(number)
        return put_part(key, multipart_id, number, body)

    monkeypatch.setattr(bucket, "put_part", counted)
    return numbers


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (Body().text("language", "klingon").file(b"\0" * LARGE), "language"),
        (Body().text("max_credits", "much").file(b"\0" * LARGE), "max_credits"),
        (Body().file(b"PK\x03\x04" + b"\0" * LARGE), "file"),
        (Body().file(b"#EXTM3U\n" + b"x" * LARGE), "file"),
    ],
)
def test_what_is_wrong_at_the_beginning_is_told_before_the_rest_is_taken_in(
    body: Body, field: str, api: TestClient, funded: Customer, bucket: UploadBucket, sent: list[int]
) -> None:
    answer = _post(api, funded, body)

    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert sent == []
    assert _open_uploads(bucket) == 0


def test_a_breakdown_before_there_is_a_job_leaves_no_recording_behind(
    api: TestClient, services: Services, funded: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_arguments: object, **_named: object) -> None:
        raise RuntimeError("any")

    monkeypatch.setattr(services.submissions, "submit", break_down)

    assert _post(api, funded, Body().file(wav(600))).status_code == 500
    assert services.bucket.find(f"audio/{funded.account_id}/") == []


def test_a_body_over_the_limit_is_refused_with_another_way_in(
    bucket: UploadBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart, "MAX_BODY_BYTES", 100_000)

    with pytest.raises(PayloadTooLarge, match="/api/v1/uploads/"):
        _receive(bucket, _chunks(Body().file(b"x" * 200_000).wire()))


def test_a_body_that_stops_coming_is_given_up_on(bucket: UploadBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multipart, "IDLE_SECONDS", 0.05)

    async def stalls() -> AsyncIterator[bytes]:
        yield Body().file(b"x").wire()[:20]
        await asyncio.Event().wait()

    with pytest.raises(RequestTimedOut):
        _receive(bucket, stalls())


def test_a_body_that_drips_is_given_up_on(bucket: UploadBucket) -> None:
    ticks = iter(range(0, 1_000_000, 10))
    destination = Destination(bucket=bucket, key=KEY, admit=lambda _texts, _head: None)
    dripping = _chunks(Body().file(b"x" * 1_000).wire(), (1,))

    with pytest.raises(RequestTimedOut, match="slowly"):
        asyncio.run(receive_form(dripping, CONTENT_TYPE, destination, lambda: next(ticks)))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", CONTENT_TYPE),
        (b"no boundary anywhere", CONTENT_TYPE),
        (Body().file(b"x").wire(), "multipart/form-data"),
        (Body().file(b"x").wire(), "multipart/form-data; boundary="),
        (Body().file(b"x").wire(), f"multipart/form-data; boundary={'b' * 300}"),
        (Body().text("a", "x" * 70_000).wire(), CONTENT_TYPE),
        (b"".join(Body().text(f"f{n}", "").parts[0] for n in range(300)), CONTENT_TYPE),
        (f"--{BOUNDARY}\r\nX: {'y' * 20_000}\r\n\r\n\r\n".encode(), CONTENT_TYPE),
        (f"--{BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\nx\r\n--{BOUNDARY}--".encode(), CONTENT_TYPE),
    ],
)
def test_malformed_forms_are_refused(body: bytes, content_type: str, bucket: UploadBucket) -> None:
    with pytest.raises(InvalidRequest):
        _receive(bucket, _chunks(body), content_type)


@settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")), deadline=None, suppress_health_check=list(HealthCheck)
)
@given(
    texts=st.dictionaries(
        st.text(st.characters(codec="ascii", exclude_characters='"\\\r\n', categories=["L", "N"]), min_size=1),
        st.text(st.characters(codec="utf-8")),
        max_size=4,
    ),
    data=st.binary(max_size=5_000),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=5),
    file_at=st.integers(0, 4),
)
def test_whatever_the_chunks_the_form_is_the_same(
    texts: dict[str, str], data: bytes, sizes: list[int], file_at: int, bucket: UploadBucket
) -> None:
    body = Body()
    for number, (name, value) in enumerate(texts.items()):
        body = body.file(data) if number == file_at else body
        body = body.text(name, value)
    body = body.file(data) if file_at >= len(texts) else body

    form = _receive(bucket, _chunks(body.wire(), sizes))

    assert {name: values[0] for name, values in form.texts.items()} == texts
    assert form.file is not None
    assert form.file.file is not None
    assert form.file.file.read() == data


@settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
    deadline=timedelta(seconds=10),
    suppress_health_check=list(HealthCheck),
)
@given(
    edits=st.lists(st.tuples(st.integers(0, 1_000), st.binary(min_size=1, max_size=6)), min_size=1, max_size=8),
    cut=st.integers(0, 900),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5),
)
def test_damaged_forms_are_read_or_refused_and_nothing_else(
    edits: list[tuple[int, bytes]], cut: int, sizes: list[int], bucket: UploadBucket
) -> None:
    wire = bytearray(Body().text("language", "en").file(b"sound" * 40).text("summary", "true").wire())
    for place, value in edits:
        at = place % len(wire)
        wire[at : at + len(value)] = value

    with memory_lid(512 * 1024**2):
        try:
            form = _receive(bucket, _chunks(bytes(wire[: len(wire) - cut]), sizes))
        except RequestError:
            return

    assert isinstance(form, ReceivedForm)


def test_the_rest_of_a_refused_body_is_taken_in_before_the_answer_ends(services: Services) -> None:
    parts, sent = [b"x" * 65_536] * 20, []

    async def receive() -> dict[str, Any]:
        parts.pop()
        return {"type": "http.request", "body": b"x", "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append((message.get("status"), message.get("more_body", False), len(parts)))

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/transcribe/",
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
    }
    asyncio.run(create_app(lambda: services)(scope, receive, send))
    assert sent[0][0] == 401
    assert sent[1][1], "the words of the answer go out first"
    assert sent[-1] == (None, False, 0), "and its end once nobody is in the midst of sending"
