"""What each key used on each day, in DynamoDB: counters that are changed only inside the ledger's transactions."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from shared.adapters.dynamodb.items import from_item, to_item
from shared.adapters.dynamodb.transactions import Write
from shared.domain.ids import AccountId, KeyId
from shared.domain.jobs import Job, JobState, Outcome
from shared.domain.usage import KeyDay, usage_day

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WRITE_NAME = "usage"
_COUNTERS = ("submitted", "completed", "failed", "cancelled", "spent_millicredits", "committed_millicredits")


class UsageStore:
    """The usage table: one item for each account, day and key."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def commit(self, job: Job, amount_millicredits: int, *, submitted: int) -> Write:
        """Count a hold. Refused, with the item as it stands, when the key's daily limit would be passed."""
        counters = {"submitted": submitted, "committed_millicredits": amount_millicredits}
        limit = job.caps.daily_limit_millicredits
        return self._add(job, counters, most_before=None if limit is None else limit - amount_millicredits)

    def resolve(self, job: Job, outcome: Outcome, *, ended: JobState) -> Write:
        """Count a job's end; ``job`` is as it was before, with its holds. Never refused."""
        used = outcome.used_millicredits
        counters: dict[str, Any] = {
            "spent_millicredits": used,
            "committed_millicredits": used - job.hold.amount_millicredits,
            ended.value: 1,
        }
        if ended is JobState.COMPLETED:
            counters["duration_seconds"] = outcome.duration_seconds or 0.0
        return self._add(job, counters)

    def reuse(self, job: Job) -> Write:
        """Count a job that was answered from an earlier result."""
        return self._add(job, {"submitted": 1, "completed": 1})

    def between(self, account_id: AccountId, first: date, last: date) -> list[KeyDay]:
        """The account's days from ``first`` to ``last``, both included, oldest first."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression="account_id = :a AND day_and_key BETWEEN :first AND :last",
            ExpressionAttributeValues=to_item(
                {":a": account_id, ":first": first.isoformat(), ":last": f"{last.isoformat()}#\x7f"}
            ),
        )
        return [_to_key_day(from_item(item)) for page in pages for item in page["Items"]]

    def _add(self, job: Job, counters: dict[str, Any], *, most_before: int | None = None) -> Write:
        names = {f"#n{index}": name for index, name in enumerate(counters)}
        values = {f":n{index}": value for index, value in enumerate(counters.values())}
        update: dict[str, Any] = {
            "TableName": self._table,
            "Key": to_item({"account_id": job.account_id, "day_and_key": f"{usage_day(job.created_at)}#{job.key_id}"}),
            "UpdateExpression": "ADD " + ", ".join(f"#n{index} :n{index}" for index in range(len(counters))),
            "ExpressionAttributeNames": names,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if most_before is not None:
            names["#committed"] = "committed_millicredits"
            values[":most"] = most_before
            unused = "attribute_not_exists(#committed) AND :most >= :zero"
            values[":zero"] = 0
            update["ConditionExpression"] = f"#committed <= :most OR ({unused})"
        return Write(name=WRITE_NAME, item={"Update": update | {"ExpressionAttributeValues": to_item(values)}})


def committed(values: dict[str, Any]) -> int:
    """Spent and held on the day of a refused write, in milli-credits."""
    return int(values.get("committed_millicredits", 0))


def _to_key_day(values: dict[str, Any]) -> KeyDay:
    day, _, key_id = values["day_and_key"].partition("#")
    return KeyDay(
        day=date.fromisoformat(day),
        key_id=KeyId(key_id),
        duration_seconds=float(values.get("duration_seconds", 0)),
        **{name: int(values.get(name, 0)) for name in _COUNTERS},
    )
