"""Jobs: one recording on its way to a transcript, and the steps it may take.

    QUEUED ──claim──► DISPATCHED ──start──► RUNNING ──► COMPLETED | FAILED
      ▲                                        │            (CANCELLED from any of the first three)
      └── broke down or lease over, runs left ─┘

Every arrow is one conditional write on (job_id, attempt_id); whoever loses it has nothing more to do.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.errors import Stale
from shared.domain.ids import AccountId, AttemptId, EntryId, JobId, KeyId
from shared.domain.options import TranscriptionOptions
from shared.domain.plans import WorkPlan
from shared.domain.pricing import Price
from shared.domain.reruns import Rerun

MAX_RUNS = 5  # starts of a run over all attempts; neither waiting for a runner counts, nor a run that was told to stop
PATIENCE_LEASES = 10  # how many leases a dispatched job may wait for a runner before its start is asked for again
LAST_LOOK = timedelta(hours=1)  # after a deletion: a run that was just ending may still have stored something
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
    """One try at a job. ``run_token`` names the process at work, so that a re-run of it may go on."""

    attempt_id: AttemptId
    number: int
    run_token: str | None = None
    runs: int = 0
    lease_expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A process at work on an attempt."""

    job_id: JobId
    attempt_id: AttemptId
    run_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the work is, in whole percent of the audio, honest and never backwards; and how it is shared out."""

    stage: Stage
    percent: int
    plan: WorkPlan | None = None


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
    """One transcription. ``estimated_seconds`` is None where the length could not be known at submit."""

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


def hold_entry_id(job_id: JobId, number: int) -> EntryId:
    """The ledger entry of a job's n-th hold (1 at submit, 2 when the estimate proved short)."""
    return EntryId(f"{job_id}#hold#{number}")


def resolution_entry_id(job_id: JobId) -> EntryId:
    """The ledger entry that settles or releases a job's holds: one id for both, so only one can ever be written."""
    return EntryId(f"{job_id}#resolve")


def sweep_shard(job_id: JobId) -> str:
    """The partition of the sweeper's index that a job lives in."""
    return str(zlib.crc32(job_id.encode()) % SWEEP_SHARDS)


def recording_key(account_id: AccountId, job_id: JobId) -> str:
    """Where a job's audio lies. The customer's file name never becomes part of a key."""
    return f"audio/{account_id}/{job_id}"


def result_key(account_id: AccountId, job_id: JobId, attempt_id: AttemptId) -> str:
    """Where an attempt's transcript lies. One key per attempt: a late one overwrites nothing."""
    return f"results/{account_id}/{job_id}/{attempt_id}.json.gz"


def work_prefix(account_id: AccountId, job_id: JobId) -> str:
    """Where the parts of a job's unfinished work lie, for whoever goes on with it."""
    return f"work/{account_id}/{job_id}/"


def job_of(prefix: str) -> JobId:
    """The job that a work_prefix belongs to."""
    return JobId(prefix.rstrip("/").rpartition("/")[2])


def export_key(account_id: AccountId, job_id: JobId, name: str) -> str:
    """Where a file made of a transcript lies, when it is too large to be sent as an answer."""
    return f"exports/{account_id}/{job_id}/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A moment and how long the one who acts at it may be silent before others take over."""

    now: datetime
    lease: timedelta

    @property
    def lease_expires_at(self) -> datetime:
        """When the lease taken at this moment is over."""
        return self.now + self.lease


def dispatch(job: Job, attempt_id: AttemptId, beat: Beat) -> Job:
    """QUEUED → DISPATCHED under a new attempt. Raises Stale when the job is not queued."""
    if job.state is not JobState.QUEUED:
        raise Stale(f"job {job.job_id} is {job.state}, not queued")
    number = job.attempt.number + 1 if job.attempt else 1
    runs = job.attempt.runs if job.attempt else 0
    attempt = Attempt(attempt_id=attempt_id, number=number, runs=runs)
    return wait(replace(job, state=JobState.DISPATCHED, attempt=attempt), beat)


def wait(job: Job, beat: Beat) -> Job:
    """The same job, for the sweeper to ask for its start again when no runner takes it for a long while.

    A long queue in front of the runners is no failure: such a job keeps its attempt and its place.
    """
    return replace(job, sweep_at=beat.now + PATIENCE_LEASES * beat.lease)


def may_start(job: Job, attempt_id: AttemptId, run_token: str, now: datetime) -> bool:
    """True when the process ``run_token`` may work on this attempt.

    A fresh attempt may be started; a running one only by the same run coming back (a preempted Modal input, a message
    seen again after its worker died) or when the process that had it has not been heard of for a whole lease.
    """
    if job.attempt is None or not job.is_attempt(attempt_id):
        return False
    if job.state is JobState.DISPATCHED:
        return True
    if job.state is not JobState.RUNNING:
        return False
    lease_over = job.attempt.lease_expires_at is not None and job.attempt.lease_expires_at <= now
    return job.attempt.run_token == run_token or lease_over


def start(job: Job, attempt_id: AttemptId, run_token: str, beat: Beat) -> Job:
    """DISPATCHED → RUNNING, or take a dead run over. Raises Stale when this process may not."""
    if job.attempt is None or not may_start(job, attempt_id, run_token, beat.now):
        raise Stale(f"job {job.job_id} is {job.state}; attempt {attempt_id} may not start")
    attempt = replace(
        job.attempt, run_token=run_token, runs=job.attempt.runs + 1, lease_expires_at=beat.lease_expires_at
    )
    running = replace(job, state=JobState.RUNNING, stage=Stage.FETCHING, attempt=attempt)
    return replace(running, progress_percent=0, sweep_at=beat.lease_expires_at)


