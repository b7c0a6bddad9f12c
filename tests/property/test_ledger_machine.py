"""Random walks over everything that moves credits, with a crash, a failure or a replay after any call."""

from __future__ import annotations

import io
import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.adapters.dynamodb.credits import AlreadyPosted
from shared.adapters.failures import AWS_FAILURES
from shared.domain.accounts import Principal
from shared.domain.errors import JobFailure, RequestError, Stale
from shared.domain.idempotency import KEPT_FOR
from shared.domain.ids import AttemptId, JobId, KeyId
from shared.domain.jobs import Job, JobState, Progress, Run, Stage
from shared.domain.options import TranscriptionOptions
from shared.services.submissions import Submission
from tests.property.world import LEASE, Fault, Killed, Process, World

STEPS = int(os.environ.get("LEDGER_STEPS", "5000"))  # `make soak` walks 200,000
EXAMPLE_STEPS = 60
DURATIONS = st.sampled_from([None, 0.5, 6.0, 60.0, 61.0, 300.0])
NUMBERS = st.integers(0, 5)  # which of the newest
FAULTS = st.one_of(
    st.none(),
    st.tuples(st.sampled_from(list(Fault)), st.integers(0, 3)),
    st.none(),
    st.tuples(st.sampled_from(list(Fault)), st.integers(0, 11)),
)


@dataclass
class Known:
    """What the test knows of a submission that was answered."""

    answered: dict[str, tuple[str, datetime]] = field(default_factory=dict)  # idempotency key → job id, when


