"""The bill at the end of the day: what must be true, each line with what was found."""

from __future__ import annotations

import json
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
from shared.domain.options import TranscriptionOptions
from tests.rehearsal.customers import Order
from tests.rehearsal.day import POISON, QUEUES, Day, job_ids
from tests.rehearsal.engine import checksum_engines
from tests.rehearsal.receiver import Taken
from tests.rehearsal.weather import REPOSITORY


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


def judge(day: Day) -> list[Line]:
    """Look at everything the day left."""
    results = _results(day)
    return [
        _nothing_lost(day),
        _all_ended(day),
        _right_words(day, results),
        _right_failures(day, results),
        *_money(day, results),
        _ledger(day),
        *_webhooks(day, results),
        _poison(day),
        _queues_empty(day),
        _nothing_owed(day),
    ]


def _results(day: Day) -> dict[int, dict[str, Any]]:
    """What each customer gets for its order."""
    found = {}
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {day.stack.ready['api_key']}"
        for number, job_id in day.customers.sent.jobs.items():
            url = f"{day.stack.ready['base_url']}/api/v1/transcribe/{job_id}/"
            found[number] = session.get(url, timeout=60).json()
    return found


def _line(claim: str, found: str, problems: list[str]) -> Line:
    return Line(claim=claim, found=found, problems=tuple(problems[:5]))


def _nothing_lost(day: Day) -> Line:
    sent, there = day.customers.sent, job_ids(day)
    mine = set(sent.jobs.values())
    problems = list(sent.refused)
    problems += [f"job {each} is gone" for each in mine - set(there)]
    problems += [f"job {each} was made for nobody" for each in set(there) - mine]
    if len(mine) != len(sent.jobs) or len(there) != len(set(there)):
        problems.append("two orders have one job")
    return _line("no job lost, none made twice", f"{len(there)} jobs for {len(day.orders)} orders", problems)


def _all_ended(day: Day) -> Line:
    states = day.states()
    stuck = {state: count for state, count in states.items() if state not in {"completed", "failed"}}
    return _line("none stuck", _told(states), [f"{count} are {state}" for state, count in stuck.items()])


def _expected(order: Order) -> str:
    """The transcript that the same pipeline makes of the order where nothing fails."""
    pipeline = SpeechPipeline(checksum_engines(longest_pause_seconds=0.0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recording")
        path.write_bytes(order.recording)
        transcript = pipeline.transcribe(path, TranscriptionOptions(), lambda *_: None)
    return " ".join(segment.text for segment in transcript.segments)


def _right_words(day: Day, results: dict[int, dict[str, Any]]) -> Line:
    problems, right = [], 0
    for order in day.orders:
        result = results.get(order.number, {})
        if result.get("status") != "completed":
            continue
        if result["transcript"].split() != _expected(order).split():
            problems.append(f"order {order.number} got {result['transcript'][:60]!r}")
        right += 1
    return _line("every transcript is its recording's", f"{right} transcripts", problems)


def _right_failures(day: Day, results: dict[int, dict[str, Any]]) -> Line:
    broken = {order.number for order in day.orders if order.breaks}
    failed = {number: result for number, result in results.items() if result.get("status") == "failed"}
    problems = [f"order {n} failed: {failed[n]['error_message']}" for n in failed.keys() - broken]
    problems += [f"order {n} should have failed" for n in broken - failed.keys() if n in results]
    return _line("only those the engine breaks on failed", f"{len(failed)} failed", problems)


def _money(day: Day, results: dict[int, dict[str, Any]]) -> Iterator[Line]:
    problems = []
    for number, result in results.items():
        job = day.services.jobs.look_up(day.customers.sent.jobs[number])  # type: ignore[arg-type]
        assert job is not None
        wanted = job.price.charge(result["duration_seconds"]) if result["status"] == "completed" else 0
        if result.get("credits_used", 0) != to_credits(wanted):
            problems.append(f"order {number}: {result.get('credits_used')} credits, not {to_credits(wanted)}")
    yield _line("each job costs what its recording costs", f"{len(results)} receipts", problems)
    balance = day.services.credits.balance(day.account_id)
    spent = CREDITS_MILLICREDITS - balance.available_millicredits
    used = sum(round(1000 * result.get("credits_used", 0)) for result in results.values())
    problems = [] if spent == used else [f"{to_credits(spent)} credits are gone, the jobs used {to_credits(used)}"]
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


def _webhooks(day: Day, results: dict[int, dict[str, Any]]) -> Iterator[Line]:
    taken: dict[tuple[str, str], list[Taken]] = defaultdict(list)
    for each in list(day.receiver.received.taken):
        taken[each.path, each.body["id"]].append(each)
    problems, delivered, again = [], 0, 0
    for path in ("/job", "/endpoint"):
        for number, job_id in day.customers.sent.jobs.items():
            came = taken.pop((path, job_id), [])
            wanted = f"msg_{job_id.replace('-', '')}_{results[number]['status']}"
            if not came:
                problems.append(f"order {number}: nothing came to {path}")
            elif {each.message_id for each in came} != {wanted}:
                problems.append(f"order {number}: {path} got ids {sorted({each.message_id for each in came})}")
            elif len({json.dumps(each.body, sort_keys=True) for each in came}) > 1:
                problems.append(f"order {number}: {path} got different bodies under one id")
            delivered, again = delivered + bool(came), again + max(0, len(came) - 1)
    problems += [f"somebody else's job {job_id} came to {path}" for path, job_id in taken]
    told = f"{delivered} arrived, {again} of them again, {sum(day.receiver.received.answers.values())} requests"
    yield _line("every webhook arrived, twice only under one id", told, problems)
    wrong = [each for each in day.receiver.received.taken if each.path == "/endpoint" and not _is_signed(day, each)]
    yield _line(
        "every message is signed", f"{len(day.receiver.received.taken)} messages", [e.message_id for e in wrong]
    )


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


def _nothing_owed(day: Day) -> Line:
    """No event unpublished, no delivery pending, no endpoint given up."""
    problems = []
    for number, job_id in day.customers.sent.jobs.items():
        job = day.services.jobs.look_up(job_id)  # type: ignore[arg-type]
        if job is not None and job.owes_event:
            problems.append(f"order {number}'s event was never published")
    if pending := day.pending_deliveries():
        problems.append(f"{pending} deliveries are pending")
    endpoints = day.services.endpoints.of_account(day.account_id)
    problems += [f"endpoint {each.endpoint_id} was disabled" for each in endpoints if not each.is_enabled]
    return _line("nothing is owed to anybody", "events, deliveries, endpoints", problems)


def _told(counts: Any) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
