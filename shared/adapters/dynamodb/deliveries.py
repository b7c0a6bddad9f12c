"""Webhook deliveries in DynamoDB: by id, by endpoint and by job, gone after 30 days."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.adapters.dynamodb.items import from_item, time_text, to_item, to_time
from shared.adapters.dynamodb.transactions import PutRefused, put_once
from shared.domain.deliveries import Attempt, Delivery, DeliveryId, DeliveryState
from shared.domain.endpoints import EndpointId, EventType
from shared.domain.errors import InvalidRequest
from shared.domain.ids import AccountId, JobId

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class DeliveryMoved(Exception):
    """Somebody else wrote the delivery first (0: it exists already); ``current`` is what stands there now."""

    def __init__(self, current: Delivery | None) -> None:
        super().__init__("the delivery was written by somebody else")
        self.current = current


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryPage:
    """Some deliveries, newest first; ``position`` is where the next page begins, None at the end."""

    deliveries: tuple[Delivery, ...]
    position: dict[str, str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryQuery:
    """Deliveries of one receiver of one account, or of one job, made in ``[since, until)``."""

    account_id: AccountId
    endpoint_id: EndpointId | None = None
    job_id: JobId | None = None
    since: datetime | None = None
    until: datetime | None = None


class DeliveryStore:
    """The webhook deliveries table."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, delivery_id: DeliveryId) -> Delivery | None:
        """The delivery, or None: one consistent read."""
        answer = self._client.get_item(
            TableName=self._table, Key=to_item({"delivery_id": delivery_id}), ConsistentRead=True
        )
        return _to_delivery(from_item(answer["Item"])) if "Item" in answer else None

    def replace(self, delivery: Delivery) -> Delivery:
        """Write the delivery over the revision it was made from (0: create it). Raises DeliveryMoved."""
        after = replace(delivery, revision=delivery.revision + 1)
        put: dict[str, Any] = {
            "TableName": self._table,
            "Item": _to_item(after),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            "ConditionExpression": "attribute_not_exists(delivery_id)",
        }
        if delivery.revision:
            put["ConditionExpression"] = "revision = :revision"
            put["ExpressionAttributeValues"] = to_item({":revision": delivery.revision})
        try:
            put_once(self._client, put, after, lambda item: _to_delivery(from_item(item)))
        except PutRefused as error:
            raise DeliveryMoved(error.current) from error
        return after

    def find(self, query: DeliveryQuery, limit: int, position: dict[str, str] | None = None) -> DeliveryPage:
        """A page of deliveries, newest first."""
        index, name, value = "by_job", "job_id", str(query.job_id)
        if query.endpoint_id is not None:
            index, name, value = "by_endpoint", "receiver", f"{query.account_id}#{query.endpoint_id}"
        values, condition = {":value": value}, f"{name} = :value"
        since, until = _text(query.since, "0"), _text(query.until, "9")
        if query.since is not None or query.until is not None:
            values |= {":since": since, ":until": until}
            condition += " AND created_at BETWEEN :since AND :until"  # includes its end, which is taken off below
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": index,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": to_item(values),
            "ScanIndexForward": False,
            "Limit": limit,
        }
        if position is not None:
            if not since <= position["created_at"] <= until:
                raise InvalidRequest("The cursor belongs to another list.", field="cursor")
            arguments["ExclusiveStartKey"] = to_item(position | {name: value})  # only ever a place in one's own list
        answer = self._client.query(**arguments)
        found = [_to_delivery(from_item(item)) for item in answer["Items"]]
        last = answer.get("LastEvaluatedKey")
        return DeliveryPage(
            deliveries=tuple(
                delivery
                for delivery in found
                if delivery.account_id == query.account_id
                and (query.until is None or delivery.created_at < query.until)
            ),
            position=None if last is None else from_item(last),
        )


def _text(at: datetime | None, otherwise: str) -> str:
    return otherwise if at is None else time_text(at)


def _to_item(delivery: Delivery) -> dict[str, Any]:
    values = {
        "delivery_id": delivery.delivery_id,
        "account_id": delivery.account_id,
        "endpoint_id": delivery.endpoint_id,
        "receiver": f"{delivery.account_id}#{delivery.endpoint_id}",
        "message_id": delivery.message_id,
        "event_type": delivery.event_type,
        "created_at": delivery.created_at,
        "next_attempt_at": delivery.next_attempt_at,
        "job_id": delivery.job_id,
        "url": delivery.url,
        "payload": delivery.payload,
        "state": delivery.state,
        "attempts": [
            {name: getattr(attempt, name) for name in attempt.__dataclass_fields__} for attempt in delivery.attempts
        ],
        "replay_of": delivery.replay_of,
        "revision": delivery.revision,
        "expires_at": int(delivery.expires_at.timestamp()),  # DynamoDB's TTL wants epoch seconds
    }
    return to_item(values)


def _to_delivery(values: dict[str, Any]) -> Delivery:
    job_id, replay_of = values.get("job_id"), values.get("replay_of")
    return Delivery(
        delivery_id=DeliveryId(values["delivery_id"]),
        account_id=AccountId(values["account_id"]),
        endpoint_id=EndpointId(values["endpoint_id"]),
        message_id=values["message_id"],
        event_type=EventType(values["event_type"]),
        created_at=to_time(values["created_at"]),
        next_attempt_at=to_time(values["next_attempt_at"]),
        job_id=None if job_id is None else JobId(job_id),
        url=values.get("url"),
        payload=values.get("payload"),
        state=DeliveryState(values["state"]),
        attempts=tuple(_to_attempt(attempt) for attempt in values["attempts"]),
        replay_of=None if replay_of is None else DeliveryId(replay_of),
        revision=int(values["revision"]),
    )


def _to_attempt(values: dict[str, Any]) -> Attempt:
    status = values.get("status")
    return Attempt(
        at=to_time(values["at"]),
        duration_milliseconds=int(values["duration_milliseconds"]),
        status=None if status is None else int(status),
        problem=values.get("problem"),
        answer=values.get("answer", ""),
    )
