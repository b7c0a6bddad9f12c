"""Recordings too large for Lambda, through the local stack: streamed, presigned, cut off, refused."""

from __future__ import annotations

import io
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from infra.local.launch import LocalStack
from infra.local.options import REPOSITORY
from tests.media import wav


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A stack without a worker: jobs stay queued."""
    with LocalStack("--no-worker") as running:
        yield running


def _headers(stack: LocalStack) -> dict[str, str]:
    return {"Authorization": f"Bearer {stack.ready['api_key']}"}


def _url(stack: LocalStack, path: str) -> str:
    return f"{stack.ready['base_url']}{path}"


def _open_uploads(stack: LocalStack) -> list[Any]:
    answer = stack.client("s3").list_multipart_uploads(Bucket=stack.ready["bucket"])
    uploads: list[Any] = answer.get("Uploads", [])
    return uploads


def _audio_keys(stack: LocalStack) -> set[str]:
    answer = stack.client("s3").list_objects_v2(Bucket=stack.ready["bucket"], Prefix="audio/")
    return {each["Key"] for each in answer.get("Contents", [])}


@pytest.mark.parametrize("path", ["/api/v1/transcribe/", "/api/v1/transcribe"])
def test_a_large_recording_is_taken_on_the_contracts_own_endpoint(stack: LocalStack, path: str) -> None:
    big = wav(700.0)

    answer = requests.post(
        _url(stack, path),
        headers=_headers(stack),
        files={"file": ("big.wav", big)},
        data={"diarization": "true"},
        timeout=60,
    )

    assert answer.status_code == 202, answer.text
    assert answer.json()["estimated_credits"] > 0
    job = requests.get(_url(stack, answer.headers["Location"]), headers=_headers(stack), timeout=10).json()
    assert job["status"] == "processing"
    key = next(key for key in _audio_keys(stack) if answer.json()["id"] in key)
    assert stack.client("s3").get_object(Bucket=stack.ready["bucket"], Key=key)["Body"].read() == big


def test_both_hosts_refuse_alike(stack: LocalStack) -> None:
    before = _audio_keys(stack)
    junk = b"PK\x03\x04" + bytes(9_000_000)
    url = _url(stack, "/api/v1/transcribe/")

    small = requests.post(url, headers=_headers(stack), files={"file": ("a.mp3", junk[:1_000])}, timeout=60)
    large = requests.post(url, headers=_headers(stack), files={"file": ("a.mp3", junk)}, timeout=60)
    keyless = requests.post(url, files={"file": ("a.mp3", junk)}, timeout=60)

    for answer in (small, large):
        assert (answer.status_code, answer.json()["field"]) == (400, "file")
    assert small.json()["message"] == large.json()["message"]
    assert keyless.status_code == 401
    assert _audio_keys(stack) == before
    assert _open_uploads(stack) == []


@pytest.mark.parametrize("wrong", [("language", "klingon"), ("min_speakers", "none"), ("file", "again")])
def test_what_is_wrong_after_a_large_file_leaves_nothing_behind(stack: LocalStack, wrong: tuple[str, str]) -> None:
    before = _audio_keys(stack)
    parts: Any = [("file", ("big.wav", wav(700.0))), (wrong[0], (None, wrong[1]))]  # sent in this order

    answer = requests.post(_url(stack, "/api/v1/transcribe/"), headers=_headers(stack), files=parts, timeout=60)

    assert (answer.status_code, answer.json()["field"]) == (400, wrong[0])
    assert _open_uploads(stack) == []
    assert _audio_keys(stack) == before


def test_a_connection_that_breaks_leaves_nothing_behind(stack: LocalStack) -> None:
    before = _audio_keys(stack)
    target = urlsplit(stack.ready["base_url"])
    head = (
        f"POST /api/v1/transcribe/ HTTP/1.1\r\nHost: x\r\nAuthorization: {_headers(stack)['Authorization']}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 50000000\r\n\r\n"
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    )
    with socket.create_connection((target.hostname or "", target.port or 0)) as sock:
        sock.sendall(head.encode() + wav(1.0) + bytes(20_000_000))
        deadline = time.monotonic() + 20
        while not _open_uploads(stack) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _open_uploads(stack)

    deadline = time.monotonic() + 20
    while _open_uploads(stack) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _open_uploads(stack) == []
    assert _audio_keys(stack) == before


def test_a_body_over_every_limit_is_refused_with_another_way_in(stack: LocalStack) -> None:
    target = urlsplit(stack.ready["base_url"])
    with socket.create_connection((target.hostname or "", target.port or 0)) as sock:
        sock.sendall(b"POST /api/v1/transcribe/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\n\r\n")
        answer = sock.recv(4_096)

    assert b" 413 " in answer.split(b"\r\n")[0]
    assert b"/api/v1/uploads/" in answer


def test_a_form_of_s3_takes_exactly_what_was_announced(stack: LocalStack) -> None:
    sound = wav(3.0)
    announced = {"filename": "talk.wav", "size": len(sound), "content_type": "audio/wav"}
    upload = requests.post(_url(stack, "/api/v1/uploads/"), json=announced, headers=_headers(stack), timeout=10).json()

    def send(body: bytes, **changes: str) -> int:
        fields = upload["fields"] | changes
        return requests.post(upload["url"], data=fields, files={"file": io.BytesIO(body)}, timeout=10).status_code

    assert send(sound + b"x") == 400  # too large
    assert send(sound[:-1]) == 400  # too small
    assert send(sound, key=upload["fields"]["key"] + "x") == 403
    assert send(sound, **{"Content-Type": "text/html"}) == 403
    assert send(sound, tagging="<Tagging/>") == 403
    assert send(sound) == 204
    answer = requests.post(
        _url(stack, "/api/v1/transcribe/"), json={"upload_id": upload["upload_id"]}, headers=_headers(stack), timeout=10
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["estimated_credits"] > 0


def test_parts_are_sent_resumed_and_completed_over_http(stack: LocalStack) -> None:
    sound = wav(5.0)
    announced = {"filename": "talk.wav", "size": len(sound), "multipart": True}
    base = _url(stack, "/api/v1/uploads/")
    upload = requests.post(base, json=announced, headers=_headers(stack), timeout=10).json()
    here = f"{base}{upload['upload_id']}/"
    asked = requests.post(f"{here}parts/", json={"part_numbers": [1]}, headers=_headers(stack), timeout=10).json()
    (part,) = asked["parts"]

    assert requests.put(part["url"], data=sound + b"x", timeout=10).status_code == 403  # the size is signed
    assert requests.post(f"{here}complete/", headers=_headers(stack), timeout=10).status_code == 409
    assert requests.put(part["url"], data=sound, timeout=10).status_code == 200
    assert requests.get(here, headers=_headers(stack), timeout=10).json()["parts_received"] == [
        {"part_number": 1, "size": len(sound)}
    ]
    assert requests.post(f"{here}complete/", headers=_headers(stack), timeout=10).status_code == 200
    body = {"upload_id": upload["upload_id"], "dry_run": True}
    quote = requests.post(_url(stack, "/api/v1/transcribe/"), json=body, headers=_headers(stack), timeout=10).json()
    assert quote["duration_seconds"] == pytest.approx(5.0)


def test_the_uploads_in_the_documentation_work_as_they_stand(
    stack: LocalStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (REPOSITORY / "docs" / "ways-in.md").read_text()
    blocks = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "/uploads/" in block]
    monkeypatch.chdir(tmp_path)
    Path("meeting.wav").write_bytes(wav(5.0))
    names: dict[str, Any] = {"BASE": stack.ready["base_url"], "KEY": stack.ready["api_key"]}

    jobs = []
    for block in blocks:
        exec(compile(block, "docs/ways-in.md", "exec"), names)
        jobs.append(names.pop("job"))
    names["api"].close()

    assert len(jobs) == 2
    assert all(job["status"] == "processing" and job["estimated_credits"] > 0 for job in jobs)
