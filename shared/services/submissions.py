"""Submissions: from a recording and its options to a job that has its credits, once, however often it is sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from statistics import median
from typing import IO, Any

from shared.adapters.dynamodb.credits import Standing
from shared.adapters.dynamodb.jobs import JobMoved
from shared.domain import job_keys, limits
from shared.domain.accounts import Principal
from shared.domain.amounts import format_credits, to_credits
from shared.domain.errors import InsufficientCredits, InvalidRequest, RateLimited, RequestError
from shared.domain.idempotency import Answer
from shared.domain.ids import AccountId, JobId
from shared.domain.job_rules import Beat
from shared.domain.jobs import Caps, Hold, Job, JobState, Recording, Stage
from shared.domain.limits import Pace, SubmitRate
from shared.domain.options import TranscriptionOptions
from shared.domain.pricing import Price
from shared.domain.reruns import Rerun
from shared.services.holds import Holds
from shared.services.jobs import UNSENT_GRACE, JobPolicy, JobPorts, Jobs
from shared.services.requests import ClaimLost, Once, Requests, Turn
from shared.services.reuse import Reuse

RECENT_JOBS = 20  # what an expected wait is estimated from
DEFAULT_WAIT_SECONDS = 5.0  # without any history: a start, and
DEFAULT_WAIT_PER_AUDIO_SECOND = 0.1  # ten times real time


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a customer hands in with a recording.

    ``duration_seconds`` is None where it could not be told, ``content_sha256`` (hex) where the bytes were not read.
    The recording comes with the submission, or lies under ``stored_key`` already, or is fetched from ``source_url`` by
    the job. ``job_id`` is given where the same submission, sent again, must never make a second job, and where it was
    needed before the submission was complete: then it ``is_fresh``, nothing of another sending lies under it.
    """

    principal: Principal
    options: TranscriptionOptions
    filename: str
    content_type: str
    size_bytes: int
    duration_seconds: float | None
    webhook_url: str | None = None
    content_sha256: str | None = None
    max_millicredits: int | None = None
    reuse: bool = False
    stored_key: str | None = None
    copy_key: str | None = None  # where the job's own copy lies of what is under ``stored_key``
    source_url: str | None = None
    job_id: JobId | None = None
    is_fresh: bool = False
    retention_days: int | None = None  # None: the deployment's; 0: gone once delivered
    request_id: str | None = None  # of the request it came with
    drop_key: str | None = None  # where in the drop folder the recording lies and its results go
    rerun: Rerun | None = None  # only this stage, over an earlier result; ``stored_key`` is the earlier recording's

    @property
    def is_alone(self) -> bool:
        """True where no other sending of it can have the same job."""
        return self.job_id is None or self.is_fresh


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A submission's answer. ``job`` is None and ``replayed`` True where an earlier request was answered again."""

    answer: Answer
    job: Job | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a submission would cost and how long it would take; nothing was created."""

    duration_seconds: float | None
    estimated_millicredits: int | None
    available_millicredits: int
    expected_wait_seconds: float | None
    reused_from: JobId | None = None


Render = Callable[[Job], Answer]


def submitted_answer(job: Job) -> Answer:
    """The contract's answer to a submission."""
    estimated = 0 if job.reused_from else job.estimated_millicredits
    body: dict[str, Any] = {
        "id": job.job_id,
        "status": job.status,
        "estimated_credits": None if estimated is None else to_credits(estimated),
    }
    if job.reused_from is not None:
        return Answer(status=200, body=body | {"reused_from": job.reused_from})
    return Answer(status=202, body=body)


