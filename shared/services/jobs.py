"""Jobs: submit, dispatch, run, finish. Each step may come twice and may die half-way; none has a second effect."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from shared.adapters.dynamodb.jobs import JobMoved, JobStore
from shared.adapters.eventbridge import EventBus, EventRefused
from shared.adapters.failures import AWS_FAILURES
from shared.adapters.s3 import Bucket
from shared.adapters.s3_uploads import UploadBucket
from shared.adapters.sqs import Queue
from shared.domain import job_rules as rules
from shared.domain.amounts import format_credits
from shared.domain.errors import InsufficientCredits, JobFailure, NotFound, SpendLimitReached, Stale
from shared.domain.ids import AccountId, AttemptId, JobId
from shared.domain.job_rules import Beat
from shared.domain.jobs import Attempt, ComputeUse, Job, JobState, Outcome, Progress, Run
from shared.domain.pricing import PriceTable
from shared.services.holds import Holds
from shared.services.remains import Remains

UNSENT_GRACE = timedelta(seconds=60)  # how long a message or an event may be on its way before the sweeper sends it
RESEND_GRACE = timedelta(minutes=10)  # and how long before it sends it once more: the queue may just be long
TIMED_OUT = "The transcription was interrupted too often and was given up. Nothing was charged; please submit it again."
ENGINE_FAILED = "The transcription failed on our side. Nothing was charged; please submit it again."


logger = logging.getLogger(__name__)


class Runner(Protocol):
    """Starts an attempt: shared.adapters.queue_runner or shared.adapters.modal_runner."""

    def start(self, job_id: JobId, attempt_id: AttemptId) -> None:
        """Start it; starting twice must be harmless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPolicy:
    """The deployment's rules for jobs."""

    prices: PriceTable
    lease: timedelta
    retention: timedelta
    submits_per_minute: int = 600
    compute_device: str = "local"  # what the speech work runs on, by its name in the price table


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPorts:
    """Everything outside that a job touches."""

    store: JobStore
    bucket: Bucket
    uploads: UploadBucket
    queue: Queue
    bus: EventBus
    runner: Runner
    now: Callable[[], datetime]
    new_id: Callable[[], str]


