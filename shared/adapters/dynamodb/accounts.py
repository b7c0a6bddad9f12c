"""Accounts and API keys in DynamoDB."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from shared.adapters.dynamodb.items import from_item, time_text, to_item, to_time, to_time_or_none
from shared.adapters.dynamodb.transactions import Write, is_refused, transact
from shared.domain.accounts import Account, ApiKey, Scope
from shared.domain.credits import GENESIS_HASH
from shared.domain.errors import Conflict, NotFound
from shared.domain.ids import AccountId, KeyId

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEPLOYMENT_RATE = 0  # the account has no submit rate of its own
DEPLOYMENT_RETENTION = -1  # nor a default retention
KEY_WRITE, RETIRED_KEY_WRITE = "key", "retired key"


class AccountStore:
    """The accounts table. Its items also carry the balance, which only credits.py writes after the start."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def create(self, account: Account) -> None:
        """Store a new account with nothing in it. Raises Conflict when the id is taken."""
        values = {
            "account_id": account.account_id,
            "name": account.name,
            "created_at": account.created_at,
            "available_millicredits": 0,
            "held_millicredits": 0,
            "sequence": 0,
            "last_hash": GENESIS_HASH,
            "submits_per_minute": account.submits_per_minute or DEPLOYMENT_RATE,
        }
        try:
            self._client.put_item(
                TableName=self._table, Item=to_item(values), ConditionExpression="attribute_not_exists(account_id)"
            )
        except ClientError as error:
            if not is_refused(error):
                raise
            raise Conflict(f"Account {account.account_id} exists already.") from error

    def get(self, account_id: AccountId) -> Account | None:
        """The account, or None: one strongly consistent read, for who has just changed it."""
        answer = self._client.get_item(
            TableName=self._table, Key=to_item({"account_id": account_id}), ConsistentRead=True
        )
        if "Item" not in answer:
            return None
        values = from_item(answer["Item"])
        return _to_account(values)

    def every(self) -> Iterator[Account]:
        """Every account there is, in no order. For the operator: it reads the whole table."""
        for page in self._client.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True):
            yield from (_to_account(from_item(item)) for item in page["Items"])

    def set_submit_rate(self, account_id: AccountId, submits_per_minute: int | None) -> None:
        """Give the account a rate of its own, or (None) the deployment's again. Raises NotFound."""
        self._set(account_id, "submits_per_minute", submits_per_minute or DEPLOYMENT_RATE)

    def set_retention(self, account_id: AccountId, days: int | None) -> None:
        """Give the account a default retention, or (None) the deployment's again. Raises NotFound."""
        self._set(account_id, "retention_days", DEPLOYMENT_RETENTION if days is None else days)

    def _set(self, account_id: AccountId, name: str, value: int) -> None:
        try:
            self._client.update_item(
                TableName=self._table,
                Key=to_item({"account_id": account_id}),
                UpdateExpression=f"SET {name} = :value",
                ConditionExpression="attribute_exists(account_id)",
                ExpressionAttributeValues=to_item({":value": value}),
            )
        except ClientError as error:
            if not is_refused(error):
                raise
            raise NotFound(f"There is no account {account_id}.") from error


