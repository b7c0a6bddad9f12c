"""Where moto differs from AWS in a way our stack can feel. Each function mends one thing; ``apply`` does them all.

Every fix has a test in tests/infra/test_moto_fixes.py that fails without it. SQS has its own module, moto_sqs.
"""

from __future__ import annotations

import base64
import copy
import json
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, Final

from infra.local import moto_sqs

# moto.cloudformation imports the models of every service it can create, two seconds of CPU on a laptop. These are
# the ones no resource of ours needs; ec2 alone loads megabytes of instance types.
_UNUSED_SERVICES: Final = (
    *("apigateway", "autoscaling", "batch", "datapipeline", "ec2", "ecs", "efs", "elb", "elbv2", "emr", "iot"),
    *("rds", "redshift", "route53", "sagemaker", "stepfunctions"),
)

AsyncInvoke = Callable[[str, dict[str, Any]], None]
"""Takes a function's ARN and an event; must not block."""


def apply(*, invoke_async: AsyncInvoke) -> None:
    """Mend moto for this process; ``invoke_async`` receives what EventBridge sends to a function. Safe to repeat."""
    import_cloudformation_quickly()
    event_bus_has_an_id()
    rules_deliver_like_eventbridge(invoke_async)
    transactions_copy_only_touched_items()
    items_are_answered_as_they_are()
    services_are_listed_once()
    instances_are_let_go()
    moto_sqs.apply()


def import_cloudformation_quickly() -> None:
    """Import moto.cloudformation without the services a serverless stack never uses (2.0 s → 0.4 s)."""
    if "moto.cloudformation.parsing" in sys.modules:
        return
    stand_ins: dict[str, types.ModuleType] = {}
    for service in _UNUSED_SERVICES:
        package, models = types.ModuleType(f"moto.{service}"), types.ModuleType(f"moto.{service}.models")
        package.__path__ = []
        package.__dict__["models"] = models
        stand_ins |= {package.__name__: package, models.__name__: models}
    core = types.ModuleType("moto.ec2.models.core")
    core.__dict__["TaggedEC2Resource"] = type("TaggedEC2Resource", (), {})
    stand_ins["moto.ec2.models"].__path__ = []
    stand_ins["moto.ec2"].__dict__["ec2_backends"] = {}  # ssm asks it for instances to send commands to
    stand_ins[core.__name__] = core
    missing = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(missing)
    try:
        import moto.cloudformation.parsing  # noqa: F401 - imported for its effect on sys.modules
    finally:
        for name in missing:  # a later, real use of the service must find the real one
            sys.modules.pop(name, None)


def event_bus_has_an_id() -> None:
    """``!Ref Bus`` gives moto's object instead of the bus's name, and a rule on that bus fails to be created."""
    from moto.events.models import EventBus

    EventBus.physical_resource_id = property(lambda bus: bus.name)  # type: ignore[attr-defined]


def rules_deliver_like_eventbridge(invoke_async: AsyncInvoke) -> None:
    """Rules: a schedule matches no event, a function is a target, and each target gets its own copy of the event.

    moto lets a scheduled rule match every event, fails on a Lambda target, and rewrites the event's ``time`` in
    place, so that a second SQS target of the same event fails on the rewritten value.
    """
    from moto.events.models import Rule

    original_targets, original_sqs = _original(Rule, "send_to_targets"), _original(Rule, "_send_to_sqs_queue")

    def send_to_targets(rule: Rule, original_event: Any, transform_input: bool = True) -> None:
        if rule.scheduled_expression or rule.state == "DISABLED":
            return
        if not rule.event_pattern.matches_event(original_event):
            return
        others = []
        for target in rule.targets:
            if ":lambda:" in target["Arn"]:
                invoke_async(target["Arn"], _function_event(original_event, target))
            else:
                others.append(target)
        whole, rule.targets = rule.targets, others
        try:
            original_targets(rule, original_event, transform_input)
        finally:
            rule.targets = whole

    def send_to_sqs_queue(rule: Rule, resource_id: str, event: Any, group_id: str | None = None) -> None:
        original_sqs(rule, resource_id, copy.deepcopy(event), group_id)

    _replace(Rule, "send_to_targets", send_to_targets)
    _replace(Rule, "_send_to_sqs_queue", send_to_sqs_queue)


