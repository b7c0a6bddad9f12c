"""Reuse: the same audio with the same options is answered with the result an account has already."""

from __future__ import annotations

from dataclasses import replace

from shared.adapters.dynamodb.requests import RequestStore
from shared.adapters.s3 import ObjectMissing
from shared.domain.ids import AccountId, AttemptId, JobId
from shared.domain.job_keys import result_key
from shared.domain.jobs import Job, JobState, Outcome
from shared.domain.options import TranscriptionOptions
from shared.services.jobs import JobPorts
from shared.services.results import CONTENT_TYPE

REUSED = AttemptId("reused")  # stands for the attempt in the key of a result that was copied, not made


class Reuse:
    """Finds earlier results and repeats them."""

    def __init__(self, ports: JobPorts, requests: RequestStore) -> None:
        self._ports = ports
        self._requests = requests

    def find(self, account_id: AccountId, content_sha256: str, options: TranscriptionOptions) -> Job | None:
        """The account's completed job for this audio (hex digest of its bytes) and these options, if there is one."""
        now = self._ports.now()
        job_id = self._requests.find_result(account_id, content_sha256, options, now)
        job = None if job_id is None else self._ports.store.get(JobId(job_id))
        if job is None or job.account_id != account_id or job.state is not JobState.COMPLETED or job.expires_at <= now:
            return None
        return job

    def repeat(self, earlier: Job, job: Job) -> Job | None:
        """``job``, completed with a copy of the earlier result; None where that is gone.

        The copy is the job's own, so either may be deleted without the other. The recording stays the earlier job's.
        """
        key = result_key(job.account_id, job.job_id, REUSED)
        if earlier.outcome is None or earlier.outcome.result_key is None:
            return None
        try:
            body = self._ports.bucket.get(earlier.outcome.result_key)
        except ObjectMissing:
            return None
        self._ports.bucket.put(key, body, CONTENT_TYPE)
        outcome = Outcome(
            finished_at=self._ports.now(), duration_seconds=earlier.outcome.duration_seconds, result_key=key
        )
        return replace(
            job,
            state=JobState.COMPLETED,
            progress_percent=100,
            recording=earlier.recording,
            outcome=outcome,
            reused_from=earlier.reused_from or earlier.job_id,
            owes_event=True,
        )

    def forget(self, repeated: Job) -> None:
        """Delete the copy made for a job that was refused: nothing but the job would ever have deleted it."""
        if repeated.outcome is not None and repeated.outcome.result_key is not None:
            self._ports.bucket.delete(repeated.outcome.result_key)
