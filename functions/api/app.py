"""The HTTP API as an ASGI app: hosted by Mangum on Lambda, by uvicorn anywhere else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions import runtime
from functions.api import errors
from functions.api.routes import sources, transcribe, uploads
from shared import logs
from shared.bootstrap import Services

logger = logging.getLogger(__name__)

LINGER_SECONDS = 3.0


METHODS = ("GET", "POST", "PATCH", "DELETE")
READABLE_HEADERS = (
    "Content-Disposition",
    "ETag",
    "Idempotent-Replayed",
    "Location",
    "Retry-After",
    "X-Job-Id",
    "X-Request-Id",
    "X-Warnings",
)


def create_app(
    services: Callable[[], Services], *, everything: bool = True, cors_origins: Sequence[str] = ()
) -> FastAPI:
    """The app. ``services`` is called when a request first needs them.

    Pages of ``cors_origins`` may call it from a browser ("*": any page may).

    Without ``everything`` it begins with the routes that upload, submit and poll, which most requests want, and takes
    in the others when a request first asks for what these have not: for a process whose start somebody waits for.

    FastAPI's own documentation pages load scripts from a CDN, so they stay off; docs/openapi.json is the document.
    """
    app = FastAPI(title="AudioToText", version="1", openapi_url=None, redirect_slashes=False)
    app.state.services = services
    errors.install(app)
    app.include_router(transcribe.router, prefix="/api/v1")
    app.include_router(sources.router, prefix="/api/v1")
    app.include_router(uploads.router, prefix="/api/v1")
    if everything:
        _include_others(app)
    else:
        app.router.routes.append(_OtherRoutes(app))
    app.add_middleware(Envelope)
    if cors_origins:
        from starlette.middleware.cors import CORSMiddleware  # most deployments have no pages that call them

        app.add_middleware(
            CORSMiddleware,
            allow_origins=cors_origins,
            allow_methods=METHODS,
            allow_headers=("*",),  # a key is no cookie: whose page it is says nothing about who sends it
            expose_headers=READABLE_HEADERS,
        )
    return app


def _include_others(app: FastAPI) -> None:
    # Imported here: they are most of the code, and their models of requests half of the time.
    from functions.api.routes import (
        account,
        docs,
        exports,
        keys,
        languages,
        openai,
        progress,
        repeats,
        transcriptions,
        webhooks,
    )

    app.include_router(openai.router, prefix="/v1")
    app.include_router(account.router, prefix="/api/v1")
    app.include_router(keys.router, prefix="/api/v1")
    app.include_router(languages.router, prefix="/api/v1")
    app.include_router(transcriptions.router, prefix="/api/v1")
    app.include_router(progress.router, prefix="/api/v1")
    app.include_router(repeats.router, prefix="/api/v1")
    app.include_router(exports.router, prefix="/api/v1")
    app.include_router(webhooks.router, prefix="/api/v1")
    app.include_router(docs.router)


class _OtherRoutes(BaseRoute):
    """Stands at the end of an app's routes, and is nobody's: who comes to it has found nothing, and brings the others.

    They are put behind it, in the list that the router is looking through, so it goes on to them.
    """

    def __init__(self, app: FastAPI) -> None:
        self._app, self._lock, self._are_there = app, threading.Lock(), False

    def matches(self, _scope: Scope) -> tuple[Match, Scope]:
        """No."""
        with self._lock:
            if not self._are_there:
                _include_others(self._app)
                self._are_there = True
        return Match.NONE, {}


def from_environment() -> FastAPI:
    """The app for a process of its own: ``uvicorn --factory functions.api.app:from_environment``."""
    logs.configure("api")
    return create_app(runtime.services, cors_origins=runtime.cors_origins())


class _Body:
    """A request's body on its way in; what is left of it when the answer is there."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.is_read = False

    async def receive(self) -> Message:
        """The next of it."""
        message = await self._receive()
        self.is_read = not message.get("more_body")
        return message

    async def drain(self) -> None:
        """Take in the rest for a moment: a client that still sends when its connection closes sees no answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while not self.is_read:
                    await self.receive()


class Envelope:
    """Around every request: its id, one log line, paths with or without slash, and no exception gets out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        if not scope["path"].endswith("/"):
            # Routes are declared with a slash; here the other form becomes the same, since a redirect loses the body.
            scope["path"] += "/"
        started, status = time.perf_counter(), 0
        body = _Body(receive)

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers.setdefault("Cache-Control", "no-store")
            elif not message.get("more_body") and not body.is_read:
                await send({**message, "more_body": True})
                await body.drain()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        with logs.context(request_id=request_id):
            try:
                await self._app(scope, body.receive, send_with_headers)
            except ClientDisconnect:
                logger.info("client_left")
            except Exception:
                logger.exception("request_broke_down")
                if status:
                    raise  # the answer had begun: the host must cut it off
                await errors.server_error_response(request_id)(scope, receive, send_with_headers)
            finally:
                _log_request(scope, status, time.perf_counter() - started)


def _request_id(scope: Scope) -> str:
    """API Gateway's id of the request, which its own logs carry too; elsewhere a fresh one."""
    event = scope.get("aws.event")
    return str(event["requestContext"]["requestId"]) if event else str(uuid.uuid4())


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    route, state = scope.get("route"), scope["state"]
    extra = {
        "method": scope["method"],
        "route": getattr(route, "path", None),  # the pattern: a path itself may carry anything
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
        "error": state.get("error_code"),
        "account_id": state.get("account_id"),
        "job_id": state.get("job_id"),
    }
    logger.info("request", extra={name: value for name, value in extra.items() if value is not None})