def _function_event(event: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    from moto.core.utils import iso_8601_datetime_without_milliseconds, utcfromtimestamp

    if target.get("Input"):
        constant: dict[str, Any] = json.loads(target["Input"])
        return constant
    delivered = copy.deepcopy(dict(event))
    if isinstance(delivered.get("time"), int | float):
        delivered["time"] = iso_8601_datetime_without_milliseconds(utcfromtimestamp(delivered["time"]))
    return delivered


_transactions = threading.RLock()


def transactions_copy_only_touched_items() -> None:
    """TransactWriteItems: undo only the items it names. moto copies whole tables: 1 s a transaction at 5,000 items."""
    import moto.dynamodb.models as dynamodb
    from moto.dynamodb.models.table import Table

    original = _original(dynamodb.DynamoDBBackend, "transact_write_items")

    class TablesStay:
        """Stands in for ``copy`` in moto's module: a table is not copied, everything else is."""

        copy = staticmethod(copy.copy)

        @staticmethod
        def deepcopy(value: Any, memo: dict[int, Any] | None = None) -> Any:
            return value if isinstance(value, Table) else copy.deepcopy(value, memo)

    def transact_write_items(backend: Any, transact_items: list[dict[str, Any]]) -> None:
        with _transactions:
            before = [_Before(table, operation) for table, operation in _writes(backend, transact_items)]
            try:
                original(backend, transact_items)
            except Exception:
                for state in reversed(before):
                    state.restore()
                raise

    dynamodb.copy = TablesStay  # type: ignore[assignment, attr-defined, unused-ignore]
    _replace(dynamodb.DynamoDBBackend, "transact_write_items", transact_write_items)


def _writes(backend: Any, transact_items: list[dict[str, Any]]) -> list[tuple[Any, dict[str, Any]]]:
    found = []
    for item in transact_items:
        kind, operation = next(iter(item.items()))
        table = backend.tables.get(operation.get("TableName"))
        if table is not None and kind != "ConditionCheck":
            found.append((table, operation))
    return found


class _Before:
    """One item of one table as it was, and the length of the table's stream."""

    def __init__(self, table: Any, operation: dict[str, Any]) -> None:
        from moto.dynamodb.models import DynamoType

        key = operation.get("Item") or operation.get("Key") or {}
        self._table = table
        self._complete = table.hash_key_attr in key and (not table.range_key_attr or table.range_key_attr in key)
        if not self._complete:
            return  # moto refuses the operation before it writes anything
        self._hash = DynamoType(key[table.hash_key_attr])
        self._range = DynamoType(key[table.range_key_attr]) if table.range_key_attr else None
        self._item = copy.deepcopy(self._current())
        self._stream_length = None if table.stream_shard is None else len(table.stream_shard.items)

    def _current(self) -> Any:
        found = self._table.items.get(self._hash)
        if self._range is None:
            return found
        return None if found is None else found.get(self._range)

    def restore(self) -> None:
        if not self._complete:
            return
        items, key = self._table.items, self._hash
        if self._range is not None:
            items, key = items.setdefault(self._hash, {}), self._range
        if self._item is None:
            items.pop(key, None)
        else:
            items[key] = self._item
        if self._stream_length is not None:
            del self._table.stream_shard.items[self._stream_length :]


def items_are_answered_as_they_are() -> None:
    """DynamoDB answers: an attribute value is written as it is. moto asks eleven questions of each (5 ms an item)."""
    from moto.core.serialize import BaseJSONSerializer

    original = _original(BaseJSONSerializer, "_serialize_type_structure")

    def serialize_type_structure(serializer: Any, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if key and shape.name == "AttributeValue" and isinstance(value, dict):
            serialized[key] = _as_json(value)
        else:
            original(serializer, serialized, value, shape, key)

    _replace(BaseJSONSerializer, "_serialize_type_structure", serialize_type_structure)


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, dict):
        return {name: _as_json(each) for name, each in value.items()}
    if isinstance(value, list | set | tuple):
        return [_as_json(each) for each in value]
    return value


def services_are_listed_once() -> None:
    """moto lists its own folder, two hundred entries, twice for every request."""
    from moto import backends

    listed = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: listed


def instances_are_let_go() -> None:
    """moto keeps every item, message and object it ever made, for a reset of all services that nobody asks for here."""
    from moto.core.common_models import BaseModel

    def new(cls: type, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    BaseModel.__new__ = new  # type: ignore[method-assign]


def _original(owner: type, name: str) -> Any:
    """The method as moto wrote it, however often we replaced it."""
    current = getattr(owner, name)
    return getattr(current, "moto_original", current)


def _replace(owner: type, name: str, function: Any) -> None:
    function.moto_original = _original(owner, name)
    setattr(owner, name, function)
