"""What keeping a local stack's state costs: ``python -m tests.benchmarks.kept_state [--jobs 100 1000]``.

Each job brings what a real one leaves: its item, three ledger entries, a delivery, an audio object and a result. The
baseline, in the same run, is a plain write of as many bytes to as many files, each synced.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from moto import mock_aws

from infra.local import moto_fixes
from infra.local import stack as local_stack
from infra.local import template as local_template
from infra.local.aws import LocalAws
from infra.local.options import REPOSITORY
from infra.local.state import KeptState
from infra.local.state_moto import Places

AUDIO_BYTES, RESULT_BYTES = 200_000, 4_000


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=[100, 1000])
    moto_fixes.apply(invoke_async=lambda _arn, _event: None)
    print("   jobs    items  objects    MB kept   kept in  stood still   again in  still   restored in   plain write")
    for jobs in parser.parse_args().jobs:
        with tempfile.TemporaryDirectory() as folder:
            _measure(jobs, Path(folder))


def _measure(jobs: int, folder: Path) -> None:
    with mock_aws():
        stores = _create().stores
        _fill(Places(stores), jobs)
        aws = LocalAws()
        state = KeptState(folder / "state")
        first = state.keep(aws, stores, None)
        again = state.keep(aws, stores, None)
        assert first is not None
        assert again is not None
        state.close()
    with mock_aws():
        began = time.perf_counter()
        state = KeptState(folder / "state")
        state.restore(_create().stores)
        restored_seconds = time.perf_counter() - began
        state.close()
    plain_seconds = _plain_write(folder, files=first.objects, size_bytes=first.written_bytes)
    print(
        f"{jobs:7} {first.items:8} {first.objects:8} {first.written_bytes / 1e6:10.1f} {first.seconds:8.2f} s "
        f"{1000 * first.still_seconds:8.0f} ms {again.seconds:8.2f} s {1000 * again.still_seconds:5.0f} ms "
        f"{restored_seconds:10.2f} s {plain_seconds:9.2f} s  ({first.seconds / plain_seconds:.2f} times that)"
    )


def _create() -> Any:
    source = local_template.read(REPOSITORY / "template.yaml")
    values = local_template.parameters(source, {})
    return local_stack.create(local_template.translate(source, values), values, endpoint_url=None)


def _fill(places: Places, jobs: int) -> None:
    from moto.s3.models import s3_backends

    s3: Any = s3_backends["123456789012"]["aws"]
    bucket = next(iter(places.buckets.values())).name
    text = "x" * 600  # what a job's item weighs
    for number in range(jobs):
        job_id = str(uuid.uuid4())
        places.tables["JobsTable"].put_item({"job_id": {"S": job_id}, "rest": {"M": {"text": {"S": text}}}})
        for step in ("hold", "settle", "release"):
            entry = {"account_id": {"S": "a"}, "entry_id": {"S": f"{job_id}#{step}"}, "sequence": {"N": str(number)}}
            places.tables["LedgerTable"].put_item(entry)
        places.tables["WebhookDeliveriesTable"].put_item({"delivery_id": {"S": job_id}, "text": {"S": text[:300]}})
        for kind, size in (("audio", AUDIO_BYTES), ("results", RESULT_BYTES)):
            s3.put_object(bucket, f"{kind}/a/{job_id}", os.urandom(size)).etag  # noqa: B018 - computed, as after an upload


def _plain_write(folder: Path, *, files: int, size_bytes: int) -> float:
    content = os.urandom(max(1, size_bytes // max(1, files)))
    began = time.perf_counter()
    for number in range(files):
        with (folder / f"plain-{number}").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
