"""The drop folder: objects become jobs, once per content, and their results come back beside them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain
from typing import Any

from shared.adapters.dynamodb.jobs import JobMoved
from shared.adapters.s3 import Bucket, ObjectMissing
from shared.adapters.s3_uploads import StoredObject, UploadBucket
from shared.domain.accounts import Principal
from shared.domain.drops import (
    ERROR,
    JOB_TAG,
    SIDECAR,
    Drop,
    DropKind,
    defaults_key,
    drop_job_id,
    is_job_of,
    is_retry_of,
    quarantine_key,
)
from shared.domain.errors import InvalidRequest, NotFound, RateLimited, RequestError
from shared.domain.exports import ExportFormat
from shared.domain.ids import AccountId, JobId, KeyId
from shared.domain.job_keys import recording_key
from shared.domain.jobs import Job, JobState
from shared.domain.json_objects import read_object
from shared.domain.subtitles import SubtitleStyle
from shared.services.accounts import Accounts
from shared.services.exports import ExportRequest, Exports
from shared.services.jobs import Jobs
from shared.services.submissions import Submission, Submissions

logger = logging.getLogger(__name__)

KEY_ID = KeyId("drop-folder")  # stands in usage and ledger where a key's id would
MAX_SIDECAR_BYTES = 64 * 1024
FORMATS = {".json": ExportFormat.JSON, ".srt": ExportFormat.SRT, ".vtt": ExportFormat.VTT, ".txt": ExportFormat.TXT}
MAX_TAGS = 10  # S3's; the customer's own go first
STATE_TAG, REASON_TAG = "audiototext-state", "audiototext-reason"


class DropEnd(StrEnum):
    """What became of an announcement."""

    SUBMITTED = "submitted"
    ALREADY_KNOWN = "already_known"
    WAITING = "waiting"  # for its sidecar: announce it again later
    REFUSED = "refused"  # an error file says why
    QUARANTINED = "quarantined"
    IGNORED = "ignored"
    LATER = "later"  # too much at once: announce it again later


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPorts:
    """What drops need."""

    bucket: Bucket
    uploads: UploadBucket
    accounts: Accounts
    jobs: Jobs
    submissions: Submissions
    exports: Exports
    now: Callable[[], datetime]


MakeSubmission = Callable[[Principal, dict[str, Any], StoredObject], Submission]
"""Reads the options of a sidecar (or {}) and measures the object. Raises InvalidRequest."""


class Drops:
    """The drop folder's rules."""

    def __init__(self, ports: DropPorts, make_submission: MakeSubmission, grace: timedelta) -> None:
        self._ports = ports
        self._make_submission = make_submission
        self._grace = grace

    def take(self, drop: Drop, announced_at: datetime) -> DropEnd:
        """Act on an object that has arrived. Twice, out of order or late: the outcome is the same."""
        if drop.kind in {DropKind.OURS, DropKind.DEFAULTS}:
            return DropEnd.IGNORED
        if drop.kind is DropKind.STRAY or not self._knows(drop.account_id):
            return self._quarantine(drop)
        stored = self._ports.uploads.find(drop.recording_key)
        if stored is None or drop.kind is DropKind.TOO_LONG:
            return self._leave(drop, stored)
        job_id = drop_job_id(stored.key, stored.etag)
        job = self._job_of(job_id)
        if job is not None:
            return self._known(stored, job)
        options = self._options(drop)
        if options is None:
            if self._ports.now() < announced_at + self._grace:
                return DropEnd.WAITING
            options = self._read(defaults_key(drop.account_id)) or {}
        return self._submit(drop.account_id, stored, job_id, options)

    def deliver(self, account_id: AccountId, job_id: JobId) -> bool:
        """Put a finished job's results beside its recording; False when one of the two is no longer there."""
        job = self._job(job_id, account_id)
        key = None if job is None else job.drop_key
        if job is None or key is None or not job.state.is_final:
            return False
        stored = self._ports.uploads.find(key)
        if stored is None or not is_job_of(job_id, key, stored.etag):
            return False
        if self._is_outdated(job, self._ports.uploads.tags(key).get(JOB_TAG, "")):
            return False  # told late, or again: what came of the retry stays
        if job.state is JobState.COMPLETED:
            for ending, format_ in FORMATS.items():
                request = ExportRequest(format=format_, style=SubtitleStyle())
                file = self._ports.exports.make(job, request)
                self._ports.bucket.put(key + ending, file.body, file.content_type, tags={JOB_TAG: job_id})
            self._ports.bucket.delete(key + ERROR)
        else:
            self._put_error(key, _why(job), job_id)
        self._tag(key, job.status, job_id)
        return True

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _submit(self, account_id: AccountId, stored: StoredObject, job_id: JobId, options: dict[str, Any]) -> DropEnd:
        principal = Principal(account_id=account_id, key_id=KEY_ID)
        copy_key = recording_key(account_id, job_id)
        try:
            submission = self._make_submission(principal, options, stored)
            # The job keeps its own copy: the object may be replaced before a worker comes to it.
            self._ports.uploads.copy(stored, copy_key)
            self._ports.bucket.delete(stored.key + ERROR)
            self._tag(stored.key, "processing", job_id)  # before there is a job: its end must not be overwritten
            submitted = self._ports.submissions.submit(submission, None)
        except (ObjectMissing, NotFound, RateLimited, JobMoved):
            # At its time; or replaced while we looked, then the new object announces itself, too; or the job of these
            # bytes was forgotten at this moment: there is none.
            return DropEnd.LATER
        except RequestError as refused:
            if (job := self._ports.jobs.look_up(job_id)) is not None:
                return self._known(stored, job)  # with the options that were there a moment ago
            self._ports.bucket.delete(copy_key)
            self._put_error(stored.key, {"error": refused.code, "message": refused.message}, None)
            self._tag(stored.key, "refused", None)
            return DropEnd.REFUSED
        if submitted.replayed and submitted.job is not None:  # the same announcement, handled at the same moment
            if submitted.job.state is JobState.DELETED:
                self._ports.bucket.delete(copy_key)
            return self._known(stored, submitted.job)
        logger.info("drop_submitted", extra={"job_id": job_id, "account_id": account_id})
        return DropEnd.SUBMITTED

    def _leave(self, drop: Drop, stored: StoredObject | None) -> DropEnd:
        """A sidecar before its recording, an object that is gone again, or a name with no room for an error file's."""
        if stored is None:
            return DropEnd.IGNORED
        self._tag(stored.key, "refused", None, reason="name_too_long")
        logger.warning("drop_name_too_long", extra={"account_id": drop.account_id})
        return DropEnd.REFUSED

    def _known(self, stored: StoredObject, job: Job) -> DropEnd:
        """The same bytes again, or announced again: nothing to do but to say again how it stands.

        Dropped again after the job was deleted, they are transcribed anew once it is forgotten.
        """
        if job.state is JobState.DELETED:
            return DropEnd.LATER
        tags = self._ports.uploads.tags(stored.key)
        tagged = tags.get(JOB_TAG, "")
        if is_retry_of(tagged, job.job_id):
            return DropEnd.ALREADY_KNOWN  # a retry's tags stay
        if (tagged, tags.get(STATE_TAG)) != (job.job_id, job.status):
            self._tag(stored.key, job.status, job.job_id)
            if job.state.is_final:
                self.deliver(job.account_id, job.job_id)
        return DropEnd.ALREADY_KNOWN

    def _job_of(self, first_id: JobId) -> Job | None:
        """The first job of these bytes or, where it has failed or is gone, the retry that has not, if there is one."""
        first = self._ports.jobs.look_up(first_id)
        all_there = chain(filter(None, [first]), self._ports.jobs.retries(first_id))
        return next((job for job in all_there if job.state not in {JobState.FAILED, JobState.DELETED}), first)

    def _is_outdated(self, job: Job, tagged: str) -> bool:
        """True where a retry of the job has ended, by the recording's tag, or stands: there may be no room for tags."""
        if is_retry_of(tagged, job.job_id):
            return True
        newest = self._job_of(job.job_id)
        return newest is not None and newest.job_id != job.job_id

    def _job(self, job_id: JobId, account_id: AccountId) -> Job | None:
        try:
            return self._ports.jobs.get(job_id, account_id)
        except NotFound:
            return None

    def _knows(self, account_id: AccountId) -> bool:
        try:
            self._ports.accounts.get(account_id)
        except NotFound:
            return False
        return True

    def _options(self, drop: Drop) -> dict[str, Any] | None:
        """What the sidecar says, on top of the account's defaults; None without one."""
        own = self._read(drop.recording_key + SIDECAR)
        return None if own is None else {**(self._read(defaults_key(drop.account_id)) or {}), **own}

    def _read(self, key: str) -> dict[str, Any] | None:
        """The options of a file, or the reason that they cannot be read, under ""; None where there is no such file."""
        found = self._ports.uploads.find(key)
        if found is None:
            return None
        name = key.rsplit("/", 1)[-1]
        if found.size_bytes > MAX_SIDECAR_BYTES:
            return {"": f"{name} is larger than {MAX_SIDECAR_BYTES} bytes."}
        try:
            return read_object(self._ports.bucket.get(key), what=name)
        except ObjectMissing:
            return None
        except InvalidRequest as problem:
            return {"": problem.message}

    def _quarantine(self, drop: Drop) -> DropEnd:
        stored = self._ports.uploads.find(drop.key)
        if stored is None:
            return DropEnd.IGNORED
        self._ports.uploads.copy(stored, quarantine_key(drop.key))
        self._ports.bucket.delete(drop.key)
        logger.warning("drop_quarantined")  # the template makes a metric and an alarm of this line
        return DropEnd.QUARANTINED

    def _put_error(self, key: str, why: dict[str, Any], job_id: JobId | None) -> None:
        body = json.dumps(why | ({"id": job_id} if job_id else {}), ensure_ascii=False, indent=2).encode() + b"\n"
        tags = {JOB_TAG: job_id} if job_id else {}
        self._ports.bucket.put(key + ERROR, body, "application/json", tags=tags)

    def _tag(self, key: str, state: str, job_id: JobId | None, reason: str | None = None) -> None:
        tags = {STATE_TAG: state, JOB_TAG: job_id, REASON_TAG: reason}
        try:
            own = {name: value for name, value in self._ports.uploads.tags(key).items() if name not in tags}
            ours = [(name, value) for name, value in tags.items() if value]
            self._ports.uploads.tag(key, own | dict(ours[: MAX_TAGS - len(own)]))
        except ObjectMissing:
            return  # removed meanwhile: nothing to tag


def _why(job: Job) -> dict[str, Any]:
    outcome = job.outcome
    code = outcome.error_code if outcome and outcome.error_code else job.status
    message = outcome.error_message if outcome and outcome.error_message else f"The transcription was {job.status}."
    return {"error": code, "message": message}
