"""AWS calls that fail, in every way a client can see, and a clock that jumps. Installed in functions and workers only.

A fault is put between botocore and the network: botocore's own retries, its time-outs and our code above see what they
would see on AWS. Some faults come before the call has its effect, some after it; they come in runs, so that some
outlast botocore's four tries and reach our code. Shapes and codes: "Error handling with DynamoDB", "Error responses"
of the S3 API, "Common errors" of SQS, and PutEvents' own.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.rehearsal.weather import Weather

RUN_STARTS = {"dynamodb": 0.02, "s3": 0.05, "sqs": 0.02, "events": 0.06}
"""How often a call is the first of a run of failing ones, by service."""

RUN_LENGTHS = (1, 1, 1, 1, 2, 3, 5, 6)
_DYNAMODB = "com.amazonaws.dynamodb.v20120810#"
_AMZ_JSON = "application/x-amz-json-1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One HTTP request to AWS as botocore sends it."""

    service: str
    operation: str
    url: str
    body: bytes


def install(weather: Weather) -> None:
    """Make this process's AWS calls fail and its clock jump. Nothing of ours has been imported yet."""
    from botocore import httpsession

    from shared.adapters import system

    storm = Storm(weather, weather.chance(os.environ.get("AWS_ACCESS_KEY_ID", "process")))
    send = httpsession.URLLib3Session.send

    def send_or_fail(session: Any, request: Any) -> Any:
        return storm.send(request, lambda: send(session, request))

    httpsession.URLLib3Session.send = send_or_fail  # type: ignore[assignment, method-assign]
    system.utc_now = weather.now


class Storm:
    """Decides what fails."""

    def __init__(self, weather: Weather, chance: Random) -> None:
        self._weather, self._chance = weather, chance
        self._left: dict[str, int] = {}  # of the run of failures, by service

    def send(self, request: Any, really: Callable[[], Any]) -> Any:
        """What botocore gets for this request."""
        call = call_of(request)
        if not self.fails(call.service):
            return really()
        name, fault = self._chance.choice(FAULTS[call.service])
        self._weather.count(f"{call.service}: {name}")
        return fault(call, really)

    def fails(self, service: str) -> bool:
        """Whether the next call of the service does."""
        if service not in RUN_STARTS or self._weather.is_calm:
            return False
        left = self._left.get(service, 0)
        if left == 0 and self._chance.random() < RUN_STARTS[service]:
            left = self._chance.choice(RUN_LENGTHS)
        self._left[service] = max(0, left - 1)
        return left > 0


