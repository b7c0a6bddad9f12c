"""Servers that webhooks are sent to in tests: each does what its script says, over real sockets."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

Script = Callable[[socket.socket, int], None]  # the connection, and how many came before it


@dataclass(slots=True)
class Receiver:
    """A listening server and the requests it was sent."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    requested: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/hook"

    def wait_for_request(self, seconds: float) -> None:
        """Return once a request has come. Raises TimeoutError."""
        if not self.requested.wait(seconds):
            raise TimeoutError(f"no request within {seconds} s")


def read_request(connection: socket.socket) -> bytes:
    """One whole request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += (piece := connection.recv(65_536))
        if not piece:
            return data
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0]) if lengths else False:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def answering(*answers: bytes) -> Script:
    """A script that gives the n-th request the n-th answer, and the last one from then on."""

    def script(connection: socket.socket, number: int) -> None:
        connection.sendall(answers[min(number, len(answers) - 1)])

    return script


def trickling(pieces: bytes, every_seconds: float) -> Script:
    """A script that sends its answer byte by byte."""

    def script(connection: socket.socket, _number: int) -> None:
        for piece in pieces:
            connection.sendall(bytes([piece]))
            time.sleep(every_seconds)

    return script


@contextlib.contextmanager
def receiver(script: Script, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A server on a free port of loopback for the time of the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    running = Receiver(port=listener.getsockname()[1])

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                if tls is not None:
                    connection = tls.wrap_socket(connection, server_side=True)
                with connection:
                    number = len(running.requests)
                    running.requests.append(read_request(connection))
                    running.requested.set()
                    script(connection, number)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=5)