class LedgerMachine(RuleBasedStateMachine):
    """One account, its key, its jobs; a process that may die at any call."""

    steps = 0  # rules that did something: one that found no message or no job to act on is none
    seen: ClassVar[Counter[str]] = Counter()  # what the walks came by: a walk that meets nothing proves nothing

    def __init__(self) -> None:
        super().__init__()
        self.world = self.make_world()
        self.process: Process = self.world.process()
        self.known = Known()
        self.walked_away: list[tuple[Run, Job]] = []  # runs in mid-job, with the job as they last saw it
        self.runs = 0  # how many there were, each with a token of its own

    def make_world(self) -> World:
        """In-memory tables; the one on moto has others."""
        return World()

    @initialize(credits=st.integers(0, 80), daily_limit=st.sampled_from([None, None, 3_000]))
    def open_account(self, credits: int, daily_limit: int | None) -> None:  # noqa: A002 - the field's own word
        """An account with a few credits."""
        self.account_id = self.process.accounts.create("machine").account_id
        self.principal = Principal(
            account_id=self.account_id, key_id=KeyId("key-1"), daily_limit_millicredits=daily_limit
        )
        if credits:
            self.process.credits.grant(self.account_id, credits * 1_000, entry_id="grant#first")

    # ---- rules -----------------------------------------------------------------------------------------------------

    @rule(
        kind=st.sampled_from(["grant", "grant", "expire"]),
        number=st.integers(1, 20),
        amount=st.integers(1, 20_000),
        fault=FAULTS,
    )
    def adjust(self, kind: str, number: int, amount: int, fault: tuple[Fault, int] | None) -> None:
        """A grant or an expiry, some of them under an id that was posted before."""

        def post(process: Process) -> None:
            change = process.credits.grant if kind == "grant" else process.credits.expire
            change(self.account_id, amount, entry_id=f"{kind}#{number}")

        self._under(fault, post)

    @rule(
        duration=DURATIONS,
        key=st.sampled_from([None, "a", "b", "c"]),
        most=st.sampled_from([None, None, 500, 5_000]),
        content=st.sampled_from(["a", "x"]),
        reuse=st.sampled_from([True, True, False]),
        brings=st.sampled_from([None, None, None, "given-1", "given-2"]),
        fault=FAULTS,
    )
    def submit(
        self,
        *,
        duration: float | None,
        key: str | None,
        most: int | None,
        content: str,
        reuse: bool,
        brings: str | None,
        fault: tuple[Fault, int] | None,
    ) -> None:
        """A submission, often under an Idempotency-Key or with a job id of its own that was used before."""
        submission = Submission(
            principal=self.principal,
            options=TranscriptionOptions(),
            filename="a.wav",
            content_type="audio/wav",
            size_bytes=1,
            duration_seconds=duration,
            content_sha256=content,
            max_millicredits=most,
            reuse=reuse,
            job_id=None if brings is None else JobId(brings),
        )
        before = len(self.jobs())

        def send(process: Process) -> None:
            done = process.submissions.submit(submission, io.BytesIO(b"x"), idempotency_key=key)
            job_id = str(done.answer.body["id"])
            assert process.store.get(JobId(job_id)) is not None
            if done.replayed:
                LedgerMachine.seen["replayed"] += 1
                assert len(self.jobs()) == before, "a replay created a job"
            if key is not None:
                first_id, first_at = self.known.answered.get(key, (job_id, self.world.now))
                if self.world.now - first_at < KEPT_FOR:
                    assert job_id == first_id, "one key, two answers"
                    self.known.answered[key] = first_id, first_at
                else:
                    self.known.answered[key] = job_id, self.world.now

        self._under(fault, send)
        assert len(self.jobs()) <= before + 1

    @precondition(lambda self: self.world.messages("jobs"))
    @rule(number=NUMBERS, fault=FAULTS)
    def dispatch(self, number: int, fault: tuple[Fault, int] | None) -> None:
        """Any message of the jobs queue is delivered, again perhaps."""
        messages = self.world.messages("jobs")
        job_id = JobId(messages[-1 - number % len(messages)]["job_id"])
        self._under(fault, lambda p: p.jobs.dispatch(job_id))

    @precondition(lambda self: self.world.messages("work"))
    @rule(
        number=NUMBERS,
        real=st.sampled_from([0.0, 0.5, 60.0, 300.0, 900.0]),
        end=st.sampled_from(["complete", "complete", "complete", "fail", "give back", "walk away"]),
        fault=FAULTS,
    )
    def run(self, number: int, real: float, end: str, fault: tuple[Fault, int] | None) -> None:
        """Any message of the work queue is worked on, again perhaps."""
        messages = self.world.messages("work")
        message = messages[-1 - number % len(messages)]
        run = self._new_run(JobId(message["job_id"]), AttemptId(message["attempt_id"]))
        self._under(fault, lambda p: self._keep(run, _work(p, run, real, end)))

    @precondition(lambda self: self.world.messages("jobs"))
    @rule(
        number=NUMBERS,
        real=st.sampled_from([0.5, 60.0, 300.0]),
        end=st.sampled_from(["complete", "complete", "walk away", "walk away", "fail"]),
        fault=FAULTS,
    )
    def take_up(self, number: int, real: float, end: str, fault: tuple[Fault, int] | None) -> None:
        """A job goes its whole way in one step: dispatched, begun, and what comes of it."""
        waiting = [job for job in self.jobs() if job.state is JobState.QUEUED]
        if not waiting:
            return
        job_id = waiting[number % len(waiting)].job_id

        def go(process: Process) -> None:
            process.jobs.dispatch(job_id)
            job = process.store.get(job_id)
            assert job is not None
            if job.attempt is not None:
                run = self._new_run(job_id, job.attempt.attempt_id)
                self._keep(run, _work(process, run, real, end))

        self._under(fault, go)

    @precondition(lambda self: self.walked_away)
    @rule(
        number=NUMBERS,
        real=st.sampled_from([0.0, 60.0, 300.0, 900.0]),
        end=st.sampled_from(["complete", "complete", "fail", "give back"]),
        fault=FAULTS,
    )
    def go_on(self, number: int, real: float, end: str, fault: tuple[Fault, int] | None) -> None:
        """A worker goes on with the job as it knew it, whatever has become of the job since."""
        run, job = self.walked_away[-1 - number % len(self.walked_away)]
        self._under(fault, lambda p: _finish(p, run, job, (real, end)))

    @precondition(lambda self: self.walked_away)
    @rule(number=NUMBERS, percent=st.sampled_from([1, 40, 99]), cancelled=st.booleans(), fault=FAULTS)
    def report(self, number: int, percent: int, cancelled: bool, fault: tuple[Fault, int] | None) -> None:
        """A worker says how far it is; a cancellation costs a part from then on, and may come at once."""
        run, job = self.walked_away[-1 - number % len(self.walked_away)]

        def say(process: Process) -> None:
            known = process.jobs.report(job, run, Progress(stage=Stage.TRANSCRIBING, percent=percent))
            if cancelled:
                process.jobs.cancel(known)

        self._under(fault, say)

    def _new_run(self, job_id: JobId, attempt_id: AttemptId) -> Run:
        self.runs += 1
        return Run(job_id=job_id, attempt_id=attempt_id, run_token=str(self.runs))

    def _keep(self, run: Run, job: Job | None) -> None:
        if job is not None:
            self.walked_away.append((run, job))

    @rule(number=NUMBERS, fault=FAULTS)
    def cancel(self, number: int, fault: tuple[Fault, int] | None) -> None:
        """One of the newest jobs is cancelled."""
        jobs = self.jobs()
        if number < len(jobs):
            self._under(fault, lambda p: p.jobs.cancel(jobs[number]))

    @rule(
        seconds=st.sampled_from([1, 61, 121, 121, 90_000]),
        restarted=st.booleans(),
        fault=FAULTS,
    )
    def sweep(self, seconds: int, restarted: bool, fault: tuple[Fault, int] | None) -> None:
        """Time passes, in which another process may have taken over; the sweeper looks at what is due."""
        self.world.now += timedelta(seconds=seconds)
        if restarted:
            self.process = self.world.process()
        self._under(fault, lambda p: p.sweeps.run())

    # ---- what must always be true ----------------------------------------------------------------------------------

    @invariant()
    def adds_up(self) -> None:
        """available + held == Σ entries; no hold resolved twice; held is what live jobs hold."""
        self.world.faults.clear()
        if not hasattr(self, "account_id"):
            return
        jobs = self.jobs()
        held: dict[str, int] = {}
        entries = {entry.entry_id: entry for entry in self.process.credits._store.entries(self.account_id)}
        for job in jobs:
            found = [entries[entry_id] for entry_id in job.hold.entry_ids]
            amounts = [entry.held_after_millicredits - entry.held_before_millicredits for entry in found]
            assert sum(amounts) == job.hold.amount_millicredits
            held |= dict(zip(job.hold.entry_ids, amounts, strict=True))
        balance = self.process.credits.balance(self.account_id)
        assert balance.available_millicredits >= 0
        assert balance.held_millicredits == sum(held.values())
        self.process.check_ledger(self.account_id, sum(_used(job) for job in jobs), held)

    def teardown(self) -> None:
        """Left alone with the sweeper and two workers, every job ends, and nothing stays held."""
        self.world.faults.clear()
        for job in self.jobs():
            LedgerMachine.seen[job.state] += 1
            LedgerMachine.seen["reused"] += job.reused_from is not None
            LedgerMachine.seen["cancelled for a part"] += job.state is JobState.CANCELLED and _used(job) > 0
        entries = [entry.entry_id for entry in self.process.credits._store.entries(self.account_id)]
        LedgerMachine.seen["held again"] += sum(entry_id.endswith("#hold#2") for entry_id in entries)
        self.process = self.world.process()
        for _ in range(40):
            self.world.now += LEASE + timedelta(seconds=1)
            self.process.sweeps.run()
            for message in self.world.messages("jobs"):
                self.process.jobs.dispatch(JobId(message["job_id"]))
            for message in self.world.messages("work"):
                run = self._new_run(JobId(message["job_id"]), AttemptId(message["attempt_id"]))
                _try(lambda run=run: _work(self.process, run, 60.0, "complete"))
            if all(job.state.is_final and not job.owes_event for job in self.jobs()):
                break
        assert all(job.state.is_final and not job.owes_event for job in self.jobs())
        self.adds_up()

    # ---- inside ----------------------------------------------------------------------------------------------------

    def jobs(self) -> list[Job]:
        """Every job there is, read past the faults."""
        return self.world.process().store.recent(self.account_id, 1_000)

    def _under(self, fault: tuple[Fault, int] | None, action: object) -> None:
        assert callable(action)
        LedgerMachine.steps += 1
        if fault is not None:
            self.world.faults.plan(*fault)
        try:
            _try(lambda: action(self.process))
        except Killed:
            LedgerMachine.seen["killed"] += 1
            self.process = self.world.process()
        finally:
            self.world.faults.clear()


