"""The customer's side of a webhook: a small HTTP server that keeps the first event it gets."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from infra.demo.client import DemoFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedWebhook:
    """One delivery, as it came."""

    headers: dict[str, str]  # names in lower case
    body: dict[str, Any]

    @property
    def signed(self) -> bool:
        """Whether it carries a Standard Webhooks signature."""
        return "webhook-signature" in self.headers


class WebhookReceiver:
    """``with WebhookReceiver() as receiver:`` listens on a free loopback port until the end of the block."""

    def __init__(self) -> None:
        self._arrived = threading.Event()
        self._first: ReceivedWebhook | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="webhook-receiver", daemon=True)

    @property
    def url(self) -> str:
        """Where to send webhooks."""
        return f"http://127.0.0.1:{self._server.server_port}/transcription-complete"

    def wait(self, timeout_seconds: float) -> ReceivedWebhook:
        """The first delivery. Raises DemoFailed when there was none in time."""
        self._arrived.wait(timeout_seconds)
        if self._first is None:
            raise DemoFailed(f"The transcription is done, but no webhook arrived within {timeout_seconds:.0f} s.")
        return self._first

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _keep(self, webhook: ReceivedWebhook) -> None:
        if self._first is None:
            self._first = webhook
        self._arrived.set()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        keep = self._keep

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                try:
                    event = json.loads(body)
                except ValueError:
                    event = None
                self.send_response(204 if isinstance(event, dict) else 400)
                self.end_headers()
                if isinstance(event, dict):
                    keep(ReceivedWebhook(headers={k.lower(): v for k, v in self.headers.items()}, body=event))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Say nothing: the report tells what arrived."""

        return Handler
