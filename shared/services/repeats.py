"""Repeats: a failed job tried again, or one stage of a completed one run again; each is a job of its own.

The new job's id follows from the old one's and from what is asked, so asking twice, or again after an answer was lost,
makes one job.
"""

from __future__ import annotations

import uuid
from dataclasses import replace

from shared.adapters.dynamodb.jobs import JobMoved
from shared.adapters.s3 import ObjectMissing
from shared.domain.accounts import Principal
from shared.domain.errors import Conflict, RequestError
from shared.domain.ids import JobId, retry_id
from shared.domain.job_keys import recording_key
from shared.domain.jobs import Job, JobState
from shared.domain.reruns import Rerun, RerunStage, RerunWish, options_of
from shared.services.exports import check_completed
from shared.services.jobs import JobPorts
from shared.services.submissions import Render, Submission, Submissions, Submitted

AUDIO_GONE = "The recording is no longer there. Please upload it again."


class Repeats:
    """Work on a recording that is here already."""

    def __init__(self, ports: JobPorts, submissions: Submissions) -> None:
        self._ports = ports
        self._submissions = submissions

    def retry(self, principal: Principal, failed: Job, render: Render, request_id: str | None = None) -> Submitted:
        """Submit a failed job's recording again, with the same options, at today's price.

        Raises Conflict when the job has not failed or its recording is gone, and what a submission raises.
        """
        if failed.state is not JobState.FAILED:
            raise Conflict(f"This transcription is {failed.status}: only a failed one can be tried again.")
        new_id = retry_id(failed.job_id)
        existing = self._existing(new_id)
        if existing is not None:
            return Submitted(answer=render(existing), job=existing, replayed=True)
        copy_key = self._copy(failed, new_id)
        try:
            submission = replace(self._retry_of(principal, failed, new_id, copy_key), request_id=request_id)
            submitted = self._submissions.submit(submission, None, render=render)
        except (RequestError, JobMoved):
            self._drop(copy_key)
            raise
        if submitted.job is None or submitted.job.recording.key != copy_key:
            self._drop(copy_key)  # somebody who asked at the same moment was faster, with a copy of their own
        return submitted

    def rerun(self, principal: Principal, job: Job, wish: RerunWish) -> Submission:
        """What to submit to have one stage of a completed job run again, for the price of that stage.

        Nothing is copied: the new job reads the recording and the transcript of the first. Raises Conflict when the
        job has not completed, or when the stage needs a recording that is gone.
        """
        check_completed(job)
        assert job.outcome is not None
        assert job.outcome.result_key is not None
        if wish.stage is RerunStage.DIARIZATION and not self._is_there(job.recording.key):
            raise Conflict("The recording is no longer there, and speakers cannot be found without it.")
        name = f"rerun {wish.name} {job.outcome.result_key}"
        new_id = JobId(str(uuid.uuid5(uuid.UUID(job.job_id), name)))
        self._existing(new_id)
        return Submission(
            principal=principal,
            options=options_of(job.options, wish),
            filename=job.recording.filename,
            content_type=job.recording.content_type,
            size_bytes=job.recording.size_bytes,
            duration_seconds=job.outcome.duration_seconds,
            webhook_url=job.webhook_url,
            stored_key=job.recording.key,
            source_url=job.recording.source_url,
            job_id=new_id,
            retention_days=self._submissions.days_kept(job),
            rerun=Rerun(stage=wish.stage, of=job.job_id, base_key=job.outcome.result_key),
        )

    def _retry_of(self, principal: Principal, failed: Job, new_id: JobId, copy_key: str | None) -> Submission:
        recording = failed.recording
        return Submission(
            principal=principal,
            options=failed.options,
            filename=recording.filename,
            content_type=recording.content_type,
            size_bytes=recording.size_bytes,
            duration_seconds=failed.estimated_seconds,
            webhook_url=failed.webhook_url,
            content_sha256=recording.content_sha256,
            max_millicredits=failed.caps.max_millicredits,
            stored_key=copy_key if failed.rerun is None else recording.key,
            source_url=recording.source_url,
            job_id=new_id,
            retention_days=self._submissions.days_kept(failed),
            drop_key=failed.drop_key,
            rerun=failed.rerun,
        )

    def _existing(self, job_id: JobId) -> Job | None:
        """The job that an earlier asking made. Raises Conflict for one that was deleted a moment ago."""
        job = self._ports.store.get(job_id)
        if job is not None and job.state is JobState.DELETED:
            raise Conflict("What this once made was deleted less than an hour ago. Try again later.")
        return job

    def _copy(self, failed: Job, new_id: JobId) -> str | None:
        """A copy of the recording for the new job alone, or None: it is read in place, or fetched from its URL again.

        Its key is of this request alone, so that who is refused can remove it, whoever else asks at the same moment.
        """
        if failed.rerun is not None:
            return None
        key = f"{recording_key(failed.account_id, new_id)}-{self._ports.new_id()}"
        try:
            self._ports.bucket.copy(failed.recording.key, key)
        except ObjectMissing:
            if failed.recording.source_url is None:
                raise Conflict(AUDIO_GONE) from None
            return None
        return key

    def _drop(self, copy_key: str | None) -> None:
        if copy_key is not None:
            self._ports.bucket.delete(copy_key)

    def _is_there(self, key: str) -> bool:
        return any(found.key == key for found in self._ports.bucket.find(key))
