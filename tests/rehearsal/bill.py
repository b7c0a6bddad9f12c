"""The bill at the end of the day: what must be true, each line with what was found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from gpu_jobs.pipeline import SpeechPipeline
from infra.local.demo_account import CREDITS_MILLICREDITS
from shared.domain.amounts import to_credits
from shared.domain.endpoints import Secret, sign
from shared.domain.ids import JobId
from shared.domain.options import TranscriptionOptions
from tests.rehearsal.customers import Door, Order
from tests.rehearsal.day import POISON, QUEUES, Day, listed_jobs
from tests.rehearsal.engine import checksum_engines
from tests.rehearsal.receiver import Taken
from tests.rehearsal.weather import REPOSITORY

MOST_SECONDS = 5.0  # no recording is longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that must be true. ``problems`` names what is not, a few at most."""

    claim: str
    found: str
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it is."""
        return not self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An order and what became of it."""

    order: Order
    job_id: str
    result: dict[str, Any]

    @property
    def status(self) -> str:
        """On the wire."""
        return str(self.result.get("status"))


def judge(day: Day) -> list[Line]:
    """Look at everything the day left."""
    jobs = listed_jobs(day)
    outcomes = _outcomes(day, jobs)
    return [
        _nothing_lost(day, jobs),
        _all_ended(outcomes),
        _right_words(outcomes),
        _right_failures(outcomes),
        *_money(day, outcomes),
        _ledger(day),
        *_webhooks(day, outcomes),
        _drop_folder(day, outcomes),
        _poison(day),
        _queues_empty(day),
        _nothing_owed(day, outcomes),
    ]


def _outcomes(day: Day, jobs: list[dict[str, Any]]) -> list[Outcome]:
    """What each customer gets for its order."""
    dropped = {job["filename"]: job["id"] for job in jobs if job["source"] == "drop"}
    found = []
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {day.stack.ready['api_key']}"
        for order in day.orders:
            job_id = day.customers.sent.jobs.get(order.number) or dropped.get(order.file_name)
            if job_id is not None:
                url = f"{day.stack.ready['base_url']}/api/v1/transcribe/{job_id}/"
                found.append(Outcome(order=order, job_id=job_id, result=session.get(url, timeout=60).json()))
    return found


def _line(claim: str, found: str, problems: list[str]) -> Line:
    return Line(claim=claim, found=found, problems=tuple(problems[:5]))


def _nothing_lost(day: Day, jobs: list[dict[str, Any]]) -> Line:
    sent, problems = day.customers.sent, list(day.customers.sent.refused)
    times = Counter(job["filename"] for job in jobs)
    wrong = [order for order in day.orders if times.pop(order.file_name, 0) != 1]
    problems += [f"order {order.number} ({order.door}) has not one job" for order in wrong]
    problems += [f"job {each} is gone" for each in set(sent.jobs.values()) - {job["id"] for job in jobs}]
    problems += [f"a job was made of {name}" for name in times]
    return _line("no job lost, none made twice", f"{len(jobs)} jobs for {len(day.orders)} orders", problems)


def _all_ended(outcomes: list[Outcome]) -> Line:
    stuck = [each for each in outcomes if each.status not in {"completed", "failed", "cancelled"}]
    problems = [f"order {each.order.number} is {each.result}" for each in stuck]
    return _line("none stuck", _told(Counter(each.status for each in outcomes)), problems)


