"""What the service adds to its engines: ``python -m tests.benchmarks.overhead`` (part of ``make bench``).

Prints, from one run on a fresh local stack:

* submit → completed of a short recording, less what the engines took, against the wall time of the engines alone;
* GET of a job through the gateway (p50, p95), against a bare GetItem on the same AWS endpoint.
"""

from __future__ import annotations

import gzip
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.table import Table

from infra.local.launch import LocalStack
from tests.recordings import asset

JOBS = 5
GETS = 200
OVERHEAD_TARGET_SECONDS = 1.0
GET_TARGET_MS = 15.0


def main() -> int:
    """Run both measurements and print them as a table; 1 when a target is missed."""
    with LocalStack() as stack:
        client = _Client(stack)
        client.transcribe(asset("beckett.wav"))  # the first job of a process also warms its connections
        jobs = [client.transcribe(asset("beckett.wav")) for _ in range(JOBS)]
        gets = _timed(lambda: client.get(jobs[-1].job_id), GETS)
        reads = _timed(client.bare_read, GETS)
    overheads = [job.wall_seconds - job.engine_seconds for job in jobs]
    overhead, get, read = statistics.median(overheads), statistics.median(gets), statistics.median(reads)
    table = Table("measurement", "median", "worst", "baseline", "ratio", "target", title="Overhead of the service")
    engine = statistics.median(job.engine_seconds for job in jobs)
    wall = statistics.median(job.wall_seconds for job in jobs)
    table.add_row(
        "submit to completed, beyond the engines",
        f"{overhead:.2f} s",
        f"{max(overheads):.2f} s",
        f"engines alone {engine:.2f} s",
        f"{wall / engine:.2f} x",
        f"{OVERHEAD_TARGET_SECONDS} s",
    )
    table.add_row(
        "GET of a job through the gateway",
        f"{get:.1f} ms",
        f"p95 {statistics.quantiles(gets, n=20)[-1]:.1f} ms",
        f"bare GetItem {read:.1f} ms",
        f"{get / read:.2f} x",
        f"{GET_TARGET_MS} ms",
    )
    Console(width=140).print(table)
    return 0 if overhead <= OVERHEAD_TARGET_SECONDS and get <= GET_TARGET_MS else 1


class _Job:
    def __init__(self, job_id: str, wall_seconds: float, engine_seconds: float) -> None:
        self.job_id = job_id
        self.wall_seconds = wall_seconds
        self.engine_seconds = engine_seconds


class _Client:
    """A customer with one connection, who may also look behind the counter."""

    def __init__(self, stack: LocalStack) -> None:
        ready = stack.ready
        self._base = f"{ready['base_url']}/api/v1"
        self._http = requests.Session()
        self._http.headers["Authorization"] = f"Bearer {ready['api_key']}"
        self._bucket = ready["bucket"]
        self._account_id = ready["account_id"]
        self._jobs_table = ready["outputs"]["JobsTable"]
        self._s3 = stack.client("s3")
        self._dynamodb = stack.client("dynamodb")

    def transcribe(self, recording: Path) -> _Job:
        began = time.perf_counter()
        with recording.open("rb") as file:
            answer = self._http.post(f"{self._base}/transcribe/", files={"file": file})
        answer.raise_for_status()
        job_id = answer.json()["id"]
        while (status := self.get(job_id)["status"]) == "processing":
            time.sleep(0.01)
        if status != "completed":
            raise RuntimeError(f"the job ended {status}")
        return _Job(job_id, time.perf_counter() - began, self._engine_seconds(job_id))

    def get(self, job_id: str) -> dict[str, Any]:
        answer = self._http.get(f"{self._base}/transcribe/{job_id}/")
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body

    def bare_read(self) -> None:
        self._dynamodb.get_item(TableName=self._jobs_table, Key={"job_id": {"S": "none"}}, ConsistentRead=True)

    def _engine_seconds(self, job_id: str) -> float:
        prefix = f"results/{self._account_id}/{job_id}/"
        listed = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix)["Contents"]
        body = self._s3.get_object(Bucket=self._bucket, Key=listed[0]["Key"])["Body"].read()
        return float(sum(json.loads(gzip.decompress(body).partition(b"\n")[0])["compute_seconds"].values()))


def _timed(call: Callable[[], object], times: int) -> list[float]:
    """Milliseconds of each of ``times`` calls."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


if __name__ == "__main__":
    sys.exit(main())
