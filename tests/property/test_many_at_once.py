"""Many threads on one account. Each has a process of its own, so that nothing but the tables keeps them apart."""

from __future__ import annotations

import io
import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.accounts import Principal
from shared.domain.errors import InsufficientCredits, RequestError, RequestInProgress, SpendLimitReached, Stale
from shared.domain.idempotency import LEASE as CLAIM_LEASE
from shared.domain.ids import AccountId, AttemptId, JobId, KeyId
from shared.domain.job_rules import MAX_RUNS
from shared.domain.jobs import Job, JobState, Progress, Run, Stage
from shared.domain.options import TranscriptionOptions
from shared.services.submissions import Submission
from tests.property.memory_dynamodb import MemoryDynamoDB
from tests.property.world import (
    INDEXES,
    LEASE,
    TABLES,
    Clients,
    Fault,
    Faults,
    Killed,
    MemoryBucket,
    MemoryBus,
    Process,
    World,
)

THREADS = 50
ONE_CREDIT_SECONDS = 60.0


class LockedDynamoDB:
    """The in-memory DynamoDB, one call at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inner = MemoryDynamoDB(TABLES, INDEXES)

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._inner, name)
        if name == "get_paginator":
            return operation

        def call(**named: Any) -> Any:
            with self._lock:
                return operation(**named)

        return call


@pytest.fixture
def world() -> World:
    """A world whose tables many may use."""
    made = World()
    made.clients = Clients(dynamodb=LockedDynamoDB(), s3=MemoryBucket(), sqs=made.queues, events=MemoryBus())
    return made


@pytest.fixture
def account_id(world: World) -> AccountId:
    """An account with 300 credits."""
    process = world.process()
    account_id = process.accounts.create("Ada").account_id
    process.credits.grant(account_id, 300_000, entry_id="grant")
    return account_id


def submission(account_id: AccountId, daily_limit_millicredits: int | None = None) -> Submission:
    """A recording that costs one credit."""
    principal = Principal(
        account_id=account_id, key_id=KeyId("key-1"), daily_limit_millicredits=daily_limit_millicredits
    )
    return Submission(
        principal=principal,
        options=TranscriptionOptions(),
        filename="a.wav",
        content_type="audio/wav",
        size_bytes=1,
        duration_seconds=ONE_CREDIT_SECONDS,
        content_sha256="x",
    )


def together(action: Callable[[int], str]) -> Counter[str]:
    """Do it in many threads at once; how often each outcome came."""
    barrier = threading.Barrier(THREADS)

    def start(number: int) -> list[str]:
        barrier.wait()
        return [action(number * 12 + turn) for turn in range(12)]

    with ThreadPoolExecutor(THREADS) as pool:
        return Counter(outcome for outcomes in pool.map(start, range(THREADS)) for outcome in outcomes)


def test_of_600_submits_for_300_credits_exactly_300_are_taken(world: World, account_id: AccountId) -> None:
    processes = [world.process() for _ in range(THREADS)]

    def submit(number: int) -> str:
        try:
            processes[number // 12].submissions.submit(submission(account_id), io.BytesIO(b"x"))
        except InsufficientCredits:
            return "402"
        return "202"

    assert together(submit) == {"202": 300, "402": 300}
    balance = world.process().credits.balance(account_id)
    assert (balance.available_millicredits, balance.held_millicredits) == (0, 300_000)
    assert world.process().credits.verify(account_id).entries == 301


def test_the_same_with_a_tenth_of_the_workers_killed_in_mid_job(world: World, account_id: AccountId) -> None:
    processes = [world.process() for _ in range(THREADS)]
    chance, accepted, deaths = random.Random(7), itertools.count(), Counter[str]()

    def submit_and_work(number: int) -> str:
        process = processes[number // 12]
        try:
            done = process.submissions.submit(submission(account_id), io.BytesIO(b"x"))
        except InsufficientCredits:
            return "402"
        job_id = JobId(str(done.answer.body["id"]))
        process.jobs.dispatch(job_id)
        worker = MortalProcess(world)
        if next(accepted) % 10 == 0:
            worker.faults.plan(chance.choice([Fault.KILLED_BEFORE, Fault.KILLED_AFTER]), chance.randrange(6))
        message = next(number for number, sent in enumerate(world.messages("work")) if sent["job_id"] == job_id)
        deaths[work(worker, message, "first")] += 1
        return "202"

    assert together(submit_and_work) == {"202": 300, "402": 300}
    assert deaths == {"done": 270, "killed": 30}
    process = world.process()
    for _ in range(5):
        world.now += LEASE + timedelta(seconds=1)
        process.sweeps.run()
        for message in world.messages("jobs"):
            process.jobs.dispatch(JobId(message["job_id"]))
        for number in range(len(world.messages("work"))):
            work(process, number, "later")
    ended = process.store.recent(account_id, 1_000)
    assert Counter(job.state for job in ended) == {JobState.COMPLETED: 300}
    assert not any(job.owes_event for job in ended)
    balance = process.credits.balance(account_id)
    assert (balance.available_millicredits, balance.held_millicredits) == (0, 0)
    process.check_ledger(account_id, 300_000, {})


def work(process: Process, number: int, run_token: str) -> str:
    """What a worker does with the n-th message of the work queue."""
    messages = process.world.messages("work")
    if number >= len(messages):
        return "nothing to do"
    message = messages[number]
    run = Run(
        job_id=JobId(message["job_id"]), attempt_id=AttemptId(message["attempt_id"]), run_token=f"{run_token} {number}"
    )
    try:
        job = process.jobs.begin(run)
        job = process.jobs.ensure_hold(job, run, ONE_CREDIT_SECONDS)
        process.jobs.complete(job, run, duration_seconds=ONE_CREDIT_SECONDS, result_key="r")
    except Killed:
        return "killed"
    except Stale:
        return "stale"
    return "done"


class MortalProcess(Process):
    """A process with faults of its own: what befalls it befalls no other."""

    def __init__(self, world: World) -> None:
        self.faults = Faults()
        super().__init__(world, self.faults)


def test_one_idempotency_key_sent_by_all_at_once_makes_one_job(world: World, account_id: AccountId) -> None:
    processes = [world.process() for _ in range(THREADS)]

    def submit(number: int) -> str:
        try:
            done = processes[number // 12].submissions.submit(
                submission(account_id), io.BytesIO(b"x"), idempotency_key="the-same"
            )
        except RequestInProgress:
            return "409"
        return str(done.answer.body["id"])

    outcomes = together(submit)
    ids = set(outcomes) - {"409"}
    assert len(ids) == 1, outcomes
    assert [job.job_id for job in world.process().store.recent(account_id, 10)] == list(ids)
    assert world.process().credits.balance(account_id).held_millicredits == 1_000


def test_a_request_so_slow_that_its_claim_ran_out_creates_nothing_and_gives_the_other_s_answer(
    world: World, account_id: AccountId
) -> None:
    slow, fast = world.process(), world.process()
    answers: list[object] = []

    class SlowBody(io.BytesIO):
        """While it is read, the claim runs out and the client's second try is carried out."""

        def read(self, size: int | None = -1) -> bytes:
            world.now += CLAIM_LEASE + timedelta(seconds=1)
            done = fast.submissions.submit(submission(account_id), io.BytesIO(b"x"), idempotency_key="k")
            answers.append(done.answer)
            return super().read(size)

    done = slow.submissions.submit(submission(account_id), SlowBody(b"x"), idempotency_key="k")

    assert done.replayed
    assert [done.answer] == answers
    assert len(world.process().store.recent(account_id, 10)) == 1
    assert world.process().credits.balance(account_id).held_millicredits == 1_000