class Submissions:
    """Takes recordings in."""

    def __init__(self, ports: JobPorts, holds: Holds, policy: JobPolicy, jobs: Jobs) -> None:
        self._ports = ports
        self._holds = holds
        self._policy = policy
        self._jobs = jobs
        self._reuse = Reuse(ports, holds.requests)
        self._requests = Requests(holds.requests, ports.now, ports.new_id)

    def submit(
        self,
        submission: Submission,
        body: IO[bytes] | None,
        *,
        idempotency_key: str | None = None,
        render: Render = submitted_answer,
        joining: bool = False,
    ) -> Submitted:
        """Take a recording in: store it, hold its credits and create its job, queue it.

        ``joining`` is for who waits for the result: the same submission sent again is answered with the first one's
        job whether it has a key or not, unless that job has failed, was cancelled or deleted; then it makes a new one.

        Raises InsufficientCredits, SpendLimitReached, RateLimited, InvalidRequest (max_credits), RequestInProgress or
        IdempotencyKeyReused with nothing stored. A crash after the audio is stored leaves an object without a job,
        which the bucket's lifecycle removes; a crash before the message is sent is mended by the sweeper.
        """
        done: list[Submitted] = []

        def effect(turn: Turn) -> Answer:
            done.append(self._carry_out_once(submission, body, turn, render))
            return done[-1].answer

        once = _once(submission, idempotency_key)
        if joining:
            answered = self._requests.carry_out(once.keyed(), effect, stands=self._has_a_result_to_come)
        else:
            answered = self._requests.carry_out(once, effect)
        return Submitted(answer=answered.answer, replayed=True) if answered.replayed else done[-1]

    def answered_before(self, submission: Submission, idempotency_key: str | None) -> Submitted | None:
        """The answer that the same submission was given before: for one whose recording is no longer what it was."""
        answered = self._requests.answered_before(_once(submission, idempotency_key))
        return None if answered is None else Submitted(answer=answered.answer, replayed=True)

    def quote(self, submission: Submission) -> Quote:
        """What the submission would cost and how long it would take. Raises InvalidRequest (max_credits)."""
        job = self._new_job(submission)
        _check_max_credits(job)
        standing = self._holds.credits.standing(job.account_id)
        earlier = self._earlier(submission)
        return Quote(
            duration_seconds=job.estimated_seconds,
            estimated_millicredits=0 if earlier else job.estimated_millicredits,
            available_millicredits=standing.balance.available_millicredits,
            expected_wait_seconds=0.0 if earlier else self._expected_wait_seconds(job),
            reused_from=earlier.job_id if earlier else None,
        )

    def pace(self, account_id: AccountId) -> Pace:
        """How many submissions the account has left, as far as this process knows."""
        standing = self._holds.credits.last_seen(account_id)
        return limits.pace(standing.paced_until, self.rate_of(standing.submits_per_minute), self._ports.now())

    @property
    def most_days(self) -> int:
        """The longest retention there is."""
        return self._policy.retention.days

    def days_kept(self, job: Job) -> int:
        """The retention of an earlier job, for one that is made of it."""
        return min(job.kept_days, self.most_days)

    def _default_days(self, account_id: AccountId) -> int | None:
        days = self._holds.credits.recent(account_id).retention_days
        return None if days is None else min(days, self.most_days)  # the deployment may keep less by now

    def rate_of(self, submits_per_minute: int) -> SubmitRate:
        """The rate of an account, given what its item says (0: the deployment's)."""
        return SubmitRate(per_minute=submits_per_minute or self._policy.submits_per_minute)

    def check_may_submit(self, account_id: AccountId) -> None:
        """Raise what would refuse even the cheapest submission: asked before a large body is taken in."""
        least = self._policy.prices.minimum_millicredits
        self._check_standing(self._holds.credits.standing(account_id), least)

    def _has_a_result_to_come(self, answer: Answer) -> bool:
        job = self._ports.store.get(JobId(answer.body["id"]))
        return job is not None and job.state not in {JobState.FAILED, JobState.CANCELLED, JobState.DELETED}

    def _carry_out_once(self, submission: Submission, body: IO[bytes] | None, turn: Turn, render: Render) -> Submitted:
        """Carry it out; where it brought its own job id and that job is there, say so instead of refusing it."""
        try:
            return self._carry_out(submission, body, turn, render)
        except (RequestError, JobMoved):
            job = None if submission.job_id is None else self._ports.store.get(submission.job_id)
            if job is None or job.account_id != submission.principal.account_id:
                raise
            answer = render(job)
            turn.settle(answer)
            return Submitted(answer=answer, job=job, replayed=True)

    def _carry_out(self, submission: Submission, body: IO[bytes] | None, turn: Turn, render: Render) -> Submitted:
        job = self._new_job(submission)
        answered = self._answered_by_an_earlier_result(job, submission, turn, render)
        if answered is not None:
            return answered
        amount = _first_hold_millicredits(job)
        _check_max_credits(job)
        self._check_early(job, amount)
        if body is not None:
            self._ports.bucket.upload(job.recording.key, body, submission.content_type)
        answer = render(job)
        try:
            job = self._holds.open(job, amount, pacer=self._admit, also=turn.writes(answer))
        except (RequestError, ClaimLost):
            if body is not None and submission.is_alone:  # else an earlier sending's audio may lie there
                self._ports.bucket.delete(job.recording.key)
            raise
        self._jobs.enqueue(job.job_id)
        return Submitted(answer=answer, job=job)

    def _check_early(self, job: Job, amount_millicredits: int) -> None:
        """Refuse before the upload what the transaction would refuse after it; never by an old sight of the account."""
        self._holds.check_daily_limit(job, amount_millicredits)
        try:
            self._check_standing(self._holds.credits.last_seen(job.account_id), amount_millicredits)
        except (InsufficientCredits, RateLimited):
            self._check_standing(self._holds.credits.standing(job.account_id), amount_millicredits)

    def _check_standing(self, standing: Standing, amount_millicredits: int) -> None:
        available = standing.balance.available_millicredits
        if available < amount_millicredits:
            raise InsufficientCredits(available_millicredits=available, required_millicredits=amount_millicredits)
        self._admit(standing)

    def _admit(self, standing: Standing) -> Pace:
        return limits.admit(standing.paced_until, self.rate_of(standing.submits_per_minute), self._ports.now())

    def _answered_by_an_earlier_result(
        self, job: Job, submission: Submission, turn: Turn, render: Render
    ) -> Submitted | None:
        earlier = self._earlier(submission)
        if earlier is None:
            return None
        self._check_early(job, 0)
        repeated = self._reuse.repeat(earlier, job)
        if repeated is None:
            return None
        answer = render(repeated)
        try:
            repeated = self._holds.create_settled(repeated, pacer=self._admit, also=turn.writes(answer))
        except (RequestError, ClaimLost):
            if submission.is_alone:  # else an earlier sending's result may lie there
                self._reuse.forget(repeated)
            raise
        return Submitted(answer=answer, job=self._jobs.announce(repeated))

    def _earlier(self, submission: Submission) -> Job | None:
        """The completed job that answers this submission already, when that is wanted and there is one."""
        if not submission.reuse or submission.content_sha256 is None:
            return None
        return self._reuse.find(submission.principal.account_id, submission.content_sha256, submission.options)

    def _expected_wait_seconds(self, job: Job) -> float | None:
        """From submit to result: the audio's length times what the account's last jobs took per second of audio."""
        if job.estimated_seconds is None:
            return None
        recent = self._ports.store.recent(job.account_id, RECENT_JOBS)
        rates = [
            (outcome.finished_at - earlier.created_at).total_seconds() / outcome.duration_seconds
            for earlier in recent
            if (outcome := earlier.outcome) and outcome.duration_seconds and earlier.reused_from is None
        ]
        if not rates:
            return DEFAULT_WAIT_SECONDS + DEFAULT_WAIT_PER_AUDIO_SECOND * job.estimated_seconds
        return median(rates) * job.estimated_seconds

    def _new_job(self, submission: Submission) -> Job:
        job_id = submission.job_id or JobId(self._ports.new_id())
        principal = submission.principal
        beat = Beat(now=self._ports.now(), lease=UNSENT_GRACE)
        kept_days = submission.retention_days
        if kept_days is None:
            kept_days = self._default_days(principal.account_id)
        recording = Recording(
            key=submission.copy_key or submission.stored_key or job_keys.recording_key(principal.account_id, job_id),
            filename=submission.filename,
            content_type=submission.content_type,
            size_bytes=submission.size_bytes,
            content_sha256=submission.content_sha256,
            source_url=submission.source_url,
        )
        seconds = submission.duration_seconds
        return Job(
            job_id=job_id,
            account_id=principal.account_id,
            key_id=principal.key_id,
            state=JobState.QUEUED,
            stage=Stage.QUEUED,
            progress_percent=0,
            options=submission.options,
            recording=recording,
            price=self._price(submission),
            rerun=submission.rerun,
            hold=Hold(),
            created_at=beat.now,
            # a TTL counts whole seconds
            expires_at=(beat.now + _retention(kept_days, self._policy.retention)).replace(microsecond=0),
            delete_when_delivered=kept_days == 0,
            request_id=submission.request_id,
            drop_key=submission.drop_key,
            estimated_seconds=seconds if seconds is not None and math.isfinite(seconds) and seconds > 0 else None,
            webhook_url=submission.webhook_url,
            caps=Caps(
                max_millicredits=submission.max_millicredits,
                daily_limit_millicredits=principal.daily_limit_millicredits,
            ),
            sweep_at=beat.lease_expires_at,
        )

    def _price(self, submission: Submission) -> Price:
        prices, rerun = self._policy.prices, submission.rerun
        return prices.price_of(submission.options) if rerun is None else prices.price_of_stage(rerun.stage)


