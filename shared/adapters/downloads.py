"""GET of what a customer named, wherever it leads: each hop checked, everything bounded."""

from __future__ import annotations

import contextlib
import http.client
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urljoin

from shared.adapters.pinned import Deadline, ForbiddenAddress, GuardedConnector, UnknownHost
from shared.domain.urls import UnsafeUrl, WebUrl, parse_source_url

MAX_REDIRECTS = 5
CHUNK_BYTES = 256 * 1024
_REDIRECTS = {301, 302, 303, 307, 308}
_LIVE_HEADERS = ("icy-name", "icy-br", "icy-metaint", "icy-pub", "ice-audio-info")  # SHOUTcast's and Icecast's
IS_LIVE = "it is a live stream."
_USER_AGENT = "AudioToText/1 (fetches recordings its users name)"


class DownloadProblem(StrEnum):
    """Why nothing came."""

    FORBIDDEN_ADDRESS = "forbidden_address"
    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    BLOCKED = "blocked"
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    LIVE = "live"  # a radio station: it never ends
    BROKEN = "broken"  # the server or the connection failed: worth another try


class DownloadFailure(Exception):
    """Nothing (or not everything) came."""

    def __init__(self, problem: DownloadProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadLimits:
    """How much and how long."""

    max_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """An answer whose body is still to be read. ``size_bytes`` is what the server says, None where it does not.

    ``total_bytes`` is the size of the whole where this is a range of it.
    """

    url: WebUrl
    content_type: str
    size_bytes: int | None
    total_bytes: int | None
    chunks: Iterator[bytes]


class Downloads:
    """Fetches public URLs."""

    def __init__(self, connector: GuardedConnector) -> None:
        self._connector = connector

    @contextlib.contextmanager
    def open(
        self, text: str, limits: DownloadLimits, *, byte_range: tuple[int, int] | None = None
    ) -> Iterator[Download]:
        """Follow redirects to an answer with status 200 (206 for a range). Raises DownloadFailure, here and in chunks.

        ``byte_range`` is the first byte and the last; a server that ignores it is a failure.
        """
        with contextlib.ExitStack() as stack:
            with _translated():
                url, response = self._follow(text, Deadline(limits.seconds), byte_range, stack)
                _check_status(response.status, wanted=200 if byte_range is None else 206)
            yield _download(url, response, limits.max_bytes)

    def _follow(
        self, text: str, deadline: Deadline, byte_range: tuple[int, int] | None, stack: contextlib.ExitStack
    ) -> tuple[WebUrl, http.client.HTTPResponse]:
        """The first answer that is no redirect, open until ``stack`` is closed."""
        headers = {"User-Agent": _USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        if byte_range is not None:
            headers["Range"] = f"bytes={byte_range[0]}-{byte_range[1]}"
        for _ in range(MAX_REDIRECTS + 1):
            url = parse_source_url(text, allow_loopback=self._connector.allow_loopback)
            response = stack.enter_context(self._connector.exchange("GET", url, headers, deadline))
            location = response.getheader("Location")
            if response.status not in _REDIRECTS or not location:
                return url, response
            stack.close()
            text = _joined(url, location)
        raise DownloadFailure(DownloadProblem.BROKEN, f"it redirects more than {MAX_REDIRECTS} times.")


def _joined(url: WebUrl, location: str) -> str:
    try:
        return urljoin(url.text, location)
    except ValueError as error:
        raise UnsafeUrl("it redirects to something that is no URL.") from error


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (UnsafeUrl, ForbiddenAddress) as error:
        raise DownloadFailure(DownloadProblem.FORBIDDEN_ADDRESS, str(error)) from error
    except UnknownHost as error:
        raise DownloadFailure(DownloadProblem.NOT_FOUND, "its host name does not exist.") from error
    except TimeoutError as error:
        raise DownloadFailure(DownloadProblem.TIMEOUT, "it took too long.") from error
    except ssl.SSLError as error:
        raise DownloadFailure(DownloadProblem.BROKEN, "its TLS certificate or connection is bad.") from error
    except http.client.BadStatusLine as error:
        if str(error.args[0]).startswith("ICY "):  # SHOUTcast before version 2
            raise DownloadFailure(DownloadProblem.LIVE, IS_LIVE) from error
        raise DownloadFailure(DownloadProblem.BROKEN, "its server does not speak HTTP.") from error
    except (OSError, http.client.HTTPException) as error:
        raise DownloadFailure(DownloadProblem.BROKEN, "its server broke the connection.") from error


def _check_status(status: int, *, wanted: int) -> None:
    if status == wanted:
        return
    problems = {
        404: DownloadProblem.NOT_FOUND,
        410: DownloadProblem.NOT_FOUND,
        401: DownloadProblem.FORBIDDEN,
        402: DownloadProblem.FORBIDDEN,
        403: DownloadProblem.FORBIDDEN,
        451: DownloadProblem.FORBIDDEN,
        408: DownloadProblem.TIMEOUT,
        504: DownloadProblem.TIMEOUT,
        429: DownloadProblem.BLOCKED,
    }
    problem = problems.get(status, DownloadProblem.FORBIDDEN if 400 <= status < 500 else DownloadProblem.BROKEN)
    raise DownloadFailure(problem, f"its server answered with status {status}.")


def _download(url: WebUrl, response: http.client.HTTPResponse, max_bytes: int) -> Download:
    if response.getheader("Content-Encoding", "identity").lower() not in {"", "identity"}:
        # Never unpacked: a few kilobytes may unpack to anything.
        raise DownloadFailure(DownloadProblem.BROKEN, "its server compresses what it was asked to send as it is.")
    if any(name.lower().startswith(_LIVE_HEADERS) for name, _ in response.getheaders()):
        raise DownloadFailure(DownloadProblem.LIVE, IS_LIVE)
    size_bytes = response.length
    if size_bytes is not None and size_bytes > max_bytes:
        raise DownloadFailure(DownloadProblem.TOO_LARGE, f"it has {size_bytes} bytes; {max_bytes} are allowed.")
    content_type = response.getheader("Content-Type", "").partition(";")[0].strip().lower()
    whole = response.getheader("Content-Range", "").rpartition("/")[2]
    return Download(
        url=url,
        content_type=content_type,
        size_bytes=size_bytes,
        total_bytes=int(whole) if whole.isascii() and whole.isdecimal() and len(whole) < 16 else size_bytes,
        chunks=_chunks(response, size_bytes, max_bytes),
    )


def _chunks(response: http.client.HTTPResponse, size_bytes: int | None, max_bytes: int) -> Iterator[bytes]:
    received = 0
    while True:
        with _translated():
            chunk = response.read(CHUNK_BYTES)
        if not chunk:
            break
        received += len(chunk)
        if received > max_bytes:
            raise DownloadFailure(DownloadProblem.TOO_LARGE, f"it has more than {max_bytes} bytes.")
        yield chunk
    if size_bytes is not None and received < size_bytes:
        raise DownloadFailure(DownloadProblem.BROKEN, "its server broke off before the end.")
