"""What a job left behind."""

from __future__ import annotations

import argparse

from gpu_jobs.fanout import ChunkResult
from gpu_jobs.merge import join_words
from gpu_jobs.shelf import BucketShelf
from infra.admin.show import Shown
from shared.bootstrap import Services
from shared.domain.errors import NotFound
from shared.domain.ids import JobId
from shared.domain.job_keys import work_prefix
from shared.domain.scripts import join_texts


def show_parts(services: Services, arguments: argparse.Namespace) -> Shown:
    """What was transcribed of a job that broke off. These are the customer's words: look only if you must."""
    job = services.jobs.look_up(JobId(arguments.job_id))
    if job is None:
        raise NotFound(f"There is no job {arguments.job_id}.")
    shelf = BucketShelf(services.bucket, work_prefix(job.account_id, job.job_id))
    results = {name: ChunkResult.from_values(values) for name, values in shelf.every("chunk-")}
    rows = [
        {
            "chunk": int(name.split("-")[1]),
            "from_seconds": min((passage.start_seconds for passage in result.passages), default=None),
            "to_seconds": max((passage.end_seconds for passage in result.passages), default=None),
            "engine": result.engine,
            "text": join_texts(join_words(passage.words) for passage in result.passages),
        }
        for name, result in sorted(results.items())
    ]
    title = f"Parts of a job that is {job.status}: {len(rows)}. They go with their lifecycle rule, in days."
    return Shown(data=rows, title=title, rows=rows)
