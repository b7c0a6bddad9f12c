"""What the rehearsal does to a stack is what AWS does on a bad day: botocore knows each fault by its name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore import httpsession
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from tests.infra.small_stack import SmallStack, token
from tests.rehearsal import faults
from tests.rehearsal.faults import Storm
from tests.rehearsal.weather import Weather

FAULTS = [(service, name) for service, kinds in faults.FAULTS.items() for name, _ in kinds]
SAID = {  # by botocore, of those that come with an answer
    ("dynamodb", "throughput exceeded"): "ProvisionedThroughputExceededException",
    ("dynamodb", "throttled"): "ThrottlingException",
    ("dynamodb", "internal error"): "InternalServerError",
    ("dynamodb", "transaction throttled"): "TransactionCanceledException",
    ("dynamodb", "transaction in conflict"): "TransactionCanceledException",
    ("s3", "slow down"): "SlowDown",
    ("s3", "internal error"): "InternalError",
    ("sqs", "internal error"): "InternalError",
    ("events", "internal error"): "InternalException",
}
BROKEN = {"reset": ConnectionClosedError, "timed out": ReadTimeoutError}


@pytest.fixture
def weather(tmp_path: Path) -> Weather:
    made = Weather.make(tmp_path, seed=1)
    made.break_loose()
    return made


@contextmanager
def failing(weather: Weather, service: str, name: str, *, times: int) -> Iterator[None]:
    """The next calls of the service fail so, then it is well."""
    fault, left = dict(faults.FAULTS[service])[name], Counter({service: times})
    send = httpsession.URLLib3Session.send

    def fail_or_send(session: Any, request: Any) -> Any:
        call = faults.call_of(request)
        if left[call.service] > 0:
            left[call.service] -= 1
            return fault(call, lambda: send(session, request))
        return send(session, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpsession.URLLib3Session, "send", fail_or_send)
        yield


def ask(stack: SmallStack, service: str, *, tries: int) -> Callable[[], Any]:
    """A call of the service on what is there."""
    client = stack.client(service, retries={"mode": "standard", "total_max_attempts": tries})
    if service == "dynamodb":
        put = {"Put": {"TableName": stack.output_of("Table"), "Item": {"id": {"S": token()}}}}
        return lambda: client.transact_write_items(TransactItems=[put])
    if service == "s3":
        where = {"Bucket": stack.output_of("Bucket"), "Key": token()}
        stack.client("s3").put_object(**where, Body=b"0123456789")
        return lambda: client.get_object(**where)["Body"].read()  # noqa: PLW0108 - the call is what fails
    if service == "sqs":
        return lambda: client.send_message(QueueUrl=stack.output_of("DeadLetterQueueUrl"), MessageBody="m")
    entry = {"EventBusName": stack.output_of("Bus"), "Source": "nobody", "DetailType": "t", "Detail": "{}"}
    return lambda: client.put_events(Entries=[entry])


@pytest.mark.parametrize(("service", "name"), FAULTS)
def test_botocore_knows_each_fault_by_its_name(
    small_stack: SmallStack, weather: Weather, service: str, name: str
) -> None:
    call = ask(small_stack, service, tries=1)
    with failing(weather, service, name, times=1):
        if name == "event refused":
            assert call()["FailedEntryCount"] == 1
        elif name == "body breaks off":
            with pytest.raises((IncompleteReadError, ResponseStreamingError)):
                call()
        elif (service, name) in SAID:
            with pytest.raises(ClientError) as told:
                call()
            assert told.value.response["Error"]["Code"] == SAID[service, name]
        else:
            kind = next(kind for start, kind in BROKEN.items() if name.startswith(start))
            with pytest.raises(kind):
                call()
    call()  # and the weather is fine again


@pytest.mark.parametrize("name", ["reset before effect", "reset after effect"])
def test_a_connection_breaks_before_the_effect_or_after_it(
    small_stack: SmallStack, weather: Weather, name: str
) -> None:
    dynamodb, table, key = small_stack.client("dynamodb"), small_stack.output_of("Table"), {"id": {"S": token()}}
    once = small_stack.client("dynamodb", retries={"mode": "standard", "total_max_attempts": 1})
    with failing(weather, "dynamodb", name, times=1), pytest.raises(ConnectionClosedError):
        once.put_item(TableName=table, Item=key)
    assert ("Item" in dynamodb.get_item(TableName=table, Key=key)) == (name == "reset after effect")


def test_runs_of_faults_are_the_same_for_a_seed_and_some_outlast_four_tries(tmp_path: Path) -> None:
    def runs(folder: str) -> list[bool]:
        weather = Weather.make(_made(tmp_path / folder), seed=7)
        weather.break_loose()
        storm = Storm(weather, weather.chance("worker-1"))
        return [storm.fails("s3") for _ in range(5000)]

    first = runs("first")
    assert first == runs("second")
    longest = max(len(run) for run in "".join("x" if fails else " " for fails in first).split())
    assert longest > 4  # botocore's tries
    assert 0.05 < sum(first) / len(first) < 0.2


def test_nothing_fails_before_the_storm_and_after_it(tmp_path: Path) -> None:
    weather = Weather.make(tmp_path, seed=1)
    storm = Storm(weather, weather.chance("worker-1"))
    assert not any(storm.fails("s3") for _ in range(500))
    weather.break_loose()
    assert any(storm.fails("s3") for _ in range(500))
    weather.calm_down()
    assert not any(storm.fails("s3") for _ in range(500))


def test_every_process_has_luck_of_its_own(tmp_path: Path) -> None:
    weather = Weather.make(tmp_path, seed=1)
    draws = [weather.chance(name).random() for name in ("worker-1", "worker-1", "worker-2")]
    assert len(set(draws)) == 3


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
