"""Multipart forms of any size in constant memory: fields as text, the recording into the bucket while it arrives.

A small recording stays in memory. A larger one is cut into parts that go to S3 as they fill, two at a time, while the
next one is being received: the same on Lambda (where bodies are small) and on the streaming host (where they are not).
Whatever goes wrong, nothing of it is left in the bucket.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from shared.adapters.failures import AWS_FAILURES
from shared.adapters.s3_uploads import Part, UploadBucket
from shared.domain.errors import InvalidRequest, PayloadTooLarge, RequestTimedOut

MAX_BODY_BYTES = 4 * 1024**3  # of Modal's web functions, and enough for any host
MAX_FIELDS = 256
MAX_FIELD_BYTES = 64 * 1024
MAX_HEADER_BYTES = 16 * 1024
PART_BYTES = 8 * 1024**2  # also what stays in memory; S3 wants at least 5 MiB
PARTS_IN_FLIGHT = 2
HEAD_BYTES = 256 * 1024  # tells what is plainly no recording
IDLE_SECONDS = 30.0  # no byte for so long: the client is gone or malicious
GRACE_SECONDS = 60.0
MIN_BYTES_PER_SECOND = 1_000  # after the grace; slower than any line a recording can be sent over
TOO_LARGE = (
    "The body is over 4 GiB. Announce the file with POST /api/v1/uploads/, send it to the address you get, "
    "then POST its upload_id to /api/v1/transcribe/."
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a recording goes that is too large for memory.

    ``admit`` may refuse it before the rest is taken in: it gets the fields before the file, and the file's first bytes.
    """

    bucket: UploadBucket
    key: str
    admit: Callable[[Mapping[str, Sequence[str]], bytes], None]


@dataclass(slots=True, kw_only=True)
class ReceivedFile:
    """The file of a form: in ``file``, or in the bucket under ``stored_key``."""

    name: str  # of the field
    filename: str
    content_type: str
    size_bytes: int = 0
    sha256: str = ""
    file: IO[bytes] | None = None
    stored_key: str | None = None


@dataclass(slots=True, kw_only=True)
class ReceivedForm:
    """A whole form. ``ignored_files`` are the names of fields with files beyond the first."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    file: ReceivedFile | None = None
    ignored_files: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Part:
    """The part of the form that is being read."""

    headers: dict[str, str] = field(default_factory=dict)
    name: str = ""
    text: bytearray | None = None
    file: ReceivedFile | None = None


async def receive_form(
    chunks: AsyncIterator[bytes],
    content_type: str,
    destination: Destination,
    monotonic: Callable[[], float] = time.monotonic,
) -> ReceivedForm:
    """Read a form to its end. Raises InvalidRequest, PayloadTooLarge, RequestTimedOut; then nothing is left behind."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not (0 < len(boundary) <= 200 and boundary.isascii()):
        raise InvalidRequest("The Content-Type of a multipart form must name its boundary, in ASCII characters.")
    store = _Store(destination)
    reader = _Reader(boundary, store)
    try:
        async for chunk in _in_time(chunks, monotonic):
            reader.feed(chunk)
            await store.drain(reader.form.texts)
        reader.finish()
        await store.finish(reader.form.file)
    except BaseException:
        await _to_the_end(store.discard())  # the client's leaving must not interrupt the cleaning up
        raise
    return reader.form


async def _in_time(chunks: AsyncIterator[bytes], monotonic: Callable[[], float]) -> AsyncIterator[bytes]:
    """The chunks, as long as they come fast enough and are not too many."""
    began, received = monotonic(), 0
    iterator = chunks.__aiter__()
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                chunk = await anext(iterator)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise RequestTimedOut(f"No byte of the body has come for {IDLE_SECONDS:g} seconds.") from error
        received += len(chunk)
        if received > MAX_BODY_BYTES:
            raise PayloadTooLarge(TOO_LARGE)
        elapsed = monotonic() - began
        if elapsed > GRACE_SECONDS and received < elapsed * MIN_BYTES_PER_SECOND:
            raise RequestTimedOut("The body comes too slowly. Please send it over a faster connection.")
        yield chunk


