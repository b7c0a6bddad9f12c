"""The names that belong to a job: of its objects in the bucket, and of its entries in the ledger."""

from __future__ import annotations

from shared.domain import uploads
from shared.domain.ids import AccountId, EntryId, JobId
from shared.domain.jobs import Job


def hold_entry_id(job: Job, number: int) -> EntryId:
    """The ledger entry of a job's n-th hold (1 at submit, 2 when the estimate proved short)."""
    return EntryId(f"{_life(job)}#hold#{number}")


def resolution_entry_id(job: Job) -> EntryId:
    """The ledger entry that settles or releases a job's holds: one id for both, so only one can ever be written."""
    return EntryId(f"{_life(job)}#resolve")


def _life(job: Job) -> str:
    """The job, from this creation on: one that was deleted may be made again under its id, entries stay for ever."""
    return f"{job.job_id}#{job.created_at:%Y%m%dT%H%M%S.%fZ}"


def recording_key(account_id: AccountId, job_id: JobId) -> str:
    """Where a job's audio lies. The customer's file name never becomes part of a key."""
    return f"audio/{account_id}/{job_id}"


def result_key(account_id: AccountId, job_id: JobId, name: str) -> str:
    """Where one of a job's transcripts lies."""
    return f"results/{account_id}/{job_id}/{name}.json.gz"


def work_prefix(account_id: AccountId, job_id: JobId) -> str:
    """Where the parts of a job's unfinished work lie, for whoever goes on with it."""
    return f"work/{account_id}/{job_id}/"


def job_of(prefix: str) -> JobId:
    """The job that a work_prefix belongs to."""
    return JobId(prefix.rstrip("/").rpartition("/")[2])


def export_key(account_id: AccountId, job_id: JobId, name: str) -> str:
    """Where a file made of a transcript lies, when it is too large to be sent as an answer."""
    return f"exports/{account_id}/{job_id}/{name}"


def object_prefixes(job: Job) -> tuple[str, ...]:
    """Under which keys everything of a job lies."""
    account_id, job_id = job.account_id, job.job_id
    own = f"{account_id}/{job_id}"
    prefixes = recording_key(account_id, job_id), f"results/{own}/", work_prefix(account_id, job_id), f"exports/{own}/"
    if job.owns_recording and job.recording.key.startswith(uploads.PREFIX):
        return *prefixes, job.recording.key.removesuffix(uploads.RECORDING)
    return prefixes
