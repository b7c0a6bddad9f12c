"""SQS in moto, made atomic and of flat cost.

moto's queue is a plain list changed by many threads: a send during a delete is lost (the delete replaces the list),
two receivers can get one message, a long poll wakes once a second, and every call walks the queue through slow time
arithmetic (1.6 s per receive at 2,000 messages). Here one condition per queue guards every change, and a waiting
receiver wakes when a message arrives or becomes visible.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from typing import Any

_LONGEST_NAP_SECONDS = 1.0  # how often a waiting receiver looks whether its client is still there

_request = threading.local()
taking = threading.Lock()
"""Held while a receiver takes messages: with it, and other requests kept out, queues do not change."""


def receiver_left() -> bool:
    """True once the client of the request on this thread has closed its connection."""
    check: Callable[[], bool] | None = getattr(_request, "client_disconnected", None)
    return check is not None and check()


def serve_for(client_disconnected: Callable[[], bool] | None) -> None:
    """Say how to find out whether the client of the request on this thread is still there."""
    _request.client_disconnected = client_disconnected


def apply() -> None:
    """Replace moto's queue operations. Safe to repeat."""
    import moto.sqs.models

    sqs: Any = moto.sqs.models
    sqs.unix_time = _unix_time
    sqs.unix_time_millis = _unix_time_millis
    if hasattr(sqs.SQSBackend.receive_message, "moto_original"):
        return
    receive = sqs.SQSBackend.receive_message

    def receive_message(
        backend: Any,
        queue_name: str,
        count: int,
        wait_seconds_timeout: int,
        visibility_timeout: int,
        message_attribute_names: list[str] | None = None,
    ) -> list[Any]:
        queue = backend.get_queue(queue_name)
        if queue.fifo_queue:  # groups and deduplication: moto's own way, none of ours is FIFO
            fifo: list[Any] = receive(
                backend, queue_name, count, wait_seconds_timeout, visibility_timeout, message_attribute_names
            )
            return fifo
        received = _wait_for_messages(queue, int(count), float(wait_seconds_timeout or 0), int(visibility_timeout or 0))
        for message in received:
            sqs._filter_message_attributes(message, message_attribute_names or [])  # noqa: SLF001 - moto has no public way
        return received

    receive_message.moto_original = receive  # type: ignore[attr-defined]
    sqs.SQSBackend.receive_message = receive_message
    sqs.SQSBackend.change_message_visibility = _guarded_change(sqs.SQSBackend.change_message_visibility)
    sqs.SQSBackend.purge_queue = _guarded_purge(sqs.SQSBackend.purge_queue)
    sqs.Queue.delete_message = _delete_message(sqs.ReceiptHandleIsInvalid)


def _unix_time(dt: Any = None) -> float:
    return time.time() if dt is None else float(dt.timestamp())


def _unix_time_millis(dt: Any = None) -> float:
    return _unix_time(dt) * 1000.0


def _wait_for_messages(queue: Any, count: int, wait_seconds: float, visibility_seconds: int) -> list[Any]:
    """Up to ``count`` messages, waiting up to ``wait_seconds`` for the first."""
    deadline = time.monotonic() + wait_seconds
    changed = queue._messages_lock  # noqa: SLF001 - moto's own condition, which add_message notifies
    with changed:
        while True:
            if wait_seconds and receiver_left():
                return []  # a message given to nobody would stay invisible for its whole visibility timeout
            with taking:
                received = _take(queue, count, visibility_seconds)
            remaining = deadline - time.monotonic()
            if received or remaining <= 0:
                return received
            changed.wait(min(remaining, _seconds_to_next(queue), _LONGEST_NAP_SECONDS))


def _take(queue: Any, count: int, visibility_seconds: int) -> list[Any]:
    """Mark and copy the visible messages; those received too often go to the dead-letter queue, the old vanish."""
    now_ms = time.time() * 1000.0
    limit = int(queue.redrive_policy["maxReceiveCount"]) if queue.redrive_policy and queue.dead_letter_queue else None
    oldest_ms = now_ms - queue.message_retention_period * 1000.0
    received, dead, expired = [], [], []
    for message in queue._messages:  # noqa: SLF001
        if message.sent_timestamp <= oldest_ms:
            expired.append(message)
        elif message.visible_at >= now_ms or message.delayed_until > now_ms:
            continue
        elif limit is not None and message.approximate_receive_count >= limit:
            dead.append(message)
        else:
            queue.pending_messages.add(message)
            message.mark_received(visibility_timeout=visibility_seconds)
            received.append(copy.copy(message))
            if len(received) >= count:
                break
    for message in (*dead, *expired):
        queue._messages.remove(message)  # noqa: SLF001
        queue.pending_messages.discard(message)
    for message in dead:
        queue.dead_letter_queue.add_message(message)
    return received


def _seconds_to_next(queue: Any) -> float:
    now_ms = time.time() * 1000.0
    moments = (max(message.visible_at, message.delayed_until) for message in queue._messages)  # noqa: SLF001
    return max(0.001, min((moment - now_ms for moment in moments), default=60_000.0) / 1000.0)


def _guarded_change(original: Callable[..., None]) -> Callable[..., None]:
    def change_message_visibility(backend: Any, queue_name: str, receipt_handle: str, visibility_timeout: int) -> None:
        changed = backend.get_queue(queue_name)._messages_lock  # noqa: SLF001
        with changed:
            original(backend, queue_name, receipt_handle, visibility_timeout)
            changed.notify_all()

    return change_message_visibility


def _guarded_purge(original: Callable[..., None]) -> Callable[..., None]:
    def purge_queue(backend: Any, queue_name: str) -> None:
        with backend.get_queue(queue_name)._messages_lock:  # noqa: SLF001
            original(backend, queue_name)

    return purge_queue


def _delete_message(receipt_handle_is_invalid: type[Exception]) -> Callable[..., None]:
    def delete_message(queue: Any, receipt_handle: str) -> None:
        with queue._messages_lock:  # noqa: SLF001
            if receipt_handle in queue.deleted_messages:
                return
            for index, message in enumerate(queue._messages):  # noqa: SLF001
                if message.had_receipt_handle(receipt_handle):
                    del queue._messages[index]  # noqa: SLF001
                    queue.pending_messages.discard(message)
                    queue.deleted_messages.update(handle for handle in message.all_receipt_handles if handle)
                    return
        raise receipt_handle_is_invalid

    return delete_message
