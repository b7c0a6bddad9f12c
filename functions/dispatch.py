"""DispatchFunction: claims queued jobs and starts them on the runner."""

from __future__ import annotations

from functions import startup  # isort: skip - before everything else

from collections.abc import Mapping
from typing import Any

from functions import runtime
from functions.tracing import traced
from shared import logs
from shared.domain.ids import JobId

logs.configure("dispatch")


@traced
def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """One batch of the jobs queue; every message is ``{"job_id": …}``."""
    return runtime.handle_records(event, _dispatch)


def _dispatch(record: Mapping[str, Any]) -> None:
    job_id = runtime.read_text(runtime.read_json_object(record["body"]), "job_id")
    with logs.context(job_id=job_id):
        runtime.services().jobs.dispatch(JobId(job_id))


startup.finished()