class Jobs:
    """The life of a job."""

    def __init__(self, ports: JobPorts, holds: Holds, policy: JobPolicy) -> None:
        self._ports = ports
        self._holds = holds
        self._policy = policy
        self.remains = Remains(ports.store, ports.bucket, ports.uploads)

    def get(self, job_id: str, account_id: AccountId) -> Job:
        """The job. Raises NotFound, for another account's job too."""
        job = self._ports.store.get(JobId(job_id))
        if job is None or job.account_id != account_id or job.state is JobState.DELETED:
            raise NotFound("There is no transcription with this id.")
        return job

    def look_up(self, job_id: JobId) -> Job | None:
        """The job, whoever it belongs to: for the operator."""
        return self._ports.store.get(job_id)

    def retries(self, job_id: JobId) -> Iterator[Job]:
        """The job's retry, that one's retry, and so on, as far as they are there."""
        return self._ports.store.retries(job_id)

    # ---- dispatch --------------------------------------------------------------------------------------------------

    def dispatch(self, job_id: JobId) -> None:
        """Claim a queued job and start it on the runner. Does nothing for a job that needs no start."""
        job = self._ports.store.get(job_id)
        if job is None:
            return
        if job.state is JobState.QUEUED:
            try:
                job = self._ports.store.replace(rules.dispatch(job, AttemptId(self._ports.new_id()), self._beat()))
            except JobMoved:
                return  # somebody else claimed it
        # A message seen again for a claimed job: its first receiver may have died before the start.
        if job.state is JobState.DISPATCHED and job.attempt is not None:
            self._ports.runner.start(job.job_id, job.attempt.attempt_id)
            self._log_dispatch(job, job.attempt)

    # ---- run -------------------------------------------------------------------------------------------------------

    def begin(self, run: Run) -> Job:
        """The first act of a run: take the attempt. Raises Stale when it may not have it."""
        return self._change(run.job_id, lambda job: rules.start(job, run.attempt_id, run.run_token, self._beat()))

    def report(self, job: Job, run: Run, progress: Progress) -> Job:
        """Note progress and keep the lease. Raises Stale when the job was lost or ended meanwhile."""
        return self._change(job.job_id, lambda current: rules.report(current, run, progress, self._beat()), known=job)

    def excuse(self, job: Job, run: Run) -> None:
        """A run that is told to stop: it does not count against the job. Does nothing where the job was lost."""
        with contextlib.suppress(Stale):
            self._change(job.job_id, lambda current: rules.excuse(current, run, self._ports.now()), known=job)

    def ensure_hold(self, job: Job, run: Run, duration_seconds: float) -> Job:
        """Hold what the real duration costs before more work is done.

        Raises JobFailure (insufficient_credits, max_credits_exceeded, spend_limit_reached) when that may not be, Stale
        when the job was lost.
        """
        required = job.price.charge(duration_seconds)
        _check_max_credits(job, required)
        with contextlib.suppress(*AWS_FAILURES):
            self._holds.credits.last_seen(job.account_id)  # so that the settlement, later, needs no read first
        while True:
            rules.check_run(job, run)
            missing = required - job.hold.amount_millicredits
            if missing <= 0:
                return job
            try:
                return self._holds.extend(job, missing)
            except JobMoved as moved:
                job = _still_ours(moved, run, job)
            except SpendLimitReached as error:
                raise JobFailure("spend_limit_reached", error.message) from error
            except InsufficientCredits as error:
                total = InsufficientCredits(
                    available_millicredits=error.available_millicredits + job.hold.amount_millicredits,
                    required_millicredits=required,
                )
                raise JobFailure("insufficient_credits", total.message) from error

    def complete(
        self,
        job: Job,
        run: Run,
        *,
        duration_seconds: float,
        result_key: str,
        compute_seconds: Mapping[str, float] | None = None,
    ) -> Job:
        """End a job well: settle its credits and say so on the bus. A replay settles nothing twice.

        ``compute_seconds`` is machine time by part, as ``part`` or ``part@device``.
        """
        rules.check_run(job, run)
        compute = tuple(self._compute_use(name, seconds) for name, seconds in (compute_seconds or {}).items())

        def outcome(current: Job) -> Outcome:
            return Outcome(
                finished_at=self._ports.now(),
                used_millicredits=min(current.price.charge(duration_seconds), current.hold.amount_millicredits),
                duration_seconds=duration_seconds,
                result_key=result_key,
                compute=compute,
            )

        return self._finish(job, JobState.COMPLETED, outcome, run)

    def fail(self, job: Job, failure: JobFailure, run: Run | None = None) -> Job:
        """End a job badly: give every credit back and say so on the bus."""
        outcome = Outcome(finished_at=self._ports.now(), error_code=failure.code, error_message=failure.message)
        return self._finish(job, JobState.FAILED, lambda _: outcome, run)

    def cancel(self, job: Job) -> Job:
        """End a job because its owner says so: credits for work not done come back. Raises Stale when it has ended."""

        def outcome(current: Job) -> Outcome:
            return Outcome(finished_at=self._ports.now(), used_millicredits=rules.cancellation_charge(current))

        return self._finish(job, JobState.CANCELLED, outcome, None)

    def give_back(self, job: Job, run: Run, failure: JobFailure | None = None) -> None:
        """A run that broke down: queue the job for another attempt, or fail it when there were enough."""
        rules.check_run(job, run)
        if rules.attempts_left(job):
            self._requeue(job)
        else:
            self.fail(job, failure or JobFailure("engine_failed", ENGINE_FAILED), run)

    # ---- repair ----------------------------------------------------------------------------------------------------

    def due(self, shard: str) -> Iterator[JobId]:
        """Jobs of this shard that the sweeper should look at now, longest waiting first."""
        return self._ports.store.due(shard, self._ports.now())

    def repair(self, job_id: JobId) -> str:
        """Do what a crash left undone; what was done, in a word."""
        job = self._ports.store.get(job_id)
        if job is None or job.sweep_at is None or job.sweep_at > self._ports.now():
            return "nothing"
        if job.state.is_final:
            return self._close(job)
        if job.state is JobState.QUEUED:
            with contextlib.suppress(JobMoved):
                self._ports.store.replace(rules.give_time(job, self._beat(RESEND_GRACE)))
                self.enqueue(job.job_id)
            return "queued"
        if job.state is JobState.DISPATCHED:
            with contextlib.suppress(JobMoved):
                self._ports.store.replace(rules.wait(job, self._beat()))
                self.enqueue(job.job_id)  # the dispatcher starts the same attempt again
                logger.warning("job_not_started", extra=job.ids)  # raises an alarm when it goes on
            return "restarted"
        if not rules.attempts_left(job):
            # Only as it is: a run that is heard of in this moment is alive after all.
            outcome = Outcome(finished_at=self._ports.now(), error_code="timed_out", error_message=TIMED_OUT)
            self._finish(job, JobState.FAILED, lambda _: outcome, None, unless_moved=True)
            logger.warning("job_timed_out", extra=job.ids)  # raises an alarm
            return "failed"
        self._requeue(job)
        return "requeued"

    def _close(self, job: Job) -> str:
        if not job.owes_event:
            return self.expire(job)
        self.publish(job)
        return "published"

    def expire(self, job: Job) -> str:
        """Remove an ended job and everything of it; what was done, in a word."""
        if job.state is not JobState.DELETED:
            # Hidden first: nobody may see a job whose objects are half gone, and a crash leaves the rest to be found.
            try:
                job = self._ports.store.replace(rules.delete(job, self._ports.now()))
            except JobMoved:
                return "nothing"
            self.remains.remove(job)
            return "deleted"
        self.remains.remove(job, again=True)
        self._ports.store.delete(job)
        return "forgotten"

    def let_go(self, job: Job) -> None:
        """Have the job deleted at the sweeper's next round, or at the one after if its event is not yet noted as told.

        A lost race only means: at its expiry.
        """
        with contextlib.suppress(JobMoved):
            self._ports.store.replace(rules.let_go(job, self._ports.now()))

    def announce(self, job: Job) -> Job:
        """Publish how a job ended, or leave that to the sweeper: the job itself is safe."""
        try:
            return self.publish(job)
        except (*AWS_FAILURES, EventRefused) as error:
            logger.warning("event_unpublished", extra={**job.ids, "error": type(error).__name__})
            return job

    def publish(self, job: Job) -> Job:
        """Tell the bus how a job ended, then note that it knows. A crash in between tells it twice."""
        if not job.owes_event or job.outcome is None:
            return job
        detail = {
            "version": 1,
            "job_id": job.job_id,
            "account_id": job.account_id,
            "status": job.status,
            "finished_at": job.outcome.finished_at.isoformat(),
            "origin": "drop" if job.drop_key else "api",
        }
        self._ports.bus.publish(f"transcription.{job.status}", detail)
        try:
            return self._ports.store.replace(rules.published(job))
        except JobMoved as moved:
            return moved.current or job

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _log_dispatch(self, job: Job, attempt: Attempt) -> None:
        extra: dict[str, str | float] = {**job.ids, "attempt": attempt.number}
        if attempt.number == 1:
            extra["queue_seconds"] = round((self._ports.now() - job.created_at).total_seconds(), 3)
        logger.info("job_dispatched", extra=extra)

    def _beat(self, lease: timedelta | None = None) -> Beat:
        return Beat(now=self._ports.now(), lease=lease or self._policy.lease)

    def _compute_use(self, name: str, seconds: float) -> ComputeUse:
        part, _, device = name.partition("@")
        device = device or self._policy.compute_device
        price = self._policy.prices.compute_nanodollars_per_second.get(device, 0)
        return ComputeUse(part=part, device=device, seconds=round(seconds, 3), nanodollars_per_second=price)

    def _finish(
        self,
        job: Job,
        state: JobState,
        outcome_of: Callable[[Job], Outcome],
        run: Run | None,
        *,
        unless_moved: bool = False,
    ) -> Job:
        """Resolve the job's holds and write its end, in one transaction; then tell the bus.

        The outcome is that of the job as it stands when it ends: another process may have written in between.
        With ``unless_moved`` it raises JobMoved when the job is no longer as given.
        """
        while True:
            outcome = outcome_of(job)
            ended = rules.finish(job, state, outcome, self._beat(UNSENT_GRACE))
            try:
                return self.announce(self._holds.resolve(job, ended, outcome))
            except JobMoved as moved:
                if unless_moved:
                    raise
                job = _still_ours(moved, run, job)

    def _change(self, job_id: JobId, change: Callable[[Job], Job], known: Job | None = None) -> Job:
        """Apply a rule to the job as it stands and write it, again if somebody else wrote in between."""
        job = known or self._ports.store.get(job_id)
        while job is not None:
            try:
                return self._ports.store.replace(change(job))
            except JobMoved as moved:
                job = moved.current
        raise Stale(f"job {job_id} is gone")

    def _requeue(self, job: Job) -> None:
        with contextlib.suppress(JobMoved):
            self._ports.store.replace(rules.give_back(job, self._beat(UNSENT_GRACE)))
            self.enqueue(job.job_id)

    def enqueue(self, job_id: JobId) -> None:
        """Send the job to the dispatcher, or leave that to the sweeper: the job itself is safe."""
        try:
            self._ports.queue.send({"job_id": job_id})
        except AWS_FAILURES as error:
            # The job is durable: the sweeper sends what could not be sent.
            logger.warning("job_unsent", extra={"job_id": job_id, "error": type(error).__name__})


def _check_max_credits(job: Job, required_millicredits: int) -> None:
    most = job.caps.max_millicredits
    if most is not None and required_millicredits > most:
        raise JobFailure(
            "max_credits_exceeded",
            f"This transcription requires {format_credits(required_millicredits)} credits and its max_credits is "
            f"{format_credits(most)}. Nothing was charged.",
        )


def _still_ours(moved: JobMoved, run: Run | None, job: Job) -> Job:
    """The job as it stands now, if it may still be ended by us. Raises Stale otherwise."""
    if moved.current is None:
        raise Stale(f"job {job.job_id} is gone") from moved
    if run is not None:
        rules.check_run(moved.current, run)
    return moved.current