def _once(submission: Submission, idempotency_key: str | None) -> Once:
    """The submission as a request: what was asked for, not what it looked like when it was measured."""
    content = asdict(submission) | {"principal": None, "duration_seconds": None, "job_id": None}
    del content["request_id"], content["copy_key"]  # a request sent again has an id and a copy of its own
    if submission.content_sha256 is not None:
        content["stored_key"] = None  # the same bytes sent again lie somewhere else
    elif submission.stored_key is not None:
        content |= {"filename": None, "content_type": None, "size_bytes": None}  # of an upload, which never changes
    account_id = submission.principal.account_id
    return Once(account_id=account_id, idempotency_key=idempotency_key, operation="transcribe", content=content)


def _retention(days: int | None, most: timedelta) -> timedelta:
    """How long a job is kept: what was asked for, never longer than the deployment keeps anything."""
    if days is None:
        return most
    if timedelta(days=days) > most:
        raise InvalidRequest(f"'retention_days' must be 0 to {most.days}.", field="retention_days")
    return timedelta(days=max(days, 1))  # a day is left to fetch what was to be gone once delivered, and was not


def _first_hold_millicredits(job: Job) -> int:
    """What is held at submit: the estimate, or the least a job costs where there is none."""
    return job.estimated_millicredits or job.price.minimum_millicredits


def _check_max_credits(job: Job) -> None:
    most, amount = job.caps.max_millicredits, _first_hold_millicredits(job)
    if most is not None and amount > most:
        message = (
            f"This transcription requires {format_credits(amount)} credits; max_credits is {format_credits(most)}."
        )
        raise InvalidRequest(message, field="max_credits")
