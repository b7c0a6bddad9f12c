"""The host for large uploads: the same FastAPI app under uvicorn, as Modal runs it, and the way to it.

Started with the first large upload: most stacks never see one. It listens on a Unix socket that only the gateway
knows. Bodies pass through chunk by chunk, so that neither process holds more than a few of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from infra.local import processes
from infra.local.edge import TOO_LARGE
from infra.local.stack_log import StackLog

_START_SECONDS: Final = 60.0
_GRACE_SECONDS: Final = 2.0
_HOP_HEADERS: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "expect", "te", "trailer", "upgrade"})
_CHUNK_BYTES: Final = 256 * 1024


class StreamingHost:
    """One uvicorn process with the API's environment."""

    def __init__(self, environment: Mapping[str, str], log: StackLog, *, code: Path) -> None:
        self._environment, self._log, self._code = environment, log, code
        self._folder = tempfile.TemporaryDirectory(prefix="streaming-")
        self._socket = Path(self._folder.name, "host.sock")
        self._starting = asyncio.Lock()
        self._child: processes.Child | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def pid(self) -> int | None:
        """The process's id, while it runs."""
        return self._child.pid if self._child and self._child.alive else None

    async def forward(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass a request on and its answer back."""
        session = await self._ready()
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP_HEADERS]
        body = request.content.iter_chunked(_CHUNK_BYTES)
        url = f"http://streaming{request.raw_path}"
        try:
            async with session.request(
                request.method, url, data=_closing(body), headers=headers, allow_redirects=False
            ) as answer:
                content = await answer.read()
                response = web.Response(status=answer.status, body=content)
                response.headers.popall("Content-Type", None)
                for name, value in answer.headers.items():
                    if name.lower() not in _HOP_HEADERS | {"content-length"}:
                        response.headers.add(name, value)
        except aiohttp.ClientError as error:
            self._log.notice(f"streaming host: {type(error).__name__}")
            response = _own_error(502, "server_error", "The host for large uploads broke off. Please try again.")
        if not request.content.is_eof():
            response.force_close()  # the rest of a refused body is still on its way
        return response

    async def stop(self) -> None:
        """End the process."""
        if self._session is not None:
            await self._session.close()
        if self._child is not None:
            await self._child.stop(grace_seconds=_GRACE_SECONDS)
        self._folder.cleanup()

    async def _ready(self) -> aiohttp.ClientSession:
        async with self._starting:
            if self._child is None or not self._child.alive:
                await self._start()
            if self._session is None:
                # No time limit of our own: the app has them, and an upload may take hours.
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.UnixConnector(path=str(self._socket), limit=0, force_close=True),
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
                    auto_decompress=False,
                    skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                )
            return self._session

    async def _start(self) -> None:
        self._socket.unlink(missing_ok=True)
        self._child = await processes.start(
            [
                *("-m", "uvicorn", "--factory", "functions.api.app:from_environment", "--uds", str(self._socket)),
                *("--no-access-log", "--no-server-header", "--log-level", "warning"),
            ],
            environment=self._environment,
            directory=self._code,
            source="streaming",
            log=self._log,
        )
        async with asyncio.timeout(_START_SECONDS):
            while not await self._answers():
                if not self._child.alive:
                    raise OSError("the host for large uploads does not start")
                await asyncio.sleep(0.05)

    async def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_unix_connection(str(self._socket))
            writer.close()
            return True
        return False


def too_large_for_all() -> web.Response:
    """What CloudFront's function answers to a body that no host takes."""
    response = _own_error(413, "payload_too_large", TOO_LARGE)
    response.force_close()
    return response


def environment(function_environment: Mapping[str, str], aws: Mapping[str, str], *, code: Path) -> dict[str, str]:
    """The API function's environment for a process that Lambda does not run."""
    base = {"PYTHONPATH": str(code), "PYTHONUNBUFFERED": "1"}
    return {**processes.inherited(), **base, **aws, **function_environment}


async def _closing(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks; a client that leaves ends the forwarded request instead of the answer."""
    try:
        async for chunk in chunks:
            yield chunk
    except (aiohttp.ClientPayloadError, ConnectionError, web.RequestPayloadError) as error:
        raise aiohttp.ClientConnectionError("the client left") from error


def _own_error(status: int, code: str, message: str) -> web.Response:
    body = json.dumps({"error": code, "message": message}).encode()
    return web.Response(status=status, body=body, content_type="application/json")
