"""GET of a finished 3-hour job with its segments: AWS calls, time, size and how much gzip takes off.

    python -m tests.benchmarks.results [--words]

In one process: the API on moto, without a gateway (`make bench` has the gateway's own overhead).
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from shared.domain.transcripts import Engines, Segment, Speaker, Transcript, Word
from tests.finished_jobs import put_job
from tests.integration import conftest

HOURS = 3
SECONDS_PER_SEGMENT = 5
WORDS = re.findall(
    r"[a-z]{2,}", Path("docs/architecture.md").read_text("utf-8").lower()
)  # repetitive prose deceives gzip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", action="store_true", help="with word timestamps")
    words = parser.parse_args().words
    cloud = conftest.cloud.__wrapped__()  # type: ignore[attr-defined]
    services = next(cloud).services()
    from functions.api.app import create_app

    account = services.accounts.create("bench")
    _, secret = services.keys.create(account.account_id, "bench")
    job = put_job(services, account.account_id, transcript=talk(words=words))
    headers = {"Authorization": f"Bearer {secret}"}
    path = f"/api/v1/transcribe/{job.job_id}/?segments=true"
    with TestClient(create_app(lambda: services)) as client, counted_calls() as calls:
        for coding in ("identity", "gzip"):
            answer = client.get(path, headers=headers | {"Accept-Encoding": coding}, follow_redirects=False)
            size = int(answer.headers.get("Content-Length", 0))
            times = []
            calls.clear()
            for _ in range(15):
                started = time.perf_counter()
                client.get(path, headers=headers | {"Accept-Encoding": coding}, follow_redirects=False)
                times.append((time.perf_counter() - started) * 1000)
            print(
                f"{coding:9} status {answer.status_code}  {size:>9} bytes  p50 {statistics.median(times):6.1f} ms  "
                f"AWS calls per GET: {len(calls) / 15:.1f} ({', '.join(sorted(set(calls)))})"
            )
        etag = client.get(path, headers=headers).headers["ETag"]
        calls.clear()
        again = client.get(path, headers=headers | {"If-None-Match": etag})
        print(f"304       status {again.status_code}  AWS calls: {len(calls)} ({', '.join(sorted(set(calls)))})")


def talk(*, words: bool) -> Transcript:
    """Three hours of two people."""
    segments, chance = [], random.Random(1)
    for index in range(HOURS * 3600 // SECONDS_PER_SEGMENT):
        start = float(index * SECONDS_PER_SEGMENT)
        text = " ".join(chance.choices(WORDS, k=14))
        parts = text.split()
        step = (SECONDS_PER_SEGMENT - 0.5) / len(parts)
        timed = tuple(
            Word(
                text=part,
                start_seconds=start + n * step,
                end_seconds=start + (n + 1) * step,
                confidence=chance.random(),
            )
            for n, part in enumerate(parts)
        )
        segments.append(
            Segment(
                start_seconds=start,
                end_seconds=start + SECONDS_PER_SEGMENT - 0.5,
                text=text,
                speaker_id=f"SPEAKER_0{index // 3 % 2}",
                confidence=0.91,
                words=timed if words else (),
            )
        )
    return Transcript(
        duration_seconds=HOURS * 3600.0,
        language="en",
        engines=Engines(transcriber="bench"),
        segments=tuple(segments),
        speakers=tuple(
            Speaker(id=f"SPEAKER_0{n}", label=f"Speaker {n + 1}", speaking_time_seconds=5.0) for n in (0, 1)
        ),
    )


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
