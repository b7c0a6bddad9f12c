"""Small web servers on loopback for tests of what goes out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """What a path is answered with. ``claims_bytes`` is a Content-Length that may be a lie."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    claims_bytes: int | None = None
    ranges: bool = True
    stalls_seconds: float = 0.0  # after the body, with the connection still open


@dataclass
class Site:
    """A running server: its port and the requests it got, as (method, path)."""

    port: int
    requests: list[tuple[str, str]]

    def url(self, path: str = "/") -> str:
        """An address on it."""
        return f"http://127.0.0.1:{self.port}{path}"


@contextlib.contextmanager
def site(answer: Callable[[str], Reply]) -> Iterator[Site]:
    """Serve ``answer(path)`` on a free port of 127.0.0.1."""
    requests: list[tuple[str, str]] = []
    stopping = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            requests.append((self.command, self.path))
            reply = answer(self.path)
            body, status, headers = reply.body, reply.status, dict(reply.headers)
            asked = self.headers.get("Range", "")
            if asked.startswith("bytes=") and reply.ranges and status == 200:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
                body, status = body[int(first) : int(last) + 1], 206
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if reply.claims_bytes != -1:
                self.send_header("Content-Length", str(len(body) if reply.claims_bytes is None else reply.claims_bytes))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)
                stopping.wait(reply.stalls_seconds)

        do_GET = do_POST = do_CONNECT = _serve  # noqa: N815 - the names the base class looks for

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield Site(port=server.server_address[1], requests=requests)
    finally:
        stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
