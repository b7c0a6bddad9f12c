"""What a job has in the bucket, and its removal: its own objects, and what lies in the drop folder because of it."""

from __future__ import annotations

from collections.abc import Iterable

from shared.adapters.dynamodb.jobs import JobStore
from shared.adapters.s3 import Bucket, ObjectMissing, StoredObject
from shared.adapters.s3_uploads import UploadBucket
from shared.domain import job_keys
from shared.domain import job_rules as rules
from shared.domain.drops import JOB_TAG, drop_names, is_job_of, is_retry_of
from shared.domain.ids import JobId
from shared.domain.jobs import Job, JobState


class Remains:
    """Jobs' objects."""

    def __init__(self, store: JobStore, bucket: Bucket, uploads: UploadBucket) -> None:
        self._store = store
        self._bucket = bucket
        self._uploads = uploads

    def remove(self, job: Job, *, again: bool = False) -> list[StoredObject]:
        """Delete everything of the job in the bucket; what there was. ``again``: it was done when it was deleted."""
        found = [stored for prefix in job_keys.object_prefixes(job) for stored in self._bucket.find(prefix)]
        found += self._in_drop_folder(job, again=again)
        for stored in found:
            self._bucket.delete(stored.key)
        return found

    def _in_drop_folder(self, job: Job, *, again: bool) -> list[StoredObject]:
        """The job's answers in the drop folder, by the id they bear; and the recording unless it is another job's now.

        A recording that was dropped again after the job was deleted is to be transcribed anew. What bears no id goes
        with the recording. That is last: a deletion that dies half-way finds the rest by it.
        """
        if job.drop_key is None:
            return []
        found = self._bucket.find_one(job.drop_key)
        recording = found if found is not None and self._is_of(found, job, again=again) else None
        names = [name for name in drop_names(job.drop_key) if name != job.drop_key]
        beside = [found for name in names if (found := self._bucket.find_one(name))]
        owners = {job.job_id} if recording is None else {job.job_id, ""}
        ours = [found for found in beside if self._owner(found.key) in owners]
        return ours if recording is None else [*ours, recording]

    def _is_of(self, recording: StoredObject, job: Job, *, again: bool) -> bool:
        """True where the recording that lies there is the job's and no other's."""
        if not is_job_of(job.job_id, recording.key, recording.etag):
            return False
        if (deleted_at := rules.deleted_at(job)) is not None:
            # Of the second in which the job was deleted: at first what was there, later what was put there since.
            second = deleted_at.replace(microsecond=0)
            if recording.modified_at > second or (recording.modified_at == second and again):
                return False
        return not self._has_retry(job.job_id, recording.key)

    def _has_retry(self, job_id: JobId, recording_key: str) -> bool:
        """True while there is a retry of the job, or a retry's: its results are to come beside the recording.

        Where those in between are forgotten, the recording's tag leads on: it names the last that has ended.
        """
        if _any_stands(self._store.retries(job_id)):
            return True
        last = JobId(self._owner(recording_key))
        if not is_retry_of(last, job_id):
            return False
        return _any_stands(filter(None, [self._store.get(last)])) or _any_stands(self._store.retries(last))

    def _owner(self, key: str) -> str:
        """The job that an object of the drop folder comes from; empty where it bears none."""
        try:
            return self._uploads.tags(key).get(JOB_TAG, "")
        except ObjectMissing:
            return ""  # gone meanwhile


def _any_stands(jobs: Iterable[Job]) -> bool:
    return any(job.state is not JobState.DELETED for job in jobs)