def call_of(request: Any) -> Call:
    """What the request asks, and of whom."""
    target = request.headers.get("X-Amz-Target", b"")
    prefix, _, operation = (target.decode() if isinstance(target, bytes) else str(target)).partition(".")
    service = {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs", "AWSEvents": "events", "": "s3"}.get(prefix, prefix)
    body = request.body if isinstance(request.body, bytes) else b""
    return Call(service=service, operation=operation or request.method, url=request.url, body=body)


# ---- Faults: given the call and a way to make it, what comes back --------------------------------------------------


def _reset(call: Call, _really: Callable[[], Any]) -> Any:
    from botocore.exceptions import ConnectionClosedError

    raise ConnectionClosedError(endpoint_url=call.url)


def _reset_after_effect(call: Call, really: Callable[[], Any]) -> Any:
    _ = really().content  # all of it was done and answered
    return _reset(call, really)


def _time_out_after_effect(call: Call, really: Callable[[], Any]) -> Any:
    from botocore.exceptions import ReadTimeoutError

    _ = really().content
    raise ReadTimeoutError(endpoint_url=call.url)


def _broken_body(call: Call, really: Callable[[], Any]) -> Any:
    """The answer ends in the middle of an object. Of anything else: before its first byte."""
    answer = really()
    if call.operation != "GET" or answer.status_code not in (200, 206):
        return _reset(call, really)
    whole = answer.content
    headers = dict(answer.headers)
    return _answer(call, answer.status_code, whole[: len(whole) // 2], headers)


def _dynamodb_error(status: int, code: str) -> Callable[[Call, Callable[[], Any]], Any]:
    def fault(call: Call, _really: Callable[[], Any]) -> Any:
        body = json.dumps({"__type": _DYNAMODB + code, "message": "Please try again."}).encode()
        return _answer(call, status, body, {"Content-Type": _AMZ_JSON})

    return fault


def _transaction_cancelled(reason: str) -> Callable[[Call, Callable[[], Any]], Any]:
    def fault(call: Call, really: Callable[[], Any]) -> Any:
        if call.operation != "TransactWriteItems":
            return _dynamodb_error(400, "ThrottlingException")(call, really)
        items = json.loads(call.body)["TransactItems"]
        reasons = [{"Code": reason if index == 0 else "None"} for index in range(len(items))]
        told = ", ".join(each["Code"] for each in reasons)
        problem = {
            "__type": _DYNAMODB + "TransactionCanceledException",
            "Message": f"Transaction cancelled, please refer cancellation reasons for specific reasons [{told}]",
            "CancellationReasons": reasons,
        }
        return _answer(call, 400, json.dumps(problem).encode(), {"Content-Type": _AMZ_JSON})

    return fault


def _s3_error(status: int, code: str) -> Callable[[Call, Callable[[], Any]], Any]:
    def fault(call: Call, _really: Callable[[], Any]) -> Any:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>Please slow down.</Message></Error>"
        return _answer(call, status, body.encode(), {"Content-Type": "application/xml"})

    return fault


def _sqs_error(call: Call, _really: Callable[[], Any]) -> Any:
    body = json.dumps({"__type": "com.amazonaws.sqs#InternalError", "message": "Try again."}).encode()
    return _answer(call, 500, body, {"Content-Type": _AMZ_JSON})


def _events_error(call: Call, _really: Callable[[], Any]) -> Any:
    body = json.dumps({"__type": "InternalException", "message": "Try again."}).encode()
    return _answer(call, 500, body, {"Content-Type": _AMZ_JSON})


def _entry_refused(call: Call, really: Callable[[], Any]) -> Any:
    """EventBridge took the call, not the event."""
    if call.operation != "PutEvents":
        return _events_error(call, really)
    entries = [{"ErrorCode": "InternalFailure", "ErrorMessage": "Try again."}]
    body = json.dumps({"FailedEntryCount": 1, "Entries": entries}).encode()
    return _answer(call, 200, body, {"Content-Type": _AMZ_JSON})


def _answer(call: Call, status: int, body: bytes, headers: dict[str, str]) -> Any:
    from botocore.awsrequest import AWSResponse, HeadersDict
    from urllib3.response import HTTPResponse

    raw = HTTPResponse(body=io.BytesIO(body), status=status, headers=headers, preload_content=False)
    return AWSResponse(call.url, status, HeadersDict(headers), raw)  # type: ignore[arg-type] # as botocore itself


FAULTS: dict[str, tuple[tuple[str, Callable[[Call, Callable[[], Any]], Any]], ...]] = {
    "dynamodb": (
        ("throughput exceeded", _dynamodb_error(400, "ProvisionedThroughputExceededException")),
        ("throttled", _dynamodb_error(400, "ThrottlingException")),
        ("internal error", _dynamodb_error(500, "InternalServerError")),
        ("transaction throttled", _transaction_cancelled("ThrottlingError")),
        ("transaction in conflict", _transaction_cancelled("TransactionConflict")),
        ("reset before effect", _reset),
        ("reset after effect", _reset_after_effect),
        ("timed out after effect", _time_out_after_effect),
    ),
    "s3": (
        ("slow down", _s3_error(503, "SlowDown")),
        ("internal error", _s3_error(500, "InternalError")),
        ("reset before effect", _reset),
        ("reset after effect", _reset_after_effect),
        ("body breaks off", _broken_body),
    ),
    "sqs": (
        ("internal error", _sqs_error),
        ("reset before effect", _reset),
        ("reset after effect", _reset_after_effect),
    ),
    "events": (
        ("internal error", _events_error),
        ("event refused", _entry_refused),
        ("reset after effect", _reset_after_effect),
    ),
}
