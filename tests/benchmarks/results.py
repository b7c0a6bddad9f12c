"""GET of a finished job with its segments: AWS calls, p50 through the local stack's gateway, size, what gzip takes off.

    python -m tests.benchmarks.results

Beside each row the GET of a job of four sentences through the same gateway, in the same run: what the length costs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
from fastapi.testclient import TestClient
from rich.console import Console
from rich.table import Table

from functions.api.app import create_app
from infra.admin.target import settings_of
from infra.local.launch import LocalStack
from shared.bootstrap import Services, bootstrap
from shared.domain.ids import AccountId
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Transcript
from tests.finished_jobs import TRANSCRIPT, long_talk, put_job

GETS = 15
WITH_WORDS = TranscriptionOptions(diarization=True, word_timestamps=True)
WITHOUT_WORDS = TranscriptionOptions(diarization=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a way of asking takes."""

    status: int
    size_bytes: int
    milliseconds: float


def main() -> None:
    """Measure and print."""
    table = Table(
        *("result", "asked with", "status", "bytes", "p50", "vs four sentences", "AWS calls"),
        title=f"GET with segments through the gateway, p50 of {GETS}",
    )
    with LocalStack("--no-worker") as stack:
        services = bootstrap(settings_of(ready_file=str(stack.ready_file), stack=None))
        small = _get(stack, _url(stack, services, TRANSCRIPT, WITHOUT_WORDS), "gzip")
        for name, hours, options in (
            ("3 hours", 3, WITHOUT_WORDS),
            ("3 hours, every word", 3, WITH_WORDS),
            ("10 hours, every word", 10, WITH_WORDS),
        ):
            url = _url(stack, services, long_talk(hours), options)
            plain, packed = (_get(stack, url, coding) for coding in ("identity", "gzip"))
            known = _get(stack, url, "gzip", _etag(stack, url))
            for asked, found in (("identity", plain), ("gzip", packed), ("If-None-Match", known)):
                calls = _calls(services, stack, url, found.status)
                ratio = f"{found.milliseconds / small.milliseconds:.1f} x"
                size = f"{found.size_bytes:,}"
                if asked == "gzip" and plain.status == 200:
                    size += f" ({plain.size_bytes / found.size_bytes:.1f} x smaller)"
                table.add_row(name, asked, str(found.status), size, f"{found.milliseconds:.1f} ms", ratio, calls)
    Console(width=140).print(table)


def _url(stack: LocalStack, services: Services, transcript: Transcript, options: TranscriptionOptions) -> str:
    job = put_job(services, AccountId(stack.ready["account_id"]), transcript=transcript, options=options)
    return f"{stack.ready['base_url']}/api/v1/transcribe/{job.job_id}/?segments=true"


def _headers(stack: LocalStack) -> dict[str, str]:
    return {"Authorization": f"Bearer {stack.ready['api_key']}"}


def _etag(stack: LocalStack, url: str) -> str:
    return requests.get(url, headers=_headers(stack), timeout=60).headers["ETag"]


def _get(stack: LocalStack, url: str, coding: str, etag: str = "") -> Measured:
    headers = _headers(stack) | {"Accept-Encoding": coding} | ({"If-None-Match": etag} if etag else {})
    taken = []
    with requests.Session() as client:
        for _ in range(GETS):
            began = time.perf_counter()
            with client.get(url, headers=headers, timeout=60, stream=True, allow_redirects=False) as answer:
                size = len(answer.raw.read(decode_content=False))
            taken.append((time.perf_counter() - began) * 1000)
    return Measured(status=answer.status_code, size_bytes=size, milliseconds=statistics.median(taken))


def _calls(services: Services, stack: LocalStack, url: str, status: int) -> str:
    """The AWS calls of one such GET by an app that knows the key."""
    path = url.removeprefix(stack.ready["base_url"])
    headers = _headers(stack) | {"Accept-Encoding": "identity" if status == 307 else "gzip"}
    with TestClient(create_app(lambda: services), follow_redirects=False) as client:
        first = client.get(path, headers=headers)
        with counted_calls() as calls:
            client.get(path, headers=headers | ({"If-None-Match": first.headers["ETag"]} if status == 304 else {}))
    return f"{len(calls)}: {', '.join(calls)}"


@contextmanager
def counted_calls() -> Iterator[list[str]]:
    """The names of AWS calls made inside the block."""
    from botocore.client import BaseClient

    calls: list[str] = []
    original = BaseClient._make_api_call  # type: ignore[attr-defined]

    def counting(self: Any, name: str, arguments: Any) -> Any:
        calls.append(name)
        return original(self, name, arguments)

    BaseClient._make_api_call = counting  # type: ignore[attr-defined]
    try:
        yield calls
    finally:
        BaseClient._make_api_call = original  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
