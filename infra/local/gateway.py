"""API Gateway's REST API in front of the stack's functions, with its limits and its own words for its own errors, and
what CloudFront does before it: large uploads go to the streaming host.

Limits: "Amazon API Gateway quotas for REST APIs" - body 10 MB, integration 29 s; "Lambda quotas" - event 6 MB. There is
no stage in the path, as behind a custom domain.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.http import HttpVersion11

from infra.local.aws import Invocation
from infra.local.edge import Origin, pick_origin
from infra.local.proxy_events import HttpAnswer, HttpRequest, MalformedAnswer, find_route, http_answer, proxy_event
from infra.local.runtime import PAYLOAD_LIMIT_BYTES
from infra.local.stack import RestApi
from infra.local.stack_log import StackLog
from infra.local.streaming import StreamingHost, too_large_for_all

BODY_LIMIT_BYTES: Final = 10 * 1024 * 1024
INTEGRATION_SECONDS: Final = 29.0
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?")
_BODY_SECONDS: Final = 30.0  # a client that takes longer for its body is cut off

InvokeByArn = Callable[[str, bytes], Awaitable[Invocation]]


class _Refusal(Exception):
    """API Gateway answers this itself; no function hears of the request."""

    def __init__(self, status: int, message: str, kind: str) -> None:
        super().__init__(message)
        self.answer = _own_error(status, message, kind)


_TOO_LONG: Final = (413, "Request Too Long", "RequestTooLargeException")
_BAD_REQUEST: Final = (400, "Bad Request", "BadRequestException")


class Gateway:
    """Serves ``api`` over HTTP until ``close``."""

    def __init__(
        self,
        api: RestApi,
        invoke: InvokeByArn,
        log: StackLog,
        *,
        integration_seconds: float = INTEGRATION_SECONDS,
        body_seconds: float = _BODY_SECONDS,
        streaming: StreamingHost | None = None,
    ) -> None:
        self._streaming = streaming
        self._api, self._invoke, self._log = api, invoke, log
        self._integration_seconds, self._body_seconds = integration_seconds, body_seconds
        self._running: set[asyncio.Task[Invocation]] = set()
        self._listener: asyncio.Server | None = None

    async def start(self, *, host: str, port: int) -> int:
        """Listen; returns the port."""
        # Bodies pass as they are, and long addresses too: what to say of those is the API's business.
        server = web.Server(self._serve, access_log=None, auto_decompress=False, max_line_size=64 * 1024)
        self._listener = await asyncio.get_running_loop().create_server(server, host, port, backlog=512)
        return int(self._listener.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Take no more connections."""
        if self._listener is not None:
            self._listener.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._streaming is not None:
            origin = pick_origin(request.method, request.rel_url.path, request.headers.get("Content-Length"))
            if origin is Origin.NOBODY:
                return too_large_for_all()
            if origin is Origin.STREAMING:
                await _continue(request)
                return await self._streaming.forward(request)
        request_id = str(uuid.uuid4())
        try:
            answer = await self._answer(request, request_id)
        except _Refusal as refusal:
            answer = refusal.answer
        response = web.Response(status=answer.status, body=answer.body)
        response.headers.popall("Content-Type", None)
        for name, value in answer.headers:
            response.headers.add(name, value)
        response.headers["x-amzn-RequestId"] = request_id
        if answer.status == 413:
            response.force_close()  # the rest of the body is still on its way
        return response

    async def _answer(self, request: web.BaseRequest, request_id: str) -> HttpAnswer:
        if _HOST.fullmatch(request.headers.get("Host", "")) is None:
            raise _Refusal(*_BAD_REQUEST)
        found = find_route(self._api, request.method, request.rel_url.path)
        if found is None:
            raise _Refusal(403, "Missing Authentication Token", "MissingAuthenticationTokenException")
        route, path_parameters = found
        incoming = HttpRequest(
            method=request.method,
            target=request.raw_path,
            headers=list(request.headers.items()),
            body=await self._body_in_time(request),
            source_ip=request.remote or "127.0.0.1",
        )
        event = proxy_event(
            self._api,
            route,
            incoming,
            path_parameters=path_parameters,
            request_id=request_id,
            epoch_ms=int(time.time() * 1000),
        )
        payload = json.dumps(event).encode()
        if len(payload) > PAYLOAD_LIMIT_BYTES:
            raise _Refusal(*_TOO_LONG)
        return await self._integrate(route.function_arn, payload, accept=request.headers.get("Accept", ""))

    async def _body_in_time(self, request: web.BaseRequest) -> bytes:
        try:
            return await asyncio.wait_for(self._body(request), self._body_seconds)
        except (web.RequestPayloadError, ConnectionError) as error:  # broken off, or not the chunks it says it is
            raise _Refusal(*_BAD_REQUEST) from error
        except TimeoutError as error:
            raise _Refusal(408, "Request Timeout", "RequestTimeoutException") from error

    async def _body(self, request: web.BaseRequest) -> bytes:
        if (request.content_length or 0) > BODY_LIMIT_BYTES:
            raise _Refusal(*_TOO_LONG)
        await _continue(request)
        if not request.can_read_body:
            return b""
        received = bytearray()
        async for chunk in request.content.iter_any():
            received += chunk
            if len(received) > BODY_LIMIT_BYTES:
                raise _Refusal(*_TOO_LONG)
        return bytes(received)

    async def _integrate(self, function_arn: str, payload: bytes, *, accept: str) -> HttpAnswer:
        # The function runs on when the client's time is up, as on AWS.
        running = asyncio.ensure_future(self._invoke(function_arn, payload))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        try:
            invocation = await asyncio.wait_for(asyncio.shield(running), self._integration_seconds)
        except TimeoutError:
            return _own_error(504, "Endpoint request timed out", "EndpointRequestTimedOutException")
        if invocation.error:
            return _own_error(502, "Internal server error", "InternalServerErrorException")
        try:
            return http_answer(self._api, invocation.payload, accept=accept)
        except MalformedAnswer as problem:
            self._log.line("gateway", f"malformed Lambda proxy response: {problem}")
            return _own_error(502, "Internal server error", "InternalServerErrorException")


async def _continue(request: web.BaseRequest) -> None:
    """Tell a client that waits for it (curl does, with large bodies) to go on."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def _own_error(status: int, message: str, kind: str) -> HttpAnswer:
    return HttpAnswer(
        status=status,
        headers=[("Content-Type", "application/json"), ("x-amzn-errortype", kind)],
        body=json.dumps({"message": message}).encode(),
    )
