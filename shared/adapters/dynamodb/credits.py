"""Balances and the ledger in DynamoDB."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.adapters.dynamodb.accounts import DEPLOYMENT_RATE, to_retention_days
from shared.adapters.dynamodb.items import Update, from_item, to_item, to_time, to_time_or_none
from shared.adapters.dynamodb.transactions import Refused, Write, transact
from shared.domain.credits import Balance, Entry, EntryKind
from shared.domain.errors import NotFound
from shared.domain.ids import AccountId, EntryId, JobId

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BALANCE, _ENTRY = "balance", "entry"
_ABOVE_EVERY_SEQUENCE = 10**18


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An account's item: its balance, what limits how fast it may submit, and how long its jobs are kept."""

    balance: Balance
    paced_until: datetime | None = None
    submits_per_minute: int = DEPLOYMENT_RATE
    retention_days: int | None = None


class BalanceMoved(Exception):
    """The account is no longer what the change was computed from; ``current`` is what it is now."""

    def __init__(self, current: Standing) -> None:
        super().__init__(f"balance of {current.balance.account_id} is at entry {current.balance.sequence}")
        self.current = current


class AlreadyPosted(Exception):
    """The entry stands in the ledger already: the change is a replay and nothing was written."""


class LedgerStore:
    """The accounts table's balances and the ledger table, changed only together."""

    def __init__(self, client: DynamoDBClient, accounts_table: str, ledger_table: str) -> None:
        self._client = client
        self._accounts_table = accounts_table
        self._ledger_table = ledger_table

    def standing(self, account_id: AccountId) -> Standing:
        """The account's item now (one consistent read). Raises NotFound for an unknown account."""
        answer = self._client.get_item(
            TableName=self._accounts_table, Key=to_item({"account_id": account_id}), ConsistentRead=True
        )
        if "Item" not in answer:
            raise NotFound(f"There is no account {account_id}.")
        return _to_standing(from_item(answer["Item"]))

    def post(self, before: Standing, entry: Entry | None, after: Standing, also: tuple[Write, ...] = ()) -> None:
        """Write balance, entry and ``also`` in one transaction, if the account still is as ``before``.

        Without an entry only the pace changes. Raises AlreadyPosted when the entry's id is taken, Refused when a write
        of ``also`` is, BalanceMoved when only the account has moved on (then compute the change anew from ``current``).
        """
        writes = [*also, self._balance_write(before, after)]
        try:
            transact(self._client, writes if entry is None else [*writes, self._entry_write(entry)])
        except Refused as error:
            if entry is not None and _ENTRY in error.refused:
                raise AlreadyPosted(entry.entry_id) from error
            if set(error.refused) == {_BALANCE}:
                if not error.refused[_BALANCE]:
                    raise NotFound(f"There is no account {before.balance.account_id}.") from error
                raise BalanceMoved(_to_standing(error.refused[_BALANCE])) from error
            raise

    def entries(self, account_id: AccountId) -> Iterator[Entry]:
        """Every entry of the account, consistently read, in no useful order."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._ledger_table,
            KeyConditionExpression="account_id = :a",
            ExpressionAttributeValues=to_item({":a": account_id}),
            ConsistentRead=True,
        )
        for page in pages:
            yield from (_to_entry(from_item(item)) for item in page["Items"])

    def account_ids(self) -> set[AccountId]:
        """Every account with an entry, by a scan of the whole table."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._ledger_table, ProjectionExpression="account_id", ConsistentRead=True
        )
        return {AccountId(from_item(item)["account_id"]) for page in pages for item in page["Items"]}

    def page(self, account_id: AccountId, *, below: int | None, limit: int) -> list[Entry]:
        """Up to ``limit`` entries with a sequence below ``below``, newest first (an index: milliseconds behind)."""
        answer = self._client.query(
            TableName=self._ledger_table,
            IndexName="by_sequence",
            KeyConditionExpression="account_id = :a AND #sequence < :below",
            ExpressionAttributeNames={"#sequence": "sequence"},
            ExpressionAttributeValues=to_item({":a": account_id, ":below": below or _ABOVE_EVERY_SEQUENCE}),
            ScanIndexForward=False,
            Limit=limit,
        )
        return [_to_entry(from_item(item)) for item in answer["Items"]]

    def _balance_write(self, before: Standing, after: Standing) -> Write:
        balance = after.balance
        update = Update(
            key={"account_id": balance.account_id},
            set_values={
                "available_millicredits": balance.available_millicredits,
                "held_millicredits": balance.held_millicredits,
                "sequence": balance.sequence,
                "last_hash": balance.last_hash,
            }
            | ({} if after.paced_until is None else {"paced_until": after.paced_until}),
            # The sequence says that no entry came between, the hash that the chain is ours; a reused answer moves the
            # pace alone, and a new rate counts at once.
            condition_equals={
                "sequence": before.balance.sequence,
                "last_hash": before.balance.last_hash,
                "submits_per_minute": before.submits_per_minute,
                "paced_until": before.paced_until,
            },
        )
        return Write(name=_BALANCE, item={"Update": update.render(self._accounts_table)})

    def _entry_write(self, entry: Entry) -> Write:
        values = {
            "account_id": entry.account_id,
            "entry_id": entry.entry_id,
            "sequence": entry.sequence,
            "kind": entry.kind,
            "amount_millicredits": entry.amount_millicredits,
            "available_before_millicredits": entry.available_before_millicredits,
            "held_before_millicredits": entry.held_before_millicredits,
            "available_after_millicredits": entry.available_after_millicredits,
            "held_after_millicredits": entry.held_after_millicredits,
            "at": entry.at,
            "previous_hash": entry.previous_hash,
            "entry_hash": entry.entry_hash,
            "job_id": entry.job_id,
            "key_id": entry.key_id,
            "resolves": entry.resolves,
            "note": entry.note,
        }
        put = {
            "TableName": self._ledger_table,
            "Item": to_item(values),
            "ConditionExpression": "attribute_not_exists(entry_id)",
        }
        return Write(name=_ENTRY, item={"Put": put})


def _to_standing(values: dict[str, Any]) -> Standing:
    return Standing(
        balance=_to_balance(values),
        paced_until=to_time_or_none(values.get("paced_until")),
        submits_per_minute=int(values["submits_per_minute"]),
        retention_days=to_retention_days(values),
    )


def _to_balance(values: dict[str, Any]) -> Balance:
    return Balance(
        account_id=AccountId(values["account_id"]),
        available_millicredits=int(values["available_millicredits"]),
        held_millicredits=int(values["held_millicredits"]),
        sequence=int(values["sequence"]),
        last_hash=values["last_hash"],
    )


def _to_entry(values: dict[str, Any]) -> Entry:
    job_id = values.get("job_id")
    return Entry(
        account_id=AccountId(values["account_id"]),
        entry_id=EntryId(values["entry_id"]),
        sequence=int(values["sequence"]),
        kind=EntryKind(values["kind"]),
        amount_millicredits=int(values["amount_millicredits"]),
        available_before_millicredits=int(values["available_before_millicredits"]),
        held_before_millicredits=int(values["held_before_millicredits"]),
        available_after_millicredits=int(values["available_after_millicredits"]),
        held_after_millicredits=int(values["held_after_millicredits"]),
        at=to_time(values["at"]),
        previous_hash=values["previous_hash"],
        entry_hash=values["entry_hash"],
        job_id=None if job_id is None else JobId(job_id),
        key_id=values.get("key_id"),
        resolves=tuple(EntryId(entry_id) for entry_id in values.get("resolves", [])),
        note=values.get("note", ""),
    )
