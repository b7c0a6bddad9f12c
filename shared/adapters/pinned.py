"""Connections to addresses that strangers name: every address checked, and the one checked is the one connected to.

The name is resolved once, every address it has is checked, and the connection goes to an address that was checked: a
name that changes its mind in between (DNS rebinding) changes nothing. Everything that goes out on a customer's word -
webhooks, downloads, yt-dlp through its proxy - goes through here. The standard library's http.client over a socket of
our own, because that is the whole of it: urllib3 and requests resolve names themselves, and would have to be talked out
of redirects, proxies and retries.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from shared.domain.urls import IpAddress, WebUrl, is_loopback_host, is_public_address

MAX_ADDRESSES = 8  # tried in turn

Resolve = Callable[[str, int], Sequence[str]]


class HttpFailure(Exception):
    """There was no answer; the message says why in a few words, without anything the receiver sent."""


class ForbiddenAddress(HttpFailure):
    """The name resolves to an address that is not in the public internet."""


class UnknownHost(HttpFailure):
    """The name does not resolve."""


def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, in the system's order of preference."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class GuardedConnector:
    """Opens connections to public addresses only (``allow_loopback``: to this machine by its own names, too)."""

    def __init__(
        self, *, allow_loopback: bool = False, resolve: Resolve = resolve, tls: ssl.SSLContext | None = None
    ) -> None:
        self.allow_loopback = allow_loopback
        self._resolve = resolve
        self._tls = tls

    def connect(self, host: str, port: int, deadline: Deadline) -> socket.socket:
        """A connection to one of the host's addresses, after every one of them was checked.

        Raises ForbiddenAddress, UnknownHost, TimeoutError, OSError.
        """
        problem: OSError | None = None
        addresses = self._checked_addresses(host, port, deadline)[:MAX_ADDRESSES]
        for number, address in enumerate(addresses):
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.settimeout(deadline.remaining() / (len(addresses) - number))  # a dead one leaves time for the next
            try:
                sock.connect((str(address), port))
            except OSError as error:
                sock.close()
                problem = error
            else:
                return sock
        raise problem or UnknownHost("the host name has no address")

    def check(self, host: str, port: int, deadline: Deadline) -> None:
        """Raise ForbiddenAddress, UnknownHost or TimeoutError unless every address of the host may be connected to."""
        if not self._checked_addresses(host, port, deadline):
            raise UnknownHost("the host name has no address")

    def secure(self, raw: socket.socket, host: str, deadline: Deadline) -> socket.socket:
        """The connection under TLS; the certificate must be the name's. Raises ssl.SSLError."""
        raw.settimeout(deadline.remaining())
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls.wrap_socket(raw, server_hostname=host)

    @contextlib.contextmanager
    def exchange(
        self, method: str, url: WebUrl, headers: Mapping[str, str], deadline: Deadline, body: bytes = b""
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request; inside the block its answer can be read. Raises like ``connect``, and HTTPException."""
        raw = self.connect(url.host, url.port, deadline)
        with raw, self.secure(raw, url.host, deadline) if url.scheme == "https" else raw as sock:
            connection = http.client.HTTPConnection(url.host, url.port)
            connection.sock = BoundedSocket(sock, deadline)
            connection.putrequest(method, url.target, skip_host=True, skip_accept_encoding=True)
            length = {"Content-Length": str(len(body))} if method == "POST" else {}
            for name, value in {"Host": url.authority, **headers, **length, "Connection": "close"}.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            yield connection.getresponse()

    def _checked_addresses(self, host: str, port: int, deadline: Deadline) -> list[IpAddress]:
        addresses = [ipaddress.ip_address(text) for text in _resolve_in_time(self._resolve, host, port, deadline)]
        loopback = self.allow_loopback and is_loopback_host(host)
        for address in addresses:
            if not (address.is_loopback if loopback else is_public_address(address)):
                raise ForbiddenAddress("the host name resolves to an address outside the public internet")
        return addresses


class Deadline:
    """The end of the whole exchange, however many reads it takes."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left. Raises TimeoutError when there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class BoundedSocket:
    """What http.client needs of a socket, with the deadline before each operation: a byte a minute helps nobody."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def sendall(self, data: bytes) -> None:
        """Send everything within the deadline."""
        rest = memoryview(data)
        while rest:
            self._sock.settimeout(self._deadline.remaining())
            rest = rest[self._sock.send(rest[: 256 * 1024]) :]

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The answer as a stream."""
        return io.BufferedReader(_BoundedStream(self._sock, self._deadline))

    def close(self) -> None:
        """Nothing: who made the socket closes it."""


class _BoundedStream(io.RawIOBase):
    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._deadline.remaining())
        return self._sock.recv_into(buffer)


def _resolve_in_time(resolve: Resolve, host: str, port: int, deadline: Deadline) -> Sequence[str]:
    """The name's addresses. The system's resolver knows no time-out, so it runs on a thread that may be left behind."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolve(host, port))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=deadline.remaining())
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise UnknownHost("the host name could not be resolved") from answer
    found: Sequence[str] = answer
    return found
