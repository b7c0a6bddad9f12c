"""An HTTP proxy on loopback that connects only where we may: for programs with a network stack of their own.

yt-dlp resolves names, follows redirects and fetches whatever a page tells it to. Sent through this proxy, every one of
its connections passes the same guard as ours: CONNECT for https, plain requests for http. A deployment's own proxy for
sites stands behind this one: what the guard forbids does not reach it. It resolves names anew, in its own network.
"""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.adapters.pinned import Deadline, GuardedConnector, HttpFailure
from shared.domain.urls import UnsafeUrl, WebUrl, parse_source_url

MAX_HEADER_BYTES = 64 * 1024
CONNECT_SECONDS = 15.0
IDLE_SECONDS = 60.0
_BUFFER_BYTES = 64 * 1024
_HOP_HEADERS = ("proxy-connection:", "proxy-authorization:", "connection:", "keep-alive:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Another proxy that makes the connections; it is the operator's, so it may be anywhere."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)  # a header line, or nothing

    @classmethod
    def parse(cls, text: str) -> Upstream:
        """From ``http://user:password@host:port``. Raises ValueError."""
        parts = urlsplit(text)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError("a proxy must be given as http://user:password@host:port")
        credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()
        line = f"Proxy-Authorization: Basic {base64.b64encode(credentials).decode()}\r\n" if parts.username else ""
        return cls(host=parts.hostname, port=parts.port or 3128, authorization=line)


@contextlib.contextmanager
def guard_proxy(connector: GuardedConnector, upstream: Upstream | None = None) -> Iterator[str]:
    """The address of a running proxy, for the time of the block."""
    server = _Server(("127.0.0.1", 0), _Tunnel)
    server.connector, server.upstream = connector, upstream
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="proxy", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    connector: GuardedConnector
    upstream: Upstream | None


class _Tunnel(socketserver.BaseRequestHandler):
    """One connection of the program's: one request, then bytes both ways."""

    server: _Server
    request: socket.socket

    def handle(self) -> None:
        """Serve it."""
        self.request.settimeout(IDLE_SECONDS)
        with contextlib.suppress(OSError):
            head, rest = _read_head(self.request)
            try:
                method, url, target = _destination(head, allow_loopback=self.server.connector.allow_loopback)
                far = self._connect(url, Deadline(CONNECT_SECONDS))
            except (UnsafeUrl, HttpFailure):
                self._answer("403 Forbidden")
            except (ValueError, UnicodeError):
                self._answer("400 Bad Request")
            except OSError:
                self._answer("502 Bad Gateway")
            else:
                with far:
                    self._serve(far, method, url, _forwarded(head, method, target, self.server.upstream), rest)

    def _connect(self, url: WebUrl, deadline: Deadline) -> socket.socket:
        upstream = self.server.upstream
        if upstream is None:
            return self.server.connector.connect(url.host, url.port, deadline)
        self.server.connector.check(url.host, url.port, deadline)
        return socket.create_connection((upstream.host, upstream.port), timeout=deadline.remaining())

    def _serve(self, far: socket.socket, method: str, url: WebUrl, forwarded: bytes, rest: bytes) -> None:
        upstream = self.server.upstream
        if method != "CONNECT":
            far.sendall(forwarded + rest)
            _pump(self.request, far)
            return
        first = b""
        if upstream is not None:
            there = f"[{url.host}]:{url.port}" if ":" in url.host else f"{url.host}:{url.port}"
            far.sendall(f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n{upstream.authorization}\r\n".encode())
            answer, first = _read_head(far)
            if answer.split(b" ")[1:2] != [b"200"]:
                self._answer("502 Bad Gateway")
                return
        self._answer("200 Connection established", close=False)
        self.request.sendall(first)
        far.sendall(rest)
        _pump(self.request, far)

    def _answer(self, status: str, *, close: bool = True) -> None:
        end = "Content-Length: 0\r\nConnection: close\r\n\r\n" if close else "\r\n"
        self.request.sendall(f"HTTP/1.1 {status}\r\n{end}".encode())


def _read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(_BUFFER_BYTES)
        if not more or len(data) > MAX_HEADER_BYTES:
            raise OSError("no request")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _destination(head: bytes, *, allow_loopback: bool) -> tuple[str, WebUrl, str]:
    method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
    text = f"https://{target}/" if method == "CONNECT" else target
    url = parse_source_url(text, allow_loopback=allow_loopback)
    if method != "CONNECT" and url.scheme != "http":
        raise ValueError("https goes through CONNECT")
    return method, url, url.target


def _forwarded(head: bytes, method: str, target: str, upstream: Upstream | None) -> bytes:
    """The request as its server expects it, one request per connection, so that each is checked.

    A server expects the path alone, another proxy the whole URL.
    """
    first, *lines = head.split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(tuple(name.encode() for name in _HOP_HEADERS))]
    if upstream is not None:
        target = first.split(b" ")[1].decode("ascii")
        kept += [upstream.authorization.removesuffix("\r\n").encode()] if upstream.authorization else []
    return b"\r\n".join([f"{method} {target} HTTP/1.1".encode("ascii"), *kept, b"Connection: close", b"", b""])


def _pump(near: socket.socket, far: socket.socket) -> None:
    """Copy both ways until one side is done or nothing has moved for a while."""
    other: dict[Any, Any] = {near: far, far: near}
    far.settimeout(IDLE_SECONDS)
    while True:
        readable, _, _ = select.select([near, far], [], [], IDLE_SECONDS)
        if not readable:
            return
        for sock in readable:
            data = sock.recv(_BUFFER_BYTES)
            if not data:
                return
            other[sock].sendall(data)