def _expected(order: Order) -> str:
    """The transcript that the same pipeline makes of the order where nothing fails."""
    pipeline = SpeechPipeline(checksum_engines(longest_pause_seconds=0.0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recording")
        path.write_bytes(order.recording)
        transcript = pipeline.transcribe(path, TranscriptionOptions(), lambda *_: None)
    return " ".join(segment.text for segment in transcript.segments)


def _right_words(outcomes: list[Outcome]) -> Line:
    completed = [each for each in outcomes if each.status == "completed"]
    wrong = [each for each in completed if each.result["transcript"].split() != _expected(each.order).split()]
    problems = [f"order {each.order.number} got {each.result['transcript'][:60]!r}" for each in wrong]
    return _line("every transcript is its recording's", f"{len(completed)} transcripts", problems)


def _right_failures(outcomes: list[Outcome]) -> Line:
    """Nothing that was done to it is the customer's loss: only what the engine cannot do fails."""
    problems, failed = [], [each for each in outcomes if each.status == "failed"]
    for each in outcomes:
        number = each.order.number
        if each.status == "failed" and not each.order.breaks:
            problems.append(f"order {number} failed: {each.result['error_message']}")
        if each.status == "completed" and each.order.breaks:
            problems.append(f"order {number} should have failed")
        if each.status == "cancelled" and each.order.regret_seconds is None:
            problems.append(f"order {number} was cancelled by nobody")
    return _line("only those the engine breaks on failed", f"{len(failed)} failed", problems)


def _money(day: Day, outcomes: list[Outcome]) -> Iterator[Line]:
    problems, used_millicredits = [], 0
    for each in outcomes:
        job = day.services.jobs.look_up(JobId(each.job_id))
        assert job is not None
        used = round(1000 * each.result.get("credits_used", 0))
        whole = job.price.charge(each.result.get("duration_seconds") or MOST_SECONDS)
        right = {"completed": range(whole, whole + 1), "failed": range(1), "cancelled": range(whole + 1)}
        if used not in right.get(each.status, range(0)):
            problems.append(
                f"order {each.order.number}, {each.status}: {to_credits(used)} credits of {to_credits(whole)}"
            )
        used_millicredits += used
    yield _line("each job costs what its recording costs", f"{len(outcomes)} receipts", problems)
    balance = day.services.credits.balance(day.account_id)
    spent = CREDITS_MILLICREDITS - balance.available_millicredits
    different = [f"{to_credits(spent)} credits are gone, the jobs used {to_credits(used_millicredits)}"]
    problems = different if spent != used_millicredits else []
    yield _line("the account paid for its jobs and nothing else", f"{to_credits(spent)} credits", problems)
    held = to_credits(balance.held_millicredits)
    yield _line("no credits are held", f"{held} held", [f"{held} are held"] if held else [])


def _ledger(day: Day) -> Line:
    command = [
        sys.executable,
        "-m",
        "infra.admin",
        "--ready-file",
        str(day.stack.ready_file),
        "ledger",
        "verify",
        "--all",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()
    return _line("ledger verify --all", last, [] if done.returncode == 0 else [f"exit status {done.returncode}"])


def _webhooks(day: Day, outcomes: list[Outcome]) -> Iterator[Line]:
    taken: dict[tuple[str, str], list[Taken]] = defaultdict(list)
    for message in list(day.receiver.received.taken):
        taken[message.path, message.body["id"]].append(message)
    problems, delivered, again = [], 0, 0
    for each in outcomes:
        wanted = re.compile(f"msg_{each.job_id.replace('-', '')}_[0-9]+_{each.status}")
        for path in ("/endpoint",) if each.order.door is Door.DROP else ("/job", "/endpoint"):
            came = taken.pop((path, each.job_id), [])
            if not came:
                problems.append(f"order {each.order.number}: nothing came to {path}")
            elif not all(map(wanted.fullmatch, ids := {one.message_id for one in came})) or len(ids) > 1:
                problems.append(f"order {each.order.number}: {path} got {sorted(ids)}")
            elif len({json.dumps(one.body, sort_keys=True) for one in came}) > 1:
                problems.append(f"order {each.order.number}: {path} got different bodies under one id")
            delivered, again = delivered + bool(came), again + max(0, len(came) - 1)
    problems += [f"somebody else's job {job_id} came to {path}" for path, job_id in taken]
    told = f"{delivered} arrived, {again} of them again, {sum(day.receiver.received.answers.values())} requests"
    yield _line("every webhook arrived, twice only under one id", told, problems)
    wrong = [one for one in day.receiver.received.taken if one.path == "/endpoint" and not _is_signed(day, one)]
    yield _line(
        "every message is signed", f"{len(day.receiver.received.taken)} messages", [o.message_id for o in wrong]
    )


def _drop_folder(day: Day, outcomes: list[Outcome]) -> Line:
    """Each recording of the folder has its answer beside it."""
    prefix, pages = f"drop/{day.account_id}/", day.stack.client("s3").get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=day.stack.ready["bucket"], Prefix=prefix)
    names = {each["Key"].removeprefix(prefix) for page in found for each in page.get("Contents", [])}
    dropped = [each for each in outcomes if each.order.door is Door.DROP]
    answers = {"completed": ".json", "failed": ".error.json"}
    problems = [
        f"order {each.order.number} has no {answers.get(each.status)} beside it"
        for each in dropped
        if each.order.file_name + answers.get(each.status, "?") not in names
    ]
    return _line("dropped recordings have their answers beside them", f"{len(dropped)} dropped", problems)


def _is_signed(day: Day, taken: Taken) -> bool:
    at = datetime.fromtimestamp(int(taken.headers["webhook-timestamp"]), UTC)
    wanted = sign((Secret(text=day.endpoint_secret),), taken.message_id, at, taken.raw)
    return taken.headers["webhook-signature"] == wanted


def _poison(day: Day) -> Line:
    """Every poisoned message is in its dead-letter queue, and nothing else is in one."""
    sqs, problems, count = day.stack.client("sqs"), [], 0
    for name in QUEUES:
        url, bodies = day.queue_url(f"{name}DeadLetter"), Counter[str]()
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies[message["Body"]] += 1
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        count += sum(bodies.values())
        poison = set(POISON) if name in day.size.poisoned else set()
        problems += [f"{name}: {body!r} is not in its dead-letter queue" for body in poison - set(bodies)]
        problems += [f"{name}: {body[:80]!r} is in the dead-letter queue" for body in set(bodies) - poison]
    return _line("dead-letter queues hold the poison and nothing else", f"{count} messages", problems)


def _queues_empty(day: Day) -> Line:
    left = {name: day.waiting(name) for name in QUEUES}
    return _line("nothing waits in a queue", _told(left), [f"{n} in {name}" for name, n in left.items() if n])


def _nothing_owed(day: Day, outcomes: list[Outcome]) -> Line:
    """No event unpublished, no delivery pending, no endpoint given up."""
    problems = []
    for each in outcomes:
        job = day.services.jobs.look_up(JobId(each.job_id))
        if job is not None and job.owes_event:
            problems.append(f"order {each.order.number}'s event was never published")
    if pending := day.pending_deliveries():
        problems.append(f"{pending} deliveries are pending")
    endpoints = day.services.endpoints.of_account(day.account_id)
    problems += [f"endpoint {each.endpoint_id} was disabled" for each in endpoints if not each.is_enabled]
    return _line("nothing is owed to anybody", "events, deliveries, endpoints", problems)


def _told(counts: Any) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