def test_a_submission_that_brings_its_job_id_makes_one_job_however_often_it_is_sent(
    world: World, account_id: AccountId
) -> None:
    processes = [world.process() for _ in range(THREADS)]
    dear = replace(submission(account_id), job_id=JobId("given"), duration_seconds=300 * ONE_CREDIT_SECONDS)

    def submit(number: int) -> str:
        done = processes[number // 12].submissions.submit(dear, io.BytesIO(b"x"))
        return "replayed" if done.replayed else "new"

    assert together(submit) == {"new": 1, "replayed": 599}, "the first took all credits; no other may be refused"
    assert world.clients.s3.objects, "nobody deleted the audio"
    assert world.process().credits.verify(account_id).entries == 2


def test_a_reused_answer_that_brings_its_job_id_is_one_job_too(world: World, account_id: AccountId) -> None:
    process = world.process()
    process.submissions.submit(submission(account_id), io.BytesIO(b"x"))
    process.jobs.dispatch(JobId(world.messages("jobs")[0]["job_id"]))
    process.bucket.put("r", b"words", "text/plain")
    assert work(process, 0, "first") == "done"
    again = replace(submission(account_id), job_id=JobId("given"), reuse=True)

    answers = [process.submissions.submit(again, io.BytesIO(b"x")).answer for _ in range(2)]

    assert answers[0] == answers[1]
    assert answers[0].body["id"] == "given"
    assert len(process.store.recent(account_id, 10)) == 2


def test_a_reused_answer_whose_write_was_sent_twice_keeps_its_result(world: World, account_id: AccountId) -> None:
    process = world.process()
    process.submissions.submit(submission(account_id), io.BytesIO(b"x"))
    process.jobs.dispatch(JobId(world.messages("jobs")[0]["job_id"]))
    process.bucket.put("r", b"words", "text/plain")
    assert work(process, 0, "first") == "done"
    quiet = len(world.faults.calls)
    process.submissions.submit(replace(submission(account_id), reuse=True), io.BytesIO(b"x"), idempotency_key="k1")
    calls = world.faults.calls[quiet:]

    world.faults.plan(Fault.SENT_TWICE, calls.index("transact_write_items"))
    again = replace(submission(account_id), reuse=True)
    done = process.submissions.submit(again, io.BytesIO(b"x"), idempotency_key="k2")

    assert not done.replayed
    assert done.job is not None
    assert done.job.outcome is not None
    assert process.bucket.get(str(done.job.outcome.result_key)) == b"words"


def test_a_key_s_daily_limit_holds_against_all_at_once(world: World, account_id: AccountId) -> None:
    processes = [world.process() for _ in range(THREADS)]

    def submit(number: int) -> str:
        try:
            processes[number // 12].submissions.submit(submission(account_id, 25_000), io.BytesIO(b"x"))
        except SpendLimitReached:
            return "429"
        return "202"

    assert together(submit) == {"202": 25, "429": 575}


def test_the_submit_rate_holds_against_all_at_once(world: World, account_id: AccountId) -> None:
    world.submits_per_minute = 40
    processes = [world.process() for _ in range(THREADS)]

    def submit(number: int) -> str:
        try:
            processes[number // 12].submissions.submit(submission(account_id), io.BytesIO(b"x"))
        except RequestError as error:
            return error.code
        return "202"

    assert together(submit) == {"202": 40, "rate_limited": 560}


def test_a_run_that_is_heard_of_just_as_the_sweeper_gives_it_up_goes_on(world: World, account_id: AccountId) -> None:
    process = world.process()
    process.submissions.submit(submission(account_id), io.BytesIO(b"x"))
    process.jobs.dispatch(JobId(world.messages("jobs")[0]["job_id"]))
    message = world.messages("work")[0]
    job_id, attempt_id = JobId(message["job_id"]), AttemptId(message["attempt_id"])
    for number in range(MAX_RUNS):
        run = Run(job_id=job_id, attempt_id=attempt_id, run_token=f"run {number}")
        job = process.jobs.begin(run)
        world.now += LEASE + timedelta(seconds=1)
    worker, look = world.process(), process.store.get

    def look_and_be_overtaken(wanted: JobId) -> Job | None:
        """Right after the sweeper has read the job its last run says how far it is."""
        seen = look(wanted)
        process.store.__dict__.pop("get", None)
        worker.jobs.report(job, run, Progress(stage=Stage.TRANSCRIBING, percent=50))
        return seen

    process.store.__dict__["get"] = look_and_be_overtaken
    process.sweeps.run()

    assert worker.jobs.complete(worker.jobs.look_up(job_id) or job, run, duration_seconds=60.0, result_key="r")
    assert process.store.recent(account_id, 1)[0].state is JobState.COMPLETED
