"""DynamoDB in a dictionary: the calls and expressions that our adapters use, and nothing else.

Fast enough for hundreds of thousands of steps. tests/integration/test_ledger_machine_on_moto.py walks the same
machine over moto's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, Any]
_TOKENS = re.compile(r"\s*(<=|>=|<>|<|>|=|\(|\)|,|[A-Za-z_:#][\w.#]*)")


class MemoryDynamoDB:
    """Tables by name, each with its key's attribute names; indexes are queried by filtering the table.

    Items are never changed, only replaced, so they are handed out as they lie.
    """

    def __init__(self, keys: Mapping[str, tuple[str, ...]], indexes: Mapping[str, tuple[str, str]]) -> None:
        self._keys = keys
        self._indexes = indexes
        self.tables: dict[str, dict[tuple[str, ...], Item]] = {name: {} for name in keys}

    def get_item(self, *, TableName: str, Key: Item, **_: Any) -> dict[str, Any]:  # noqa: N803 - the API's own names
        """GetItem."""
        item = self.tables[TableName].get(self._key(TableName, Key))
        return {} if item is None else {"Item": item}

    def put_item(self, **arguments: Any) -> dict[str, Any]:
        """PutItem."""
        return self._single("Put", arguments)

    def update_item(self, **arguments: Any) -> dict[str, Any]:
        """UpdateItem with SET or ADD."""
        return self._single("Update", arguments)

    def delete_item(self, **arguments: Any) -> dict[str, Any]:
        """DeleteItem."""
        return self._single("Delete", arguments)

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]], **_: Any) -> dict[str, Any]:  # noqa: N803 - the API's own names
        """TransactWriteItems: all conditions are looked at before anything is written."""
        reasons = []
        for write in TransactItems:
            (kind, arguments), *_rest = write.items()
            reasons.append({"Code": "None"} if self._holds(kind, arguments) else self._refusal(kind, arguments))
        if any(reason["Code"] != "None" for reason in reasons):
            raise _client_error("TransactionCanceledException", "TransactWriteItems", CancellationReasons=reasons)
        for write in TransactItems:
            (kind, arguments), *_rest = write.items()
            self._apply(kind, arguments)
        return {}

    def query(self, *, TableName: str, KeyConditionExpression: str, **arguments: Any) -> dict[str, Any]:  # noqa: N803 - the API's own names
        """Query a table or an index, sorted by its range key."""
        index = arguments.get("IndexName")
        range_key = self._indexes[f"{TableName}/{index}"][1] if index else self._keys[TableName][-1]
        condition = _Condition(KeyConditionExpression, arguments)
        found = [item for item in self.tables[TableName].values() if range_key in item and condition.holds(item)]
        found.sort(key=lambda item: _plain(item[range_key]), reverse=not arguments.get("ScanIndexForward", True))
        return {"Items": found[: arguments.get("Limit", len(found))]}

    def scan(self, *, TableName: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - the API's own names
        """Scan."""
        return {"Items": list(self.tables[TableName].values())}

    def get_paginator(self, operation: str) -> _Paginator:
        """A paginator with one page."""
        return _Paginator(getattr(self, operation))

    def _single(self, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if not self._holds(kind, arguments):
            refusal = self._refusal(kind, arguments)
            extra = {"Item": refusal["Item"]} if "Item" in refusal else {}
            raise _client_error("ConditionalCheckFailedException", kind, **extra)
        self._apply(kind, arguments)
        return {}

    def _holds(self, kind: str, arguments: dict[str, Any]) -> bool:
        condition = arguments.get("ConditionExpression")
        return condition is None or _Condition(condition, arguments).holds(self._current(kind, arguments) or {})

    def _refusal(self, kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
        current = self._current(kind, arguments)
        shown = arguments.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and current is not None
        return {"Code": "ConditionalCheckFailed"} | ({"Item": current} if shown else {})

    def _current(self, kind: str, arguments: dict[str, Any]) -> Item | None:
        table = arguments["TableName"]
        key = self._key(table, arguments["Item" if kind == "Put" else "Key"])
        return self.tables[table].get(key)

    def _apply(self, kind: str, arguments: dict[str, Any]) -> None:
        table = self.tables[arguments["TableName"]]
        key = self._key(arguments["TableName"], arguments["Item" if kind == "Put" else "Key"])
        if kind == "Put":
            table[key] = arguments["Item"]
        elif kind == "Delete":
            table.pop(key, None)
        else:
            table[key] = _updated(table.get(key, arguments["Key"]), arguments)

    def _key(self, table: str, item: Item) -> tuple[str, ...]:
        return tuple(str(_plain(item[name])) for name in self._keys[table])


class _Paginator:
    def __init__(self, operation: Any) -> None:
        self._operation = operation

    def paginate(self, **arguments: Any) -> Iterator[dict[str, Any]]:
        yield self._operation(**arguments)


class _Condition:
    """A condition expression, parsed by recursive descent: OR of ANDs of comparisons, functions and brackets."""

    def __init__(self, text: str, arguments: dict[str, Any]) -> None:
        self._tokens = _TOKENS.findall(text)
        self._names = arguments.get("ExpressionAttributeNames", {})
        self._values = arguments.get("ExpressionAttributeValues", {})

    def holds(self, item: Item) -> bool:
        """Whether it is true of ``item``."""
        self._item, self._at = item, 0
        result = self._any()
        assert self._at == len(self._tokens), f"not understood: {self._tokens[self._at :]}"
        return result

    def _any(self) -> bool:
        result = self._all()
        while self._next_is("OR"):
            result = self._all() or result
        return result

    def _all(self) -> bool:
        result = self._one()
        while self._next_is("AND"):
            result = self._one() and result
        return result

    def _one(self) -> bool:
        if self._next_is("("):
            result = self._any()
            assert self._next_is(")")
            return result
        token = self._take()
        if token in {"attribute_exists", "attribute_not_exists"}:
            assert self._next_is("(")
            there = self._value(self._take()) is not None
            assert self._next_is(")")
            return there is (token == "attribute_exists")
        left, operator = self._value(token), self._take()
        if operator == "BETWEEN":
            low = self._value(self._take())
            assert self._next_is("AND")
            high = self._value(self._take())
            return bool(low <= left <= high)
        right = self._value(self._take())
        if left is None or right is None:
            return False
        return {  # type: ignore[no-any-return]
            "=": left == right,
            "<=": left <= right,
            "<": left < right,
            ">": left > right,
            ">=": left >= right,
        }[operator]

    def _value(self, token: str) -> Any:
        if token.startswith(":"):
            return _plain(self._values[token])
        name = self._names.get(token, token)
        return _plain(self._item[name]) if name in self._item else None

    def _take(self) -> str:
        self._at += 1
        return str(self._tokens[self._at - 1])

    def _next_is(self, token: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at] == token:
            self._at += 1
            return True
        return False


def _updated(before: Item, arguments: dict[str, Any]) -> Item:
    item = dict(before)
    names, values = arguments.get("ExpressionAttributeNames", {}), arguments["ExpressionAttributeValues"]
    action, _, pairs = arguments["UpdateExpression"].partition(" ")
    for pair in pairs.split(","):
        name, value = pair.split("=") if action == "SET" else pair.split()
        name, given = names.get(name.strip(), name.strip()), values[value.strip()]
        if action == "ADD":
            given = {"N": str(Decimal(item.get(name, {"N": "0"})["N"]) + Decimal(given["N"]))}
        item[name] = given
    return item


def _plain(value: Item) -> Any:
    ((kind, inner),) = value.items()
    return Decimal(inner) if kind == "N" else str(inner) if kind == "S" else inner


def _client_error(code: str, operation: str, **more: Any) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": code}} | more
    return ClientError(response, operation)
