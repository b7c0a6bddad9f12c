"""Webhook endpoints in DynamoDB, counted so that an account cannot have more than its limit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shared.adapters.dynamodb.items import from_item, to_item, to_time, to_time_or_none
from shared.adapters.dynamodb.transactions import PutRefused, Refused, Write, put_once, transact
from shared.domain.endpoints import (
    JOB_ENDPOINT_ID,
    MAX_ENDPOINTS,
    DisabledReason,
    Endpoint,
    EndpointId,
    EventType,
    Secret,
)
from shared.domain.errors import Conflict
from shared.domain.ids import AccountId

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_COUNTER = "#count"  # sorts before every real id, and is none
_NOT_ENDPOINTS = {_COUNTER, JOB_ENDPOINT_ID}
_WRITE, _COUNT_WRITE = "endpoint", "count"


class EndpointMoved(Exception):
    """Somebody else wrote the endpoint first, or it is gone."""


class EndpointStore:
    """The webhook endpoints table."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, account_id: AccountId, endpoint_id: EndpointId) -> Endpoint | None:
        """The endpoint, or None: one consistent read."""
        answer = self._client.get_item(TableName=self._table, Key=_key(account_id, endpoint_id), ConsistentRead=True)
        return _to_endpoint(from_item(answer["Item"])) if "Item" in answer else None

    def of_account(self, account_id: AccountId) -> list[Endpoint]:
        """The account's endpoints, oldest first: one consistent read (there are at most MAX_ENDPOINTS)."""
        answer = self._client.query(
            TableName=self._table,
            KeyConditionExpression="account_id = :a",
            ExpressionAttributeValues=to_item({":a": account_id}),
            ConsistentRead=True,
        )
        items = [from_item(item) for item in answer["Items"]]
        found = [_to_endpoint(values) for values in items if values["endpoint_id"] not in _NOT_ENDPOINTS]
        return sorted(found, key=lambda endpoint: (endpoint.created_at, endpoint.endpoint_id))

    def create(self, endpoint: Endpoint, also: tuple[Write, ...] = ()) -> Endpoint:
        """Store a new endpoint together with ``also``. Raises Conflict at the account's limit, Refused for ``also``."""
        count = {
            "TableName": self._table,
            "Key": _key(endpoint.account_id, _COUNTER),
            "UpdateExpression": "ADD endpoints :one",
            "ConditionExpression": "attribute_not_exists(endpoints) OR endpoints < :limit",
            "ExpressionAttributeValues": to_item({":one": 1, ":limit": MAX_ENDPOINTS}),
        }
        put = Write(name=_WRITE, item={"Put": self._put(endpoint)})
        try:
            transact(self._client, [put, Write(name=_COUNT_WRITE, item={"Update": count}), *also])
        except Refused as error:
            if _WRITE in error.refused:
                raise EndpointMoved from error
            if _COUNT_WRITE not in error.refused:
                raise
            raise Conflict(
                f"An account has at most {MAX_ENDPOINTS} webhook endpoints. Delete one you no longer need."
            ) from error
        return replace(endpoint, revision=endpoint.revision + 1)

    def replace(self, endpoint: Endpoint, also: tuple[Write, ...] = ()) -> Endpoint:
        """Write the endpoint over the revision it was made from (0: create it, uncounted), together with ``also``.

        Raises EndpointMoved, or Refused for ``also``.
        """
        put, after = self._put(endpoint), replace(endpoint, revision=endpoint.revision + 1)
        try:
            if also:
                transact(self._client, [Write(name=_WRITE, item={"Put": put}), *also])
            else:
                put_once(self._client, put, after, lambda item: _to_endpoint(from_item(item)))
        except Refused as error:
            if _WRITE in error.refused:
                raise EndpointMoved from error
            raise
        except PutRefused as error:
            raise EndpointMoved from error
        return after

    def delete(self, account_id: AccountId, endpoint_id: EndpointId) -> bool:
        """Remove the endpoint; False when there is none."""
        remove = {
            "TableName": self._table,
            "Key": _key(account_id, endpoint_id),
            "ConditionExpression": "attribute_exists(endpoint_id)",
        }
        count = {
            "TableName": self._table,
            "Key": _key(account_id, _COUNTER),
            "UpdateExpression": "ADD endpoints :less",
            "ExpressionAttributeValues": to_item({":less": -1}),
        }
        writes = [Write(name=_WRITE, item={"Delete": remove}), Write(name=_COUNT_WRITE, item={"Update": count})]
        try:
            transact(self._client, writes)
        except Refused:
            return False
        return True

    def _put(self, endpoint: Endpoint) -> dict[str, Any]:
        values = {
            "account_id": endpoint.account_id,
            "endpoint_id": endpoint.endpoint_id,
            "url": endpoint.url,
            "events": sorted(event.value for event in endpoint.events),
            "secrets": [{"text": secret.text, "expires_at": secret.expires_at} for secret in endpoint.secrets],
            "created_at": endpoint.created_at,
            "description": endpoint.description,
            "disabled_reason": endpoint.disabled_reason,
            "failing_since": endpoint.failing_since,
            "last_failed_at": endpoint.last_failed_at,
            "owes_event": endpoint.owes_event,
            "revision": endpoint.revision + 1,
        }
        put: dict[str, Any] = {
            "TableName": self._table,
            "Item": to_item(values),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if endpoint.revision == 0:
            return put | {"ConditionExpression": "attribute_not_exists(endpoint_id)"}
        return put | {
            "ConditionExpression": "revision = :revision",
            "ExpressionAttributeValues": to_item({":revision": endpoint.revision}),
        }


def _key(account_id: AccountId, endpoint_id: str) -> dict[str, Any]:
    return to_item({"account_id": account_id, "endpoint_id": endpoint_id})


def _to_endpoint(values: dict[str, Any]) -> Endpoint:
    reason = values.get("disabled_reason")
    return Endpoint(
        account_id=AccountId(values["account_id"]),
        endpoint_id=EndpointId(values["endpoint_id"]),
        url=values["url"],
        events=frozenset(EventType(event) for event in values["events"]),
        secrets=tuple(
            Secret(text=secret["text"], expires_at=to_time_or_none(secret.get("expires_at")))
            for secret in values["secrets"]
        ),
        created_at=to_time(values["created_at"]),
        description=values["description"],
        disabled_reason=None if reason is None else DisabledReason(reason),
        failing_since=to_time_or_none(values.get("failing_since")),
        last_failed_at=to_time_or_none(values.get("last_failed_at")),
        owes_event=values.get("owes_event", False),
        revision=int(values["revision"]),
    )
