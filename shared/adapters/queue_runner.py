"""The runner for GPU boxes of one's own and the local stack: workers poll a queue."""

from __future__ import annotations

from shared.adapters.sqs import Queue
from shared.domain.ids import AttemptId, JobId


class QueueRunner:
    """Hands attempts to whatever worker polls the work queue (``python -m gpu_jobs.worker``)."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def start(self, job_id: JobId, attempt_id: AttemptId) -> None:
        """Put the attempt on the queue. Sending twice is harmless: the second message finds the attempt taken."""
        self._queue.send({"job_id": job_id, "attempt_id": attempt_id})