class _Reader:
    """Feeds the push parser and sorts what it finds into fields and the file."""

    def __init__(self, boundary: bytes, store: _Store) -> None:
        self.form = ReceivedForm()
        self._store = store
        self._part = _Part()
        self._header_name = b""
        self._header_value = b""
        self._header_bytes = 0
        self._parts = 0
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body. Raises InvalidRequest."""
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise InvalidRequest("The multipart form is malformed and could not be read.") from error

    def finish(self) -> None:
        """The body is over. Raises InvalidRequest when the form is not."""
        if not self._ended:
            raise InvalidRequest("The multipart form breaks off before its end. Please send it again.")

    def _on_part_begin(self) -> None:
        self._part = _Part()
        self._parts += 1
        self._header_bytes = 0
        if self._parts > MAX_FIELDS:
            raise InvalidRequest(f"The form has more than {MAX_FIELDS} fields.")

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_value += data[start:end]

    def _count_header(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > MAX_HEADER_BYTES:
            raise InvalidRequest("A part of the form has too long headers.")

    def _on_header_end(self) -> None:
        self._part.headers[self._header_name.decode("latin-1").lower()] = self._header_value.decode("latin-1")
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        part = self._part
        _, options = parse_options_header(part.headers.get("content-disposition", ""))
        if b"name" not in options:
            raise InvalidRequest("A part of the form has no name.")
        part.name = options[b"name"].decode("utf-8", "replace")
        if b"filename" not in options:
            part.text = bytearray()
        elif self.form.file is None:
            part.file = self.form.file = ReceivedFile(
                name=part.name,
                filename=options[b"filename"].decode("utf-8", "replace"),
                content_type=part.headers.get("content-type", ""),
            )
        else:
            self.form.ignored_files.append(part.name)

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.file is not None:
            self._store.add(memoryview(data)[start:end])
        elif self._part.text is not None:
            self._part.text += data[start:end]
            if len(self._part.text) > MAX_FIELD_BYTES:
                name = self._part.name[:100]
                raise InvalidRequest(f"The field '{name}' is longer than {MAX_FIELD_BYTES} bytes.", field=name)

    def _on_part_end(self) -> None:
        if self._part.text is not None:
            text = self._part.text.decode("utf-8", "replace")
            self.form.texts.setdefault(self._part.name, []).append(text)

    def _on_end(self) -> None:
        self._ended = True


class _Store:
    """Takes the file's bytes: the first ``PART_BYTES`` into memory, and when there are more, all of them to S3."""

    def __init__(self, destination: Destination) -> None:
        self._to = destination
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._size_bytes = 0
        self._multipart_id: str | None = None
        self._next_number = 1
        self._running: set[asyncio.Task[Part]] = set()
        self._parts: list[Part] = []
        self._may_be_complete = False

    def add(self, data: memoryview) -> None:
        """More bytes of the file."""
        self._digest.update(data)
        self._buffer += data
        self._size_bytes += len(data)

    async def drain(self, texts: Mapping[str, Sequence[str]]) -> None:
        """Send what fills a part; wait while enough parts are on their way. ``texts`` are the fields so far."""
        while len(self._buffer) > PART_BYTES:
            if self._multipart_id is None:
                await asyncio.to_thread(self._to.admit, texts, bytes(self._buffer[:HEAD_BYTES]))
                await self._to_its_end(self._begin)
            body = bytes(memoryview(self._buffer)[:PART_BYTES])
            del self._buffer[:PART_BYTES]
            await self._send(body)

    async def finish(self, received: ReceivedFile | None) -> None:
        """The form is complete: make the object, or hand out what is in memory."""
        if received is None:
            return
        received.size_bytes, received.sha256 = self._size_bytes, self._digest.hexdigest()
        if self._multipart_id is None:
            received.file = io.BytesIO(self._buffer)
            return
        await self._send(bytes(self._buffer))
        self._buffer.clear()
        await self._wait(0)
        parts = sorted(self._parts, key=lambda part: part.number)
        self._may_be_complete = True
        await self._to_its_end(self._to.bucket.complete, self._to.key, self._multipart_id, parts)
        received.stored_key = self._to.key

    async def discard(self) -> None:
        """Leave nothing behind. Parts on their way arrive first: one that came after the abort would stay."""
        if self._multipart_id is None:
            return
        await asyncio.gather(*self._running, return_exceptions=True)
        try:
            await asyncio.to_thread(self._to.bucket.abort, self._to.key, self._multipart_id)
            if self._may_be_complete:
                await asyncio.to_thread(self._to.bucket.delete, self._to.key)
        except AWS_FAILURES as error:  # the bucket's lifecycle will do it; what went wrong before is what counts
            logger.warning("upload_not_discarded", extra={"error": type(error).__name__})

    def _begin(self) -> None:
        self._multipart_id = self._to.bucket.begin(self._to.key, "application/octet-stream")

    async def _send(self, body: bytes) -> None:
        assert self._multipart_id is not None
        await self._wait(PARTS_IN_FLIGHT - 1)
        upload = asyncio.to_thread(self._to.bucket.put_part, self._to.key, self._multipart_id, self._next_number, body)
        self._running.add(asyncio.create_task(upload))
        self._next_number += 1

    async def _wait(self, at_most: int) -> None:
        """Return when no more than so many parts are on their way. Raises what an upload raised."""
        while len(self._running) > at_most:
            done, self._running = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            self._parts += [task.result() for task in done]

    async def _to_its_end(self, function: Callable[..., object], *arguments: object) -> None:
        """Call it on a thread. A thread cannot be interrupted: who is cancelled meanwhile waits for what came of it."""
        call = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
        try:
            await asyncio.shield(call)
        except asyncio.CancelledError:
            await asyncio.gather(call, return_exceptions=True)
            raise


async def _to_the_end(work: Awaitable[None]) -> None:
    """Await ``work`` even when this task is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()
