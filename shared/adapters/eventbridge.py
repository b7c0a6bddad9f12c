"""The stack's event bus."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE = "audiototext"


class EventRefused(Exception):
    """EventBridge took the call but not the event."""


class EventBus:
    """One EventBridge bus."""

    def __init__(self, client: EventBridgeClient, name: str) -> None:
        self._client = client
        self._name = name

    def publish(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Publish one event. Raises EventRefused when it was not taken."""
        entry = {
            "Source": SOURCE,
            "DetailType": detail_type,
            "Detail": json.dumps(detail),
            "EventBusName": self._name,
        }
        answer = self._client.put_events(Entries=[entry])  # type: ignore[list-item]
        if answer["FailedEntryCount"]:
            raise EventRefused(answer["Entries"][0].get("ErrorCode", "unknown"))
