"""Lambda: each function runs under AWS's own runtime interface client, in children that speak the Runtime API.

As on Lambda: one request at a time per child, more children when all are busy, a child that overruns its time is
killed, one that dies fails its request, answers over 6 MB are refused, and nothing is shared but the endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from infra.local import processes
from infra.local.aws import REGION, SECRET_KEY, Invocation
from infra.local.stack import Function
from infra.local.stack_log import StackLog

PAYLOAD_LIMIT_BYTES: Final = 6 * 1024 * 1024  # Lambda quotas: invocation payload, synchronous, each way
_PATIENCE_SECONDS: Final = 0.1  # how long a request waits for a busy child before another child is started
_INIT_SECONDS: Final = 60.0  # Lambda gives 10 s and then bills a second try; a busy laptop needs more


class FunctionBroken(Exception):
    """A function's module cannot be loaded; the message has the reason and the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What every function of a stack shares: where its code is, where AWS is, where its output goes."""

    code: Path
    endpoint_url: str
    log: StackLog


class Sandbox:
    """One child process with its Runtime API, which is a small HTTP server of its own.

    The child asks for work (``GET .../invocation/next``) and is held until there is some; its answer is a POST.
    """

    def __init__(self, function: Function, host: Host) -> None:
        self._function, self._host = function, host
        self.initialised = asyncio.Event()
        self.init_error: dict[str, Any] | None = None
        self.child: processes.Child
        self.usable = True  # False once it is dead or about to be
        self._work: asyncio.Queue[tuple[str, bytes, float]] = asyncio.Queue(1)
        self._answers: dict[str, asyncio.Future[Invocation]] = {}

    async def start(self) -> None:
        """Start the child; returns before it has loaded its module."""
        loop = asyncio.get_running_loop()
        server = web.Server(self._serve, access_log=None, tcp_keepalive=False, keepalive_timeout=1e6)
        self._listener = await loop.create_server(server, "127.0.0.1", 0)
        port = self._listener.sockets[0].getsockname()[1]
        self.child = await processes.start(
            ["-m", "awslambdaric", self._function.handler],
            environment=_environment(self._function, self._host, f"127.0.0.1:{port}"),
            directory=self._host.code,
            source=self._function.logical_id,
            log=self._host.log,
        )

    async def ready(self) -> None:
        """Return once the child asks for work. Raises FunctionBroken when it cannot."""
        waiting = asyncio.create_task(self.initialised.wait())
        either: set[asyncio.Future[Any]] = {waiting, self.child.exited}
        done, _ = await asyncio.wait(either, timeout=_INIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if waiting in done and self.init_error is None:
            return
        waiting.cancel()
        await self.close()
        reason = json.dumps(self.init_error) if self.init_error else f"exit status {self.child.exited.result()}"
        raise FunctionBroken(
            f"{self._function.logical_id} ({self._function.handler}) did not start: {reason}\n"
            + self._host.log.tail(self._function.logical_id)
        )

    async def run(self, payload: bytes) -> Invocation:
        """Have the child answer ``payload``. Afterwards ``usable`` says whether it can take another."""
        request_id, seconds = str(uuid.uuid4()), self._function.timeout_seconds
        answer: asyncio.Future[Invocation] = asyncio.get_running_loop().create_future()
        self._answers[request_id] = answer
        await self._work.put((request_id, payload, time.time() + seconds))
        try:
            either: set[asyncio.Future[Any]] = {answer, self.child.exited}
            await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            if self.child.exited.done():
                status = self.child.exited.result()
                return self._failed(request_id, "Runtime.ExitError", f"Runtime exited with error: {_status(status)}")
            await self.close()
            return self._failed(request_id, "Sandbox.Timedout", f"Task timed out after {seconds:.2f} seconds")
        finally:
            del self._answers[request_id]
            if not self.usable or self.child.exited.done():
                await self.close()

    def _failed(self, request_id: str, kind: str, message: str) -> Invocation:
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = f"{now} {request_id} {message}" if kind == "Sandbox.Timedout" else f"RequestId: {request_id} {message}"
        self._host.log.line(self._function.logical_id, text)
        body = {"errorType": kind, "errorMessage": text}
        return Invocation(payload=json.dumps(body).encode(), error="Unhandled")

    async def close(self) -> None:
        """Kill the child and close its Runtime API."""
        self.usable = False
        self._listener.close()
        await self.child.kill()

    # ---- Runtime API, https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html -------------------------------

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        _, _, step = request.path.partition("/runtime/")
        if step == "invocation/next" and request.method == "GET":
            return await self._next()
        if step == "init/error":
            self.init_error = _json_or_none(await request.content.read()) or {"errorMessage": "initialisation failed"}
            self.initialised.set()
            return web.Response(status=202)
        parts = step.split("/")
        if len(parts) == 3 and parts[0] == "invocation" and parts[2] in {"response", "error"}:
            return self._take_answer(parts[1], await request.content.read(), failed=parts[2] == "error")
        return web.Response(status=404)

    async def _next(self) -> web.Response:
        self.initialised.set()
        request_id, payload, deadline = await self._work.get()
        return web.Response(
            body=payload,
            content_type="application/json",
            headers={
                "Lambda-Runtime-Aws-Request-Id": request_id,
                "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": self._function.arn,
                "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{request_id.replace('-', '')[:24]}",
            },
        )

    def _take_answer(self, request_id: str, body: bytes, *, failed: bool) -> web.Response:
        answer = self._answers.get(request_id)
        if answer is None or answer.done():
            return web.Response(status=400)
        if len(body) > PAYLOAD_LIMIT_BYTES:
            message = f"Response payload size exceeded maximum allowed payload size ({PAYLOAD_LIMIT_BYTES} bytes)."
            self.usable = False  # the client gives up on a refused answer and exits
            answer.set_result(self._failed(request_id, "Function.ResponseSizeTooLarge", message))
            return web.Response(status=413)
        answer.set_result(Invocation(payload=body, error="Unhandled" if failed else None))
        return web.Response(status=202)


def _status(code: int) -> str:
    return f"exit status {code}" if code >= 0 else f"signal: {-code}"


def _json_or_none(body: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(ValueError):
        parsed = json.loads(body)
        if isinstance(parsed, dict):
            return parsed
    return None


def _environment(function: Function, host: Host, runtime_api: str) -> Mapping[str, str]:
    """What Lambda sets, then the function's own variables. The access key names the function: each call tells whose."""
    fixed = {
        "TZ": ":UTC",
        "PYTHONPATH": str(host.code),
        "PYTHONUNBUFFERED": "1",
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_LAMBDA_LOG_FORMAT": "JSON" if function.json_logs else "Text",
        "LAMBDA_TASK_ROOT": str(host.code),
        "_HANDLER": function.handler,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": function.logical_id,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL": host.endpoint_url,
    }
    return processes.inherited() | fixed | dict(function.environment)


class FunctionPool:
    """One function with at most ``size`` children, grown when all are busy. Requests beyond wait their turn."""

    def __init__(self, function: Function, host: Host, *, size: int) -> None:
        self.function, self._host, self.size = function, host, size
        self._idle: asyncio.LifoQueue[Sandbox | FunctionBroken] = asyncio.LifoQueue()
        self._all: set[Sandbox] = set()
        self._count = 0  # children there are or that are being started
        self._running = 0
        self._growing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Start the first child and wait until it is ready. Raises FunctionBroken."""
        self._count += 1
        self._idle.put_nowait(await self._new())

    async def invoke(self, payload: bytes) -> Invocation:
        """Answer one request, however long that takes within the function's time."""
        try:
            sandbox = await self._acquire()
        except FunctionBroken as broken:
            self._host.log.notice(str(broken))
            body = {"errorType": "Runtime.InitError", "errorMessage": str(broken).partition("\n")[0]}
            return Invocation(payload=json.dumps(body).encode(), error="Unhandled")
        self._running += 1
        try:
            return await sandbox.run(payload)
        finally:
            self._running -= 1
            if sandbox.usable:
                self._idle.put_nowait(sandbox)
            else:
                self._discard(sandbox)
                self._grow()  # as warm as before for the next request

    @property
    def is_busy(self) -> bool:
        """Whether a child is answering a request."""
        return self._running > 0

    @property
    def pids(self) -> list[int]:
        """The children's process ids."""
        return [sandbox.child.pid for sandbox in self._all]

    async def close(self) -> None:
        """Kill all children."""
        self._closed = True
        for task in self._growing:
            task.cancel()
        await asyncio.gather(*(sandbox.close() for sandbox in self._all))

    async def _acquire(self) -> Sandbox:
        while True:
            try:
                # Nobody waits on the first look; then the busy get a moment before a child is started (0.5 s of CPU).
                timeout = _PATIENCE_SECONDS if self._all else 0
                found = (
                    await asyncio.wait_for(self._idle.get(), timeout) if self._idle.empty() else self._idle.get_nowait()
                )
            except TimeoutError:
                self._grow()
                found = await self._idle.get()
            if isinstance(found, FunctionBroken):
                raise found
            if found.usable and found.child.alive:
                return found
            self._discard(found)
            await found.close()

    def _discard(self, sandbox: Sandbox) -> None:
        if sandbox in self._all:
            self._all.remove(sandbox)
            self._count -= 1

    def _grow(self) -> None:
        if self._closed or self._count >= self.size:
            return
        self._count += 1
        task = asyncio.create_task(self._add())
        self._growing.add(task)
        task.add_done_callback(self._growing.discard)

    async def _add(self) -> None:
        try:
            self._idle.put_nowait(await self._new())
        except FunctionBroken as broken:
            if self._all:  # the others will serve whoever waits
                self._host.log.notice(str(broken))
            else:
                self._idle.put_nowait(broken)

    async def _new(self) -> Sandbox:
        sandbox = Sandbox(self.function, self._host)
        self._all.add(sandbox)
        try:
            await sandbox.start()
            await sandbox.ready()
        except BaseException:
            self._discard(sandbox)
            raise
        return sandbox
