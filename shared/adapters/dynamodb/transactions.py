"""TransactWriteItems: all writes or none, and a plain answer to which of them was refused."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from shared.adapters.dynamodb.items import from_item

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")

CONFLICT_SECONDS = 8.0  # how long a transaction is tried: with what else a request does, well inside its 29 s
LONGEST_PAUSE_SECONDS = 0.2
SHORTEST_PAUSE_SECONDS = 0.01  # about what a transaction takes
SINGLE_WRITE_TRIES = 30  # waits a second or less; a transaction is over in a tenth of that
_PASSING_REASONS = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write of a transaction, under a name that says what it is."""

    name: str
    item: dict[str, Any]  # {"Put" | "Update" | "ConditionCheck" | "Delete": …}


class Refused(Exception):
    """A condition did not hold, so nothing was written.

    ``refused`` maps the name of each refused write to the item that stands there (empty when there is none).
    """

    def __init__(self, refused: dict[str, dict[str, Any]]) -> None:
        super().__init__(f"refused: {', '.join(refused)}")
        self.refused = refused


class PutRefused(Exception):
    """The condition of a put did not hold. ``current`` is what stands there, None for nothing."""

    def __init__(self, current: Any) -> None:
        super().__init__("something else was written before")
        self.current = current


class TooMuchContention(Exception):
    """Other transactions on the same items were in the way for longer than we wait."""


def transact(client: DynamoDBClient, writes: Sequence[Write]) -> None:
    """Write all or nothing. Raises Refused when a condition fails, TooMuchContention when conflicts would not end.

    A conflict is another transaction in flight on one of the items: AWS cancels ours at once, and the answer is to
    wait a little (full jitter) and send it again.
    """
    give_up_at, attempt = time.monotonic() + CONFLICT_SECONDS, 0
    while True:
        try:
            client.transact_write_items(TransactItems=[write.item for write in writes])  # type: ignore[misc]
        except ClientError as error:
            if not _is_conflict(error):
                refused = _refused(writes, error)
                if refused:
                    raise Refused(refused) from error
                raise
            pause, attempt = _pause(attempt), attempt + 1
            if time.monotonic() + pause > give_up_at:
                message = f"{attempt} transactions in a row met another one on the same items"
                raise TooMuchContention(message) from error
            time.sleep(pause)
        else:
            return


def put_once(client: DynamoDBClient, put: dict[str, Any], written: T, read: Callable[[Any], T]) -> None:
    """Put one item on a condition, and have the one that stands there returned. Raises PutRefused.

    A lost answer makes botocore send the same put again: it finds the item as ``written``, and all is well. ``read``
    turns an item into the like of that.
    """
    try:
        client.put_item(**put)
    except ClientError as error:
        if not is_refused(error):
            raise
        item: Any = error.response.get("Item")
        current = read(item) if item else None
        if current != written:
            raise PutRefused(current) from error


def retry_conflicts(client: DynamoDBClient) -> DynamoDBClient:
    """The same client, whose single writes wait when they meet a transaction on their item.

    DynamoDB refuses such a write with TransactionConflictException, and botocore by itself does not send it again: the
    second of two requests with one Idempotency-Key would break down while the first is being answered.
    """
    pause: Any = _conflict_pause  # typed as if an answer meant nothing
    client.meta.events.register("needs-retry.dynamodb", pause)
    return client


def _conflict_pause(response: Any, attempts: int, **_: Any) -> float | None:
    """Seconds until botocore shall send a refused write again; None leaves it to the others who are asked."""
    if response is None or response[1].get("Error", {}).get("Code") != "TransactionConflictException":
        return None
    return None if attempts >= SINGLE_WRITE_TRIES else _pause(attempts - 1)


def is_refused(error: ClientError) -> bool:
    """True when a single write's condition did not hold."""
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"


def _pause(attempt: int) -> float:
    """Seconds to wait after a conflict: the shorter, the more there were.

    Exponential backoff lets newcomers overtake those who have waited longest: of the policies played out by
    tests/benchmarks/submits.py this one had the shortest p99. Nothing piles up, since AWS goes on with the transaction
    that was there first.
    """
    longest = max(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS / (attempt + 1))
    return random.uniform(0, longest)  # noqa: S311 - jitter, not a secret


def _is_conflict(error: ClientError) -> bool:
    """True when the same transaction may well go through in a moment.

    A conflict on one item hides what its condition would have said, so a refusal beside it proves nothing: a replay
    might look like a spent limit. Only an answer without conflicts counts.
    """
    code = error.response["Error"]["Code"]
    if code != "TransactionCanceledException":
        return code == "TransactionInProgressException"
    return any(reason.get("Code") in _PASSING_REASONS for reason in _reasons(error))


def _refused(writes: Sequence[Write], error: ClientError) -> dict[str, dict[str, Any]]:
    return {
        write.name: from_item(reason.get("Item") or {})
        for write, reason in zip(writes, _reasons(error), strict=False)
        if reason.get("Code") == "ConditionalCheckFailed"
    }


def _reasons(error: ClientError) -> list[dict[str, Any]]:
    reasons: list[dict[str, Any]] = error.response.get("CancellationReasons", [])  # type: ignore[assignment]
    return reasons