class KeyStore:
    """The API keys table, read by hash."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def put(self, key: ApiKey, also: tuple[Write, ...] = ()) -> None:
        """Store a new key together with ``also``. Raises Refused."""
        transact(self._client, [*also, Write(name=KEY_WRITE, item={"Put": self._put(key)})])

    def _put(self, key: ApiKey) -> dict[str, Any]:
        values = {
            "key_hash": key.key_hash,
            "key_id": key.key_id,
            "account_id": key.account_id,
            "name": key.name,
            "scopes": sorted(scope.value for scope in key.scopes),
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "revoked_at": key.revoked_at,
            "last_used_at": key.last_used_at,
            "daily_limit_millicredits": key.daily_limit_millicredits,
            "rotated_to": key.rotated_to,
        }
        return {
            "TableName": self._table,
            "Item": to_item(values),
            "ConditionExpression": "attribute_not_exists(key_hash)",
        }

    def get(self, key_hash: str) -> ApiKey | None:
        """The key with this hash, or None: one strongly consistent read."""
        answer = self._client.get_item(TableName=self._table, Key=to_item({"key_hash": key_hash}), ConsistentRead=True)
        return _to_key(from_item(answer["Item"])) if "Item" in answer else None

    def of_account(self, account_id: AccountId) -> list[ApiKey]:
        """The account's keys, oldest first."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName="by_account",
            KeyConditionExpression="account_id = :a",
            ExpressionAttributeValues=to_item({":a": account_id}),
        )
        return [_to_key(from_item(item)) for page in pages for item in page["Items"]]

    def revoke(self, key_hash: str, at: datetime) -> None:
        """The key stops working at ``at``, or earlier if that was said before."""
        self._update(
            key_hash,
            change="SET revoked_at = :at",
            condition="attribute_not_exists(revoked_at) OR revoked_at > :at",
            values={":at": time_text(at)},
        )

    def retirement(self, key: ApiKey, *, rotated_to: KeyId, at: datetime) -> Write:
        """As part of a transaction: the key stops at ``at`` because another took its place.

        Refused when the key was revoked or rotated since ``key`` was read.
        """
        unrevoked = "attribute_not_exists(revoked_at)" if key.revoked_at is None else "revoked_at = :was"
        values = {":at": time_text(at), ":to": rotated_to}
        if key.revoked_at is not None:
            values[":was"] = time_text(key.revoked_at)
        update = {
            "TableName": self._table,
            "Key": to_item({"key_hash": key.key_hash}),
            "UpdateExpression": "SET revoked_at = :at, rotated_to = :to",
            "ConditionExpression": f"attribute_exists(key_hash) AND attribute_not_exists(rotated_to) AND {unrevoked}",
            "ExpressionAttributeValues": to_item(values),
        }
        return Write(name=RETIRED_KEY_WRITE, item={"Update": update})

    def note_use(self, key_hash: str, at: datetime, *, unless_since: datetime) -> None:
        """Note that the key was used, unless that was noted after ``unless_since`` (by any process)."""
        self._update(
            key_hash,
            change="SET last_used_at = :at",
            condition="attribute_not_exists(last_used_at) OR last_used_at <= :since",
            values={":at": time_text(at), ":since": time_text(unless_since)},
        )

    def _update(self, key_hash: str, *, change: str, condition: str, values: dict[str, str]) -> None:
        """Change a key that is there; a condition that does not hold means there is nothing to do."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key=to_item({"key_hash": key_hash}),
                UpdateExpression=change,
                ConditionExpression=f"attribute_exists(key_hash) AND ({condition})",
                ExpressionAttributeValues=to_item(values),
            )
        except ClientError as error:
            if not is_refused(error):
                raise


def _to_account(values: dict[str, Any]) -> Account:
    rate = int(values.get("submits_per_minute", DEPLOYMENT_RATE))
    return Account(
        account_id=AccountId(values["account_id"]),
        name=values["name"],
        created_at=to_time(values["created_at"]),
        submits_per_minute=rate if rate != DEPLOYMENT_RATE else None,
        retention_days=to_retention_days(values),
    )


def to_retention_days(values: dict[str, Any]) -> int | None:
    """The default retention in an account's item; None: the deployment's."""
    days = int(values.get("retention_days", DEPLOYMENT_RETENTION))
    return None if days == DEPLOYMENT_RETENTION else days


def _to_key(values: dict[str, Any]) -> ApiKey:
    limit = values.get("daily_limit_millicredits")
    return ApiKey(
        key_hash=values["key_hash"],
        key_id=KeyId(values["key_id"]),
        account_id=AccountId(values["account_id"]),
        name=values["name"],
        scopes=frozenset(Scope(scope) for scope in values["scopes"]),
        created_at=to_time(values["created_at"]),
        expires_at=to_time_or_none(values.get("expires_at")),
        revoked_at=to_time_or_none(values.get("revoked_at")),
        last_used_at=to_time_or_none(values.get("last_used_at")),
        daily_limit_millicredits=None if limit is None else int(limit),
        rotated_to=values.get("rotated_to"),
    )
