"""Transactions that meet others on the same items."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from shared.adapters.aws import AwsClients
from shared.adapters.dynamodb import transactions
from shared.adapters.dynamodb.transactions import (
    CONFLICT_SECONDS,
    SINGLE_WRITE_TRIES,
    Refused,
    TooMuchContention,
    Write,
    transact,
)

WRITES = [Write(name="balance", item={"Put": {}}), Write(name="usage", item={"Put": {}})]
REQUEST_SECONDS = 29.0  # API Gateway's


class Table:
    """Answers each transaction with the next of ``answers``: why it was cancelled, or None when it went through."""

    def __init__(self, *answers: tuple[str, ...] | str | None) -> None:
        self._answers = list(answers)
        self.calls = 0

    def transact_write_items(self, **_: Any) -> None:
        """TransactWriteItems."""
        answer = self._answers[min(self.calls, len(self._answers) - 1)]
        self.calls += 1
        if isinstance(answer, str):
            raise ClientError({"Error": {"Code": answer, "Message": ""}}, "TransactWriteItems")
        if answer is not None:
            response: Any = {
                "Error": {"Code": "TransactionCanceledException", "Message": ""},
                "CancellationReasons": [{"Code": code} for code in answer],
            }
            raise ClientError(response, "TransactWriteItems")


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited, without waiting."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)
    clock = SimpleNamespace(sleep=found.append, monotonic=lambda: sum(found))
    monkeypatch.setattr(transactions, "time", clock)
    return found


def send(table: Table) -> None:
    client: Any = table
    transact(client, WRITES)


@pytest.mark.parametrize(
    "conflict",
    [("TransactionConflict", "None"), ("None", "ThrottlingError"), "TransactionInProgressException"],
)
def test_a_conflict_is_waited_out_and_tried_again(conflict: tuple[str, ...] | str, pauses: list[float]) -> None:
    table = Table(conflict, conflict, None)
    send(table)
    assert table.calls == 3
    assert len(pauses) == 2


def test_waits_are_random_so_that_those_who_met_do_not_meet_again(pauses: list[float]) -> None:
    for _ in range(5):
        send(Table(("TransactionConflict", "None"), None))
    assert len(set(pauses)) == 5


def test_it_gives_up_within_the_time_of_a_request(pauses: list[float]) -> None:
    table = Table(("TransactionConflict", "None"))
    with pytest.raises(TooMuchContention):
        send(table)
    assert table.calls > 100
    assert sum(pauses) <= CONFLICT_SECONDS < REQUEST_SECONDS / 2


def test_who_has_lost_often_waits_less_so_that_newcomers_do_not_overtake_for_ever(pauses: list[float]) -> None:
    conflict = ("TransactionConflict", "None")
    for _ in range(50):
        send(Table(*[conflict] * 20, None))
    first, last = (statistics.mean(pauses[number::20]) for number in (0, 19))
    assert last < first / 5


def test_a_refusal_beside_a_conflict_proves_nothing_and_is_asked_about_again() -> None:
    table = Table(("TransactionConflict", "ConditionalCheckFailed"), None)
    send(table)
    assert table.calls == 2


def test_a_refusal_alone_is_final_and_named() -> None:
    table = Table(("None", "ConditionalCheckFailed"))
    with pytest.raises(Refused) as caught:
        send(table)
    assert table.calls == 1
    assert caught.value.refused == {"usage": {}}


@pytest.mark.parametrize("failure", ["ProvisionedThroughputExceededException", "AccessDeniedException"])
def test_any_other_failure_is_the_caller_s(failure: str) -> None:
    table = Table(failure)
    with pytest.raises(ClientError):
        send(table)
    assert table.calls == 1


class Wire:
    """Stands where botocore sends: refuses the first ``conflicts`` writes as AWS does while a transaction is on."""

    def __init__(self, conflicts: int) -> None:
        self._conflicts = conflicts
        self.calls = 0

    def __call__(self, **_: Any) -> AWSResponse:
        """The answer to one request."""
        self.calls += 1
        conflict = self.calls <= self._conflicts
        body = b'{"__type": "com.amazonaws.dynamodb.v20120810#TransactionConflictException"}' if conflict else b"{}"
        headers: Any = {}
        return AWSResponse("https://aws.test", 400 if conflict else 200, headers, Raw(body))


class Raw(io.BytesIO):
    """A body as urllib3 hands it over."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        """All of it."""
        yield self.getvalue()


def put_over(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A single write by a client of ours."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client: Any = AwsClients().dynamodb
    client.meta.events.register("before-send.dynamodb", wire)
    client.put_item(TableName="t", Item={"id": {"S": "x"}})


def test_a_single_write_that_meets_a_transaction_is_sent_again(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    wire = Wire(conflicts=3)
    put_over(wire, monkeypatch)
    assert wire.calls == 4
    assert len(pauses) == 3


def test_a_single_write_that_only_meets_transactions_fails_in_time(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    wire = Wire(conflicts=1_000)
    with pytest.raises(ClientError, match="TransactionConflict"):
        put_over(wire, monkeypatch)
    assert wire.calls == SINGLE_WRITE_TRIES
    assert sum(pauses) < REQUEST_SECONDS / 2
