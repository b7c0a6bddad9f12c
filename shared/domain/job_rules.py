"""The steps that a job may take.

    QUEUED ──claim──► DISPATCHED ──start──► RUNNING ──► COMPLETED | FAILED
      ▲                                        │            (CANCELLED from any of the first three)
      └── broke down or lease over, runs left ─┘

Every arrow is one conditional write on (job_id, attempt_id); whoever loses it has nothing more to do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.errors import Stale
from shared.domain.ids import AttemptId, EntryId
from shared.domain.jobs import Attempt, Hold, Job, JobState, Outcome, Progress, Run, Stage

MAX_RUNS = 5  # starts of a run over all attempts; neither waiting for a runner counts, nor a run that was told to stop
PATIENCE_LEASES = 10  # how many leases a dispatched job may wait for a runner before its start is asked for again
LEAST_KEPT = timedelta(days=1)  # a result, after the end of its job, unless its owner or its webhook lets it go
LAST_LOOK = timedelta(hours=1)  # after a deletion: a run that was just ending may still have stored something


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
    """True when the run ``run_token`` may work on this attempt.

    A fresh attempt may be started. A running one may be taken over when the run that had it was excused, or has not
    been heard of for a whole lease, and another one is left: a message that comes twice starts nothing twice.
    """
    if job.attempt is None or not job.is_attempt(attempt_id):
        return False
    if job.state is JobState.DISPATCHED:
        return True
    if job.state is not JobState.RUNNING:
        return False
    lease_over = job.attempt.lease_expires_at is not None and job.attempt.lease_expires_at <= now
    return job.attempt.run_token == run_token or (lease_over and attempts_left(job))


def start(job: Job, attempt_id: AttemptId, run_token: str, beat: Beat) -> Job:
    """DISPATCHED → RUNNING, or take a dead run over. Raises Stale when this run may not."""
    if job.attempt is None or not may_start(job, attempt_id, run_token, beat.now):
        raise Stale(f"job {job.job_id} is {job.state}; attempt {attempt_id} may not start")
    if job.attempt.run_token == run_token and job.state is JobState.RUNNING:
        return job  # this run's own write, whose answer was lost
    attempt = replace(
        job.attempt, run_token=run_token, runs=job.attempt.runs + 1, lease_expires_at=beat.lease_expires_at
    )
    running = replace(job, state=JobState.RUNNING, stage=Stage.FETCHING, attempt=attempt)
    return replace(running, progress_percent=0, sweep_at=beat.lease_expires_at)


def report(job: Job, run: Run, progress: Progress, beat: Beat) -> Job:
    """Note progress and extend the lease. Raises Stale when the run no longer has the job."""
    attempt = replace(_attempt_of(job, run), lease_expires_at=beat.lease_expires_at)
    percent = max(job.progress_percent, progress.percent)  # never walks backwards
    length = job.estimated_seconds if progress.length_seconds is None else progress.length_seconds
    noted = replace(job, stage=progress.stage, progress_percent=percent, plan=progress.plan or job.plan)
    return replace(noted, estimated_seconds=length, attempt=attempt, sweep_at=beat.lease_expires_at)


def excuse(job: Job, run: Run, now: datetime) -> Job:
    """The same job, this run over and not counted: it was stopped for no fault of the recording.

    Another run of the attempt may begin at once. Raises Stale when this one had lost the job.
    """
    attempt = _attempt_of(job, run)
    return replace(job, attempt=replace(attempt, runs=max(0, attempt.runs - 1), run_token=None, lease_expires_at=now))


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
    # However long it waited for a runner: what was paid for is there for a while.
    kept_until = max(job.expires_at, (outcome.finished_at + LEAST_KEPT).replace(microsecond=0))
    ended = replace(job, state=state, outcome=outcome, progress_percent=progress, hold=Hold(), expires_at=kept_until)
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


def deleted_at(job: Job) -> datetime | None:
    """When the job was deleted; None for one that was not."""
    if job.state is not JobState.DELETED or job.sweep_at is None:
        return None
    return job.sweep_at - LAST_LOOK


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
