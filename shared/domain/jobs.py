"""A job: one recording on its way to a transcript. What it may become is in shared.domain.job_rules."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.ids import AccountId, AttemptId, EntryId, JobId, KeyId
from shared.domain.options import TranscriptionOptions
from shared.domain.plans import WorkPlan
from shared.domain.pricing import Price
from shared.domain.reruns import Rerun

SWEEP_SHARDS = 4  # spreads the sweeper's index over partitions


class JobState(StrEnum):
    """Where a job stands, inside."""

    QUEUED = "queued"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DELETED = "deleted"  # what is left of a job until the sweeper has looked once more; nobody is shown it

    @property
    def is_final(self) -> bool:
        """True when nothing more will happen to the job."""
        return self in {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.DELETED}


class Stage(StrEnum):
    """What is being done while a job is `processing`."""

    QUEUED = "queued"
    FETCHING = "fetching"
    TRANSCRIBING = "transcribing"
    DIARIZING = "diarizing"
    SUMMARIZING = "summarizing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The audio as it was handed in. ``key`` is where it lies in the bucket."""

    key: str
    filename: str
    content_type: str
    size_bytes: int
    content_sha256: str | None = None  # None where the bytes did not pass through us
    source_url: str | None = None  # where the job fetches it from, to ``key``


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What the payer allows, copied into the job at submit: for the job, and for its key on the day of the submit."""

    max_millicredits: int | None = None
    daily_limit_millicredits: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeUse:
    """Machine time one part of the work took, at the price the operator paid for it then."""

    part: str
    device: str
    seconds: float
    nanodollars_per_second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Credits set aside for a job, over one or more ledger entries."""

    amount_millicredits: int = 0
    entry_ids: tuple[EntryId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at a job. ``run_token`` names the run at work on it."""

    attempt_id: AttemptId
    number: int
    run_token: str | None = None
    runs: int = 0
    lease_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A process at work on an attempt. Each has a ``run_token`` that no other ever had."""

    job_id: JobId
    attempt_id: AttemptId
    run_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the work is, in whole percent of the audio, honest and never backwards.

    And, once the recording was measured, how long it is and how the work is shared out.
    """

    stage: Stage
    percent: int
    plan: WorkPlan | None = None
    length_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a job ended."""

    finished_at: datetime
    used_millicredits: int = 0
    duration_seconds: float | None = None
    result_key: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    compute: tuple[ComputeUse, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One transcription. ``estimated_seconds`` is None where the length could not be known, until it is measured."""

    job_id: JobId
    account_id: AccountId
    key_id: KeyId
    state: JobState
    stage: Stage
    progress_percent: int
    options: TranscriptionOptions
    recording: Recording
    price: Price
    hold: Hold
    created_at: datetime
    expires_at: datetime
    estimated_seconds: float | None = None
    webhook_url: str | None = None
    request_id: str | None = None  # of the request that submitted it: its logs and the job's are found together
    drop_key: str | None = None  # the recording's own key in the drop folder, where the results go too
    caps: Caps = Caps()
    delete_when_delivered: bool = False  # retention of 0 days
    reused_from: JobId | None = None  # the earlier job whose result this one repeats, for nothing
    rerun: Rerun | None = None  # the one stage of an earlier job that this one runs again
    attempt: Attempt | None = None
    plan: WorkPlan | None = None  # how the work is shared out and what it should take, once a run knows
    outcome: Outcome | None = None
    owes_event: bool = False  # finished, and the bus has not confirmed the event
    sweep_at: datetime | None = None  # when the sweeper looks at the job if nobody else has; None: never again
    revision: int = 0  # counts the writes; each is conditional on the one before

    @property
    def status(self) -> str:
        """The status on the wire: processing, completed, failed or cancelled."""
        return self.state.value if self.state.is_final else "processing"

    @property
    def source(self) -> str:
        """How the recording came: upload, url, or drop (the bucket's drop folder)."""
        if self.recording.source_url is not None:
            return "url"
        return "drop" if self.drop_key is not None else "upload"

    @property
    def version(self) -> str:
        """Names the job as it stands, and no job that is made again under its id once it was deleted."""
        return f"{int(self.created_at.timestamp())}-{self.revision}"

    @property
    def owns_recording(self) -> bool:
        """False where the recording is another job's, which this one only listens to."""
        return self.reused_from is None and self.rerun is None

    @property
    def kept_days(self) -> int:
        """For how many days its owner wanted it kept, 0 included."""
        return (
            0 if self.delete_when_delivered else max(1, round((self.expires_at - self.created_at) / timedelta(days=1)))
        )

    @property
    def estimated_millicredits(self) -> int | None:
        """What the job was expected to cost; None where the length was unknown."""
        return None if self.estimated_seconds is None else self.price.charge(self.estimated_seconds)

    @property
    def ids(self) -> dict[str, str]:
        """What names the job, its try and the request it came with: for logs, where they find each other by it."""
        attempt_id = self.attempt.attempt_id if self.attempt else None
        ids = {"job_id": self.job_id, "attempt_id": attempt_id, "request_id": self.request_id}
        return {name: value for name, value in ids.items() if value is not None}

    def is_attempt(self, attempt_id: AttemptId) -> bool:
        """True while ``attempt_id`` is the try that counts."""
        return self.attempt is not None and self.attempt.attempt_id == attempt_id


def sweep_shard(job_id: JobId) -> str:
    """The partition of the sweeper's index that a job lives in."""
    return str(zlib.crc32(job_id.encode()) % SWEEP_SHARDS)
