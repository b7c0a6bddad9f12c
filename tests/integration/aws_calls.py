"""Counts the calls to AWS that a piece of code makes, by botocore's own events."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def counted(*clients: Any) -> Iterator[list[str]]:
    """The operations called on ``clients`` inside the block, in order, retries included."""
    calls: list[str] = []

    def note(event_name: str, **_: Any) -> None:
        calls.append(event_name.removeprefix("request-created."))

    for client in clients:
        client.meta.events.register_first("request-created", note, unique_id="counted")
    try:
        yield calls
    finally:
        for client in clients:
            client.meta.events.unregister("request-created", note, unique_id="counted")
