"""Python values to DynamoDB items and back: None is left out, floats are decimals, times are sortable UTC text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

type_serializer = TypeSerializer()
type_deserializer = TypeDeserializer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """An update expression with its condition, ready for a client call or a transaction."""

    key: dict[str, Any]
    set_values: dict[str, Any]
    condition_equals: dict[str, Any]

    def render(self, table: str) -> dict[str, Any]:
        """The arguments of UpdateItem. Every attribute is aliased, so no reserved word can bite.

        A condition that an attribute equals None is one that it is absent.
        """
        names: dict[str, str] = {}
        values: dict[str, Any] = {}
        assignments = _render_pairs(self.set_values, "s", names, values)
        conditions = _render_pairs(self.condition_equals, "c", names, values)
        return {
            "TableName": table,
            "Key": to_item(self.key),
            "UpdateExpression": "SET " + ", ".join(assignments),
            "ConditionExpression": " AND ".join(conditions),
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": to_item(values),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }


def to_item(values: Mapping[str, Any]) -> dict[str, Any]:
    """A DynamoDB item of a mapping of plain values."""
    return {name: type_serializer.serialize(_plain(value)) for name, value in values.items() if value is not None}


def from_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of an item; numbers stay Decimal."""
    return {name: type_deserializer.deserialize(value) for name, value in item.items()}


def to_time(text: str) -> datetime:
    """The time written by this module."""
    return datetime.fromisoformat(text)


def to_time_or_none(text: str | None) -> datetime | None:
    """Like to_time, for an attribute that may be absent."""
    return None if text is None else to_time(text)


def time_text(at: datetime) -> str:
    """A time as text that sorts by time."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _plain(value: Any) -> Any:
    match value:
        case float():
            return Decimal(str(value))
        case datetime():
            return time_text(value)
        case dict():
            return {name: _plain(inner) for name, inner in value.items() if inner is not None}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case str():
            return str(value)  # a StrEnum becomes its value
        case _:
            return value


def _render_pairs(pairs: dict[str, Any], prefix: str, names: dict[str, str], values: dict[str, Any]) -> list[str]:
    rendered = []
    for index, (name, value) in enumerate(pairs.items()):
        names[f"#{prefix}{index}"] = name
        if value is None:
            rendered.append(f"attribute_not_exists(#{prefix}{index})")
            continue
        values[f":{prefix}{index}"] = value
        rendered.append(f"#{prefix}{index} = :{prefix}{index}")
    return rendered