def report(job: Job, run: Run, progress: Progress, beat: Beat) -> Job:
    """Note progress and extend the lease. Raises Stale when the run no longer has the job."""
    attempt = replace(_attempt_of(job, run), lease_expires_at=beat.lease_expires_at)
    percent = max(job.progress_percent, progress.percent)  # never walks backwards
    noted = replace(job, stage=progress.stage, progress_percent=percent, plan=progress.plan or job.plan)
    return replace(noted, attempt=attempt, sweep_at=beat.lease_expires_at)


def excuse(job: Job, run: Run) -> Job:
    """The same job, this run not counted: it was stopped for no fault of the recording. Raises Stale when it lost it.

    The run keeps its lease: it may come back, on another machine.
    """
    attempt = _attempt_of(job, run)
    return replace(job, attempt=replace(attempt, runs=max(0, attempt.runs - 1)))


def give_back(job: Job, beat: Beat) -> Job:
    """RUNNING → QUEUED, for another attempt. The caller has checked ``attempts_left``."""
    if job.state is not JobState.RUNNING:
        raise Stale(f"job {job.job_id} is {job.state}")
    return replace(job, state=JobState.QUEUED, stage=Stage.QUEUED, sweep_at=beat.lease_expires_at)


def give_time(job: Job, beat: Beat) -> Job:
    """The same job, for the sweeper to look at later."""
    return replace(job, sweep_at=beat.lease_expires_at)


def with_hold(job: Job, amount_millicredits: int, entry_id: EntryId) -> Job:
    """The job with (more) credits held for it."""
    hold = Hold(
        amount_millicredits=job.hold.amount_millicredits + amount_millicredits,
        entry_ids=(*job.hold.entry_ids, entry_id),
    )
    return replace(job, hold=hold)


def stored(job: Job) -> Job:
    """The job as it stands in the table once this value has been written."""
    return replace(job, revision=job.revision + 1)


def attempts_left(job: Job) -> bool:
    """True while a run that broke down may be followed by another."""
    return job.attempt is None or job.attempt.runs < MAX_RUNS


def finish(job: Job, state: JobState, outcome: Outcome, beat: Beat) -> Job:
    """Any live state → a final one. Raises Stale when the job has ended already."""
    if job.state.is_final or not state.is_final:
        raise Stale(f"job {job.job_id} is {job.state} and cannot become {state}")
    progress = 100 if state is JobState.COMPLETED else job.progress_percent
    ended = replace(job, state=state, outcome=outcome, progress_percent=progress, hold=Hold())
    return replace(ended, owes_event=True, sweep_at=beat.lease_expires_at)


def published(job: Job) -> Job:
    """The event has reached the bus: nothing is owed any more but the deletion when the retention is over."""
    return replace(job, owes_event=False, sweep_at=job.expires_at)


def cancellation_charge(job: Job) -> int:
    """Milli-credits for the part of the work that was done when the owner stopped it; nothing before it began."""
    if job.state is not JobState.RUNNING or job.progress_percent == 0 or job.estimated_seconds is None:
        return 0
    return min(job.price.charge(job.estimated_seconds * job.progress_percent / 100), job.hold.amount_millicredits)


def with_result(job: Job, result_key: str) -> Job:
    """A completed job whose result was corrected."""
    if job.state is not JobState.COMPLETED or job.outcome is None:
        raise Stale(f"job {job.job_id} is {job.state} and has no result")
    return replace(job, outcome=replace(job.outcome, result_key=result_key))


def let_go(job: Job, now: datetime) -> Job:
    """An ended job whose result has reached everybody it was for: the sweeper deletes it at its next round."""
    return replace(job, sweep_at=now, expires_at=now.replace(microsecond=0))


def delete(job: Job, now: datetime) -> Job:
    """What is left of a job that is deleted: enough to find its objects once more. Raises Stale for a live job."""
    if not job.state.is_final:
        raise Stale(f"job {job.job_id} is {job.state} and must be cancelled first")
    return replace(
        job,
        state=JobState.DELETED,
        owes_event=False,
        webhook_url=None,
        recording=replace(job.recording, filename=""),
        sweep_at=now + LAST_LOOK,
        expires_at=min(job.expires_at, (now + LAST_LOOK).replace(microsecond=0)),
    )


def object_prefixes(job: Job) -> tuple[str, ...]:
    """Under which keys everything of a job lies."""
    own = f"{job.account_id}/{job.job_id}"
    return (f"audio/{own}", f"results/{own}/", f"work/{own}/", f"exports/{own}/")


def check_run(job: Job, run: Run) -> None:
    """Raise Stale unless ``run`` has the job."""
    _attempt_of(job, run)


def _attempt_of(job: Job, run: Run) -> Attempt:
    attempt = job.attempt
    if job.state is not JobState.RUNNING or attempt is None or attempt.attempt_id != run.attempt_id:
        raise Stale(f"job {job.job_id} is {job.state}; attempt {run.attempt_id} has lost it")
    if attempt.run_token != run.run_token:
        raise Stale(f"job {job.job_id} was taken over by another run of attempt {run.attempt_id}")
    return attempt
