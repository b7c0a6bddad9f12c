"""Proves that a deployed API works, from outside, as a customer would use it."""

from __future__ import annotations

import io
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import requests

TIMEOUT_SECONDS = 30
POLL_SECONDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was tried. ``problem`` is None when it went as it should."""

    name: str
    problem: str | None


def run(base_url: str, api_key: str | None, *, job_seconds: int, sleep: Callable[[float], None]) -> Iterator[Check]:
    """Check the API at ``base_url``; without a key only what needs none. Stops at the first check that fails."""
    steps: list[tuple[str, Callable[[], str | None]]] = [
        ("the API answers, and asks for a key", lambda: _refuses_without_key(base_url)),
        ("an unknown path is answered as the contract says", lambda: _unknown_path(base_url)),
    ]
    if api_key:
        headers = {"Authorization": f"Bearer {api_key}"}
        steps += [
            ("the key is taken", lambda: _lists_languages(base_url, headers)),
            ("a recording becomes a transcript", lambda: _transcribes(base_url, headers, job_seconds, sleep)),
        ]
    for name, step in steps:
        try:
            problem = step()
        except requests.RequestException as error:
            problem = f"no answer ({type(error).__name__})"
        except ValueError:
            problem = "the answer is no JSON"
        yield Check(name=name, problem=problem)
        if problem:
            return


def _refuses_without_key(base_url: str) -> str | None:
    answer = requests.get(f"{base_url}/api/v1/languages/", timeout=TIMEOUT_SECONDS)
    if answer.status_code != 401 or answer.json().get("error") != "unauthorized":
        return f"expected 401 unauthorized, got {answer.status_code}: {answer.text[:200]}"
    return None


def _unknown_path(base_url: str) -> str | None:
    answer = requests.get(f"{base_url}/api/v1/no-such-thing/", timeout=TIMEOUT_SECONDS)
    if answer.status_code not in {401, 404} or not {"error", "message"} <= answer.json().keys():
        return f"expected 404 with error and message, got {answer.status_code}: {answer.text[:200]}"
    return None


def _lists_languages(base_url: str, headers: dict[str, str]) -> str | None:
    answer = requests.get(f"{base_url}/api/v1/languages/", headers=headers, timeout=TIMEOUT_SECONDS)
    if answer.status_code != 200 or answer.json()["languages"][0] != {"code": "", "name": "Auto-detect"}:
        return f"expected the languages, got {answer.status_code}: {answer.text[:200]}"
    return None


def _transcribes(
    base_url: str, headers: dict[str, str], job_seconds: int, sleep: Callable[[float], None]
) -> str | None:
    files = {"file": ("smoke.wav", _silence(), "audio/wav")}
    answer = requests.post(f"{base_url}/api/v1/transcribe/", headers=headers, files=files, timeout=TIMEOUT_SECONDS)
    if answer.status_code != 202:
        return f"expected 202, got {answer.status_code}: {answer.text[:200]}"
    job_id = answer.json()["id"]
    deadline = time.monotonic() + job_seconds
    while time.monotonic() < deadline:
        job = requests.get(f"{base_url}/api/v1/transcribe/{job_id}/", headers=headers, timeout=TIMEOUT_SECONDS).json()
        if job["status"] == "completed":
            return None
        if job["status"] != "processing":
            return f"job {job_id} ended as {job['status']}: {job.get('error_message')}"
        sleep(POLL_SECONDS)
    return f"job {job_id} was not done after {job_seconds} s: is a runner up? (docs/operations.md, stuck-jobs)"


def _silence() -> bytes:
    """One second of nothing: it costs the minimum and needs no particular language."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(16_000)
        recording.writeframes(b"\0\0" * 16_000)
    return buffer.getvalue()
