"""The local AWS endpoint: moto behind a real socket, with the checks and locks moto leaves out.

One WSGI application in front of moto's:
    DynamoDB   one request at a time; moto checks a condition and writes in two steps (it sold 312 of 300 credits)
    S3         presigned URLs and POST policies are checked (``presigned``), writes to one key do not interleave
    SQS        a long poll learns when its client is gone, so that no message is handed to nobody
    Lambda     Invoke runs the stack's own function instead of moto's
"""

from __future__ import annotations

import datetime as dt
import io
import json
import logging
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterable
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


class LocalAws:
    """moto's services at ``endpoint_url`` from ``start`` to ``stop``. Fixes of moto_fixes must have been applied."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, calls_file: Path | None = None) -> None:
        import waitress
        from moto.server import DomainDispatcherApplication, create_backend_app

        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # long polls make a queue; no cause for alarm
        self._moto: WsgiApp = DomainDispatcherApplication(create_backend_app)
        self._dynamodb = threading.RLock()
        self._keys = [threading.RLock() for _ in range(64)]
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

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        self._calls.add((_access_key(environ), target))
        if self._calls_file:
            self._calls_file.note(_access_key(environ), environ)
        if target.startswith("DynamoDB_"):
            with self._dynamodb:
                return self._moto(environ, start_response)
        if target.startswith("AmazonSQS."):
            moto_sqs.serve_for(environ.get("waitress.client_disconnected"))
            try:
                return self._moto(environ, start_response)
            finally:
                moto_sqs.serve_for(None)
        path = environ.get("PATH_INFO", "")
        invocation = _INVOKE.match(path)
        if invocation and environ["REQUEST_METHOD"] == "POST" and self._invoke:
            return self._invoke_function(urllib.parse.unquote(invocation[1]), environ, start_response)
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


def _access_key(environ: Environ) -> str:
    """Who calls: the access key id; every function and worker of the stack has one of its own name."""
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    return str(authorization.partition("Credential=")[2].partition("/")[0])


def _is_s3(environ: Environ) -> bool:
    authorization = environ.get("HTTP_AUTHORIZATION", "")
    if authorization:
        return "/s3/aws4_request" in authorization
    return not environ.get("PATH_INFO", "").startswith("/moto-api")
