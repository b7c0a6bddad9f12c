"""The drop folder: which objects are recordings, which are instructions, which are our own answers.

drop/{account}/meetings/monday.mp3                 a recording
drop/{account}/meetings/monday.mp3.options.json    options for it alone (before or after it)
drop/{account}/options.json                        the account's defaults
drop/{account}/meetings/monday.mp3.json .srt …     our answers
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from enum import StrEnum

from shared.domain.ids import AccountId, JobId, retry_id

PREFIX = "drop/"
QUARANTINE_PREFIX = "quarantine/"
SIDECAR = ".options.json"
DEFAULTS = "options.json"
ERROR = ".error.json"
MAX_KEY_BYTES = 1024  # S3's
MAX_RETRIES = 100  # looked for; each is asked for by hand
RESULTS = (".json", ".srt", ".vtt", ".txt")
JOB_TAG = "audiototext-job"  # on the recording: its last job; on an answer: the job that it comes from
_JOBS = uuid.UUID("0f8f2b9e-6c1d-5a70-9d55-2b1f3a6a9c01")  # namespace of the ids made here


class DropKind(StrEnum):
    """What an object in the folder is."""

    RECORDING = "recording"
    SIDECAR = "sidecar"
    DEFAULTS = "defaults"
    OURS = "ours"  # a result, or nothing at all: a folder
    STRAY = "stray"  # under no account
    TOO_LONG = "too_long"  # a recording whose answers would have longer keys than S3 takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """An object in the folder. ``recording_key`` is the recording's own, also for its sidecar."""

    kind: DropKind
    key: str
    account_id: AccountId = AccountId("")  # noqa: RUF009 - a NewType makes nothing
    recording_key: str = ""


def read_key(key: str) -> Drop:
    """What the key says of its object."""
    account_id, slash, rest = key.removeprefix(PREFIX).partition("/")
    if key.endswith("/") or not key.startswith(PREFIX):
        return Drop(kind=DropKind.OURS, key=key)
    if not slash or not account_id:
        return Drop(kind=DropKind.STRAY, key=key)
    account = AccountId(account_id)
    if rest == DEFAULTS:
        return Drop(kind=DropKind.DEFAULTS, key=key, account_id=account)
    if rest.endswith(SIDECAR):
        recording = key.removesuffix(SIDECAR)
        return Drop(kind=DropKind.SIDECAR, key=key, account_id=account, recording_key=recording)
    if rest.lower().endswith(RESULTS):
        return Drop(kind=DropKind.OURS, key=key, account_id=account)
    is_too_long = len((key + ERROR).encode()) > MAX_KEY_BYTES
    kind = DropKind.TOO_LONG if is_too_long else DropKind.RECORDING
    return Drop(kind=kind, key=key, account_id=account, recording_key=key)


def defaults_key(account_id: AccountId) -> str:
    """Where an account's defaults lie."""
    return f"{PREFIX}{account_id}/{DEFAULTS}"


def quarantine_key(key: str) -> str:
    """Where an object goes that belongs to nobody; under a digest where its name would become too long."""
    kept = QUARANTINE_PREFIX + key.removeprefix(PREFIX)
    if len(kept.encode()) <= MAX_KEY_BYTES:
        return kept
    return QUARANTINE_PREFIX + hashlib.sha256(key.encode()).hexdigest()


def drop_names(recording_key: str) -> tuple[str, ...]:
    """The recording, its options and our answers: what belongs to one drop."""
    return tuple(recording_key + ending for ending in ("", SIDECAR, ERROR, *RESULTS))


def drop_job_id(key: str, etag: str) -> JobId:
    """The one job of these bytes at this place: however often it is announced, it is the same."""
    return JobId(str(uuid.uuid5(_JOBS, f"{key}\n{etag}")))


def is_job_of(job_id: str, key: str, etag: str) -> bool:
    """True for the job of these bytes at this place, and for a retry of it, however often it was tried again."""
    first = drop_job_id(key, etag)
    return job_id == first or is_retry_of(job_id, first)


def is_retry_of(job_id: str, failed: JobId) -> bool:
    """True for a retry of the job, or a retry of a retry, and so on."""
    candidate = failed
    for _ in range(MAX_RETRIES):
        candidate = retry_id(candidate)
        if candidate == job_id:
            return True
    return False
