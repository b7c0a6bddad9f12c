"""Transcriptions as their owner handles them: listed, cancelled, corrected, deleted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.adapters.dynamodb.jobs import JobMoved, JobPage, JobQuery
from shared.adapters.s3 import StoredObject
from shared.domain import job_rules as rules
from shared.domain.errors import Conflict, NotFound, Stale
from shared.domain.ids import JobId
from shared.domain.jobs import Job, JobState
from shared.domain.speakers import SpeakerEdit, edit_speakers
from shared.services.exports import check_completed
from shared.services.jobs import JobPorts, Jobs
from shared.services.results import Results

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletionReceipt:
    """What a deletion removed. The ledger's entries stay: they say what was paid, not what was said."""

    job_id: JobId
    deleted_at: datetime
    objects: tuple[StoredObject, ...]


class Transcriptions:
    """What an owner does with jobs after submitting them."""

    def __init__(self, ports: JobPorts, jobs: Jobs, results: Results) -> None:
        self._ports = ports
        self._jobs = jobs
        self._results = results

    def page(self, query: JobQuery, limit: int, position: dict[str, str] | None = None) -> JobPage:
        """A page of the account's jobs, newest first."""
        return self._ports.store.page(query, limit, position)

    def cancel(self, job: Job) -> Job:
        """Stop the job; credits for work not done come back. Raises Conflict when it has ended already."""
        try:
            return self._jobs.cancel(job)
        except Stale as error:
            raise Conflict("This transcription has ended already.") from error

    def edit_speakers(self, job: Job, edits: Sequence[SpeakerEdit]) -> Job:
        """Rename and merge speakers. Raises Conflict before the job has completed, InvalidRequest for wrong edits.

        The corrected transcript gets a key of its own and the job points at it in one conditional write, so nobody
        ever reads half of a change.
        """
        check_completed(job)
        transcript = edit_speakers(self._results.load(job), edits)
        key = self._results.put(job.account_id, job.job_id, f"edit-{self._ports.new_id()}", transcript)
        try:
            return self._ports.store.replace(rules.with_result(job, key))
        except JobMoved as error:
            self._ports.bucket.delete(key)
            raise Conflict("The transcription was changed at the same moment. Read it again and retry.") from error

    def delete(self, job: Job) -> DeletionReceipt:
        """Remove the recording, the result and everything made of it; running jobs are cancelled first.

        From the first write on the job is answered with 404. A crash after it leaves the rest to the sweeper, which
        also looks once more an hour later for what a run that was just ending may have stored.
        """
        while not job.state.is_final:
            try:
                job = self._jobs.cancel(job)
            except Stale:  # it ended by itself meanwhile
                job = self._jobs.get(job.job_id, job.account_id)
        now = self._ports.now()
        while True:
            try:
                job = self._ports.store.replace(rules.delete(job, now))
                break
            except JobMoved as moved:
                if moved.current is None or moved.current.state is JobState.DELETED:
                    raise NotFound("There is no transcription with this id.") from moved
                job = moved.current
        receipt = DeletionReceipt(job_id=job.job_id, deleted_at=now, objects=tuple(self._jobs.remains.remove(job)))
        logger.info("job_deleted", extra={"job_id": job.job_id, "objects": len(receipt.objects)})
        return receipt
