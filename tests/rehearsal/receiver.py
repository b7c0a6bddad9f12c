"""A customer's server on a bad day: refuses, redirects, breaks off before and after it took the message.

It also has recordings to fetch; of some, the first answer breaks off.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from types import TracebackType
from typing import Any, Self

from tests.rehearsal.weather import Weather

BROKEN_DOWNLOADS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One message as it came, under the path it was sent to."""

    path: str
    headers: dict[str, str]  # names in lower case
    raw: bytes

    @property
    def message_id(self) -> str:
        """The same however often the event is sent."""
        return self.headers["webhook-id"]

    @property
    def body(self) -> dict[str, Any]:
        """The GET result."""
        parsed: dict[str, Any] = json.loads(self.raw)
        return parsed


@dataclass
class Received:
    """Everything that was taken; may be read while more comes."""

    taken: list[Taken] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)


class MoodyReceiver:
    """``with MoodyReceiver(weather) as receiver:`` listens on a free loopback port until the end of the block."""

    def __init__(self, weather: Weather) -> None:
        self.received = Received()
        self.recordings: dict[str, bytes] = {}
        self._broken_off: set[str] = set()
        self._weather, self._chance = weather, weather.chance("receiver")
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)

    def url(self, path: str) -> str:
        """Where to send webhooks."""
        return f"http://127.0.0.1:{self._server.server_port}/{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _decide(self) -> str:
        with self._lock:
            mood = "takes it" if self._weather.is_calm else _mood(self._chance)
            self.received.answers[mood] += 1
        if mood != "takes it":
            self._weather.count(f"receiver: {mood}")
        return mood

    def _breaks_off(self, path: str) -> bool:
        """Whether this answer does: never twice for one recording, or its job would fail for good, and rightly so."""
        with self._lock:
            if self._weather.is_calm or path in self._broken_off or self._chance.random() > BROKEN_DOWNLOADS:
                return False
            self._broken_off.add(path)
        self._weather.count("receiver: breaks off a download")
        return True

    def _keep(self, taken: Taken) -> None:
        with self._lock:
            self.received.taken.append(taken)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        decide, keep, breaks_off, recordings = self._decide, self._keep, self._breaks_off, self.recordings

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                whole = recordings.get(self.path.rpartition("/")[2], b"")
                self.send_response(200 if whole else 404)
                self.send_header("Content-Type", "audio/wav")
                self.send_header("Content-Length", str(len(whole)))
                self.end_headers()
                self.wfile.write(whole[: len(whole) // 2] if breaks_off(self.path) else whole)
                self.close_connection = True

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                mood = decide()
                if mood in {"takes it", "takes it and breaks off"}:
                    keep(Taken(path=self.path, headers={k.lower(): v for k, v in self.headers.items()}, raw=raw))
                if mood.endswith("breaks off"):
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response({"takes it": 204, "refuses": 500, "is busy": 503, "redirects": 302}[mood])
                if mood == "is busy":
                    self.send_header("Retry-After", "3")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Say nothing: the bill tells what arrived."""

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that was killed in the middle is part of the day."""


def _mood(chance: Random) -> str:
    return chance.choices(
        ["takes it", "refuses", "is busy", "redirects", "breaks off", "takes it and breaks off"],
        [0.65, 0.15, 0.05, 0.03, 0.06, 0.06],
    )[0]