def _try(action: object) -> None:
    """Let a step end as it may: refused, stale, or with a failure of AWS that the caller would see."""
    assert callable(action)
    try:
        action()
    except (RequestError, Stale, AlreadyPosted, *AWS_FAILURES) as error:
        LedgerMachine.seen[type(error).__name__] += 1


def _work(process: Process, run: Run, real_seconds: float, end: str) -> Job | None:
    """What gpu_jobs/run.py does with a run; the job as it is when the worker walks away from it."""
    job = process.jobs.begin(run)
    if end == "walk away":
        return job
    _finish(process, run, job, (real_seconds, end))
    return None


def _finish(process: Process, run: Run, job: Job, how: tuple[float, str]) -> None:
    real_seconds, end = how
    try:
        job = process.jobs.ensure_hold(job, run, real_seconds)
    except JobFailure as failure:
        process.jobs.fail(job, failure, run)
        return
    if end == "fail":
        process.jobs.fail(job, JobFailure("audio_unreadable", "damaged"), run)
    elif end == "complete":
        process.bucket.put("r", b"a transcript", "application/gzip")
        process.jobs.complete(job, run, duration_seconds=real_seconds, result_key="r")
    elif end == "give back":
        process.jobs.give_back(job, run)


def _used(job: Job) -> int:
    if job.outcome is None:
        return 0
    if job.state is JobState.FAILED:
        assert job.outcome.used_millicredits == 0
    return job.outcome.used_millicredits


def test_whatever_happens_the_ledger_adds_up() -> None:
    LedgerMachine.steps = 0
    while LedgerMachine.steps < STEPS:
        run_state_machine_as_test(
            LedgerMachine,
            settings=settings(
                # A few at least: Hypothesis begins with the simplest walk, which does nothing, and may end there.
                max_examples=max(5, min(200, (STEPS - LedgerMachine.steps) // EXAMPLE_STEPS + 1)),
                stateful_step_count=EXAMPLE_STEPS,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    rare = (
        *("cancelled", "cancelled for a part", "reused", "replayed", "held again"),
        *("SpendLimitReached", "RequestInProgress", "AlreadyPosted", "Stale"),
    )
    expected = ("completed", "failed", "killed", *(rare if STEPS >= 50_000 else ()))
    assert all(LedgerMachine.seen[event] for event in expected), LedgerMachine.seen
    print(f"ledger machine: {LedgerMachine.steps} steps, which met {dict(LedgerMachine.seen)}")  # noqa: T201 - for `make soak`
