"""What customers send by mistake, to the whole stack: refused by field or failed in plain words, and never charged."""

from __future__ import annotations

import http.client
import json
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.launch import LocalStack
from shared.bootstrap import Services
from tests import media, media_files, sounds

DEADLINE_SECONDS = 120
WAV = media.wav(2)
VIDEO = media_files.make(media_files.RECIPES["mp4_video"], 5)


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with LocalStack() as stack:
        yield stack


def submit(
    stack: LocalStack, body: bytes | None, options: dict[str, str] | None = None, *, key: str | None = None
) -> requests.Response:
    """Send ``body`` as what it may not be: an MP3. None sends a form without a file."""
    files = {"file": ("song.mp3", body, "audio/mpeg")} if body is not None else {"model": (None, "whisper-turbo")}
    headers = {"Authorization": f"Bearer {stack.ready['api_key'] if key is None else key}"}
    url = f"{stack.ready['base_url']}/api/v1/transcribe/"
    return requests.post(url, headers=headers if key != "" else {}, files=files, data=options, timeout=60)


def wait_for_end(stack: LocalStack, answer: requests.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    url = f"{stack.ready['base_url']}/api/v1/transcribe/{answer.json()['id']}/"
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        headers = {"Authorization": f"Bearer {stack.ready['api_key']}"}
        body: dict[str, Any] = requests.get(url, headers=headers, params={"segments": "true"}, timeout=30).json()
        if body["status"] != "processing":
            return body
        assert time.monotonic() < deadline, body
        time.sleep(0.1)


def standing(stack: LocalStack, services: Services) -> tuple[int, int, int]:
    """What the demo account has, what is held, and how many recordings of it are kept."""
    balance = services.credits.balance(stack.ready["account_id"])
    prefix = f"audio/{stack.ready['account_id']}/"
    stored = stack.client("s3").list_objects_v2(Bucket=stack.ready["bucket"], Prefix=prefix)["KeyCount"]
    return balance.available_millicredits, balance.held_millicredits, stored


REFUSED: dict[str, tuple[bytes | None, dict[str, str], str]] = {
    "no file": (None, {}, "file"),
    "an empty file": (b"", {}, "file"),
    "a text": (b"These are words, but nobody speaks them. " * 50, {}, "file"),
    "the first half of a video": (VIDEO[: len(VIDEO) // 2], {}, "file"),
    "an unknown model": (WAV, {"model": "whisper-huge"}, "model"),
    "an unknown language": (WAV, {"language": "klingon"}, "language"),
    "half a list of words": (WAV, {"vocabulary": '["Godot", '}, "vocabulary"),
    "a list of numbers": (WAV, {"vocabulary": "[1, 2]"}, "vocabulary"),
    "neither true nor false": (WAV, {"diarization": "perhaps"}, "diarization"),
    "a plain webhook": (WAV, {"webhook_url": "http://example.com/hook"}, "webhook_url"),
    "a webhook to a private network": (WAV, {"webhook_url": "https://192.168.1.1/hook"}, "webhook_url"),
    "a webhook to the metadata of a cloud": (WAV, {"webhook_url": "https://169.254.169.254/latest"}, "webhook_url"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_mistake_is_answered_with_the_field_it_is_in(stack: LocalStack, services: Services, what: str) -> None:
    body, options, field = REFUSED[what]
    before = standing(stack, services)
    answer = submit(stack, body, options)
    assert (answer.status_code, answer.json()["error"], answer.json()["field"]) == (400, "invalid_request", field)
    assert answer.json()["message"].endswith(".")
    assert standing(stack, services) == before


def test_a_video_without_sound_is_refused(stack: LocalStack, services: Services, tmp_path: Path) -> None:
    before = standing(stack, services)
    answer = submit(stack, sounds.write_video(tmp_path / "silent.mp4", 2.0).read_bytes())
    assert (answer.status_code, answer.json()["field"]) == (400, "file")
    assert "no audio track" in answer.json()["message"]
    assert standing(stack, services) == before


def test_no_key_a_wrong_one_and_a_revoked_one_open_nothing(stack: LocalStack, services: Services) -> None:
    revoked, secret = services.keys.create(stack.ready["account_id"], "lost")
    services.keys.revoke(revoked)
    for key in ("", "nonsense", secret):
        answer = submit(stack, WAV, key=key)
        assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("header", "status", "words"),
    [
        ("Idempotency-Key: é", 400, "visible ASCII characters"),
        ("Content-Type: multipart/form-data; boundary=ÿ", 400, "boundary, in ASCII characters"),
        ("Authorization: Bearer é", 401, "API key"),
        ("X-Forwarded-Port: abc", 404, "no upload"),
    ],
)
def test_a_header_that_nobody_expects_is_no_breakdown(stack: LocalStack, header: str, status: int, words: str) -> None:
    lines = {
        "Authorization": f"Bearer {stack.ready['api_key']}",
        "Content-Type": "application/json",
        **dict([header.split(": ")]),
    }
    host = stack.ready["base_url"].removeprefix("http://").strip("/")
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    body = '{"upload_id": "x"}'
    request = f"POST /api/v1/transcribe/ HTTP/1.1\r\nHost: {host}\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}"
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=30) as connection:
        connection.sendall(request.encode("latin-1"))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == status
        assert words in json.loads(answer.read())["message"]


def test_too_few_credits_are_told_in_the_contracts_words_and_nothing_is_stored(
    stack: LocalStack, services: Services
) -> None:
    poor = services.accounts.create("Poor")
    services.credits.grant(poor.account_id, 1_000, entry_id="one", note="test")
    _, secret = services.keys.create(poor.account_id, "test")
    answer = submit(stack, media.wav(180), key=secret)
    assert (answer.status_code, answer.json()["error"]) == (402, "insufficient_credits")
    assert answer.json()["message"] == "You have 1 credits remaining but this transcription requires 3 credits."
    balance = services.credits.balance(poor.account_id)
    assert (balance.available_millicredits, balance.held_millicredits) == (1_000, 0)
    stored = stack.client("s3").list_objects_v2(Bucket=stack.ready["bucket"], Prefix=f"audio/{poor.account_id}/")
    assert stored["KeyCount"] == 0


@pytest.mark.parametrize(
    ("body", "options", "reason"),
    [
        (random.Random(7).randbytes(50_000), {}, "could not be read"),
        (VIDEO[:-2_000], {}, "could not be read"),  # its index is there, but not whole
        (WAV, {"language": "fr"}, "knows English only"),
    ],
    ids=["noise that is no file", "a video without its last bytes", "a language the engine lacks"],
)
def test_what_shows_only_at_work_fails_in_words_a_customer_understands_and_costs_nothing(
    stack: LocalStack, services: Services, body: bytes, options: dict[str, str], reason: str
) -> None:
    available, held, _ = standing(stack, services)
    ended = wait_for_end(stack, submit(stack, body, options))
    assert ended["status"] == "failed"
    assert reason in ended["error_message"]
    assert ended["credits_used"] == 0
    assert standing(stack, services)[:2] == (available, held)


def test_silence_completes_with_an_empty_transcript(stack: LocalStack, tmp_path: Path) -> None:
    silence = sounds.write_audio(tmp_path / "silence.wav", sounds.silence(4.0)).read_bytes()
    ended = wait_for_end(stack, submit(stack, silence, {"diarization": "true", "summary": "true"}))
    assert (ended["status"], ended["transcript"], ended["segments"]) == ("completed", "", [])
    assert (ended["speakers"], ended["summary"]) == ([], None)
