"""The local AWS endpoint: moto behind a real socket, with the checks and locks moto leaves out.

One WSGI application in front of moto's:
    DynamoDB   one request at a time; moto checks a condition and writes in two steps (it sold 312 of 300 credits)
    S3         presigned URLs and POST policies are checked (``presigned``), writes to one key do not interleave
    SQS        a long poll learns when its client is gone, so that no message is handed to nobody
    Lambda     Invoke runs the stack's own function instead of moto's

All of it can be made to stand still for a moment, between requests, so that its state can be kept.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import logging
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.local import moto_sqs, presigned
from infra.local.calls import CallsFile

ACCOUNT_ID: Final = "123456789012"  # moto's own
REGION: Final = "us-east-1"
SECRET_KEY: Final = "test"  # noqa: S105 - the local stand-in, public on purpose
_THREADS: Final = 48  # each long poll holds one
_LARGEST_BODY_BYTES: Final = 6 * 1024**3  # S3 takes 5 GiB in one request
_READS: Final = ("Get", "Query", "Scan", "BatchGet", "Describe", "List", "ReceiveMessage")
_INVOKE: Final = re.compile(r"^/2015-03-31/functions/([^/]+)/invocations$")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What a function answered: its payload, and ``error`` (Lambda's X-Amz-Function-Error) when it failed."""

    payload: bytes
    error: str | None = None


Invoke = Callable[[str, bytes, bool], Invocation]
"""Takes a function name or ARN, the payload, and whether to wait for the answer. KeyError: no such function."""


class Gate:
    """Lets many through at once, or stands shut with nobody inside."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._shut = False

    @contextlib.contextmanager
    def passing(self) -> Iterator[None]:
        """Wait until it is open, and be inside for the time of the block."""
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def shut(self) -> Iterator[None]:
        """Shut it, wait until those inside have left, and keep it shut for the time of the block."""
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._shut = True
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._shut = False
                self._changed.notify_all()


class LocalAws:
    """moto's services at ``endpoint_url`` from ``start`` to ``stop``. Fixes of moto_fixes must have been applied."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, calls_file: Path | None = None) -> None:
        import waitress
        from moto.server import DomainDispatcherApplication, create_backend_app

        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # long polls make a queue; no cause for alarm
        self._moto: WsgiApp = DomainDispatcherApplication(create_backend_app)
        self._dynamodb = threading.RLock()
        self._keys = [threading.RLock() for _ in range(64)]
        self._gate = Gate()
        self.writes = 0
        """How many requests were more than a look."""
        self._calls: set[tuple[str, str]] = set()
        self._calls_file = CallsFile(calls_file) if calls_file else None
        self._invoke: Invoke | None = None
        self._server = waitress.create_server(
            self,
            host=host,
            port=port,
            threads=_THREADS,
            connection_limit=1000,
            channel_timeout=120,
            channel_request_lookahead=1,  # lets a long poll see that its client has gone
            max_request_body_size=_LARGEST_BODY_BYTES,
            asyncore_use_poll=True,
            ident=None,
        )
        _answer_empty_bodies_at_once(self._server)
        self.endpoint_url: Final = f"http://{host}:{self._server.effective_port}"

    def start(self) -> None:
        """Serve from a thread of its own."""
        threading.Thread(target=self._server.run, name="local-aws", daemon=True).start()

    def stop(self) -> None:
        """Take no more requests."""
        self._server.close()

    def on_invoke(self, invoke: Invoke) -> None:
        """Answer Lambda's Invoke API with ``invoke``."""
        self._invoke = invoke

    def has_been_called(self, *, access_key: str, target: str) -> bool:
        """Whether this caller has made this call, e.g. ``AmazonSQS.ReceiveMessage``."""
        return (access_key, target) in self._calls

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """For the time of the block no request is under way but long polls, which take nothing."""
        with self._gate.shut(), moto_sqs.taking:
            yield

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        self._calls.add((_access_key(environ), target))
        if self._calls_file:
            self._calls_file.note(_access_key(environ), environ)
        if target == "AmazonSQS.ReceiveMessage":  # may wait for 20 s: kept out of nothing but the taking
            moto_sqs.serve_for(environ.get("waitress.client_disconnected"))
            try:
                return self._moto(environ, start_response)
            finally:
                moto_sqs.serve_for(None)
        invocation = _INVOKE.match(environ.get("PATH_INFO", ""))
        if invocation and environ["REQUEST_METHOD"] == "POST" and self._invoke:  # makes requests of its own
            return self._invoke_function(urllib.parse.unquote(invocation[1]), environ, start_response)
        with self._gate.passing():
            self.writes += not _is_read(target, environ["REQUEST_METHOD"])
            return self._answer(target, environ, start_response)

    def _answer(self, target: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if target.startswith("DynamoDB_"):
            with self._dynamodb:
                return self._moto(environ, start_response)
        if not target and _is_s3(environ):
            return self._s3(environ, start_response)
        return self._moto(environ, start_response)

    def _s3(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            presigned.check(environ, secret_key=SECRET_KEY, now=dt.datetime.now(dt.UTC))
        except presigned.S3Refusal as refusal:
            return refusal.response()(environ, start_response)
        if environ["REQUEST_METHOD"] in {"GET", "HEAD"}:
            return self._moto(environ, start_response)
        with self._keys[hash(environ.get("PATH_INFO")) % len(self._keys)]:
            return self._moto(environ, start_response)

    def _invoke_function(self, name: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        assert self._invoke is not None
        payload = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"{}"
        wait = environ.get("HTTP_X_AMZ_INVOCATION_TYPE", "RequestResponse") != "Event"
        headers = [("Content-Type", "application/json"), ("X-Amz-Executed-Version", "$LATEST")]
        try:
            answer = self._invoke(name, payload, wait)
        except KeyError:
            body = json.dumps({"Type": "User", "Message": f"Function not found: {name}"}).encode()
            start_response("404 Not Found", [*headers, ("x-amzn-errortype", "ResourceNotFoundException")])
            return io.BytesIO(body)
        if answer.error:
            headers.append(("X-Amz-Function-Error", answer.error))
        start_response("200 OK" if wait else "202 Accepted", headers)
        return io.BytesIO(answer.payload if wait else b"")


def _answer_empty_bodies_at_once(server: Any) -> None:
    """An empty object is put with ``Expect: 100-continue``, and waitress then waits for its body for ever."""
    from waitress.channel import HTTPChannel

    class Channel(HTTPChannel):  # type: ignore[misc] # waitress has no types
        def send_continue(self) -> None:
            if self.request.completed:
                self.request.expect_continue = False
            else:
                super().send_continue()

    server.channel_class = Channel


def _is_read(target: str, method: str) -> bool:
    """Whether a request leaves everything as it was, receipts of messages aside."""
    if target:
        return target.partition(".")[2].startswith(_READS)
    return method in {"GET", "HEAD"}


def _access_key(environ: Environ) -> str:
    """Who calls: the access key id; every function and worker of the stack has one of its own name."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    return str(authorization.partition("Credential=")[2].partition("/")[0])


def _is_s3(environ: Environ) -> bool:
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    if authorization:
        return "/s3/aws4_request" in authorization
    return not environ.get("PATH_INFO", "").startswith("/moto-api")
