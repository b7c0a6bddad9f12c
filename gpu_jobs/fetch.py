"""Gets a recording that a job only has an address of: a file on the web, or what a site plays.

A direct file is streamed over guarded connections. Pages go to yt-dlp (gpu_jobs.fetch_site), which gets out only
through a proxy with the same guard. Whatever comes is sniffed before it is kept: names and types are only claims.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.adapters.downloads import Download, DownloadFailure, DownloadLimits, DownloadProblem, Downloads
from shared.adapters.guard_proxy import Upstream
from shared.adapters.pinned import GuardedConnector
from shared.adapters.probing.probe import NotMedia, probe
from shared.adapters.probing.source import ByteSource
from shared.domain.errors import JobFailure

logger = logging.getLogger(__name__)

SNIFF_BYTES = 256 * 1024  # a web page or a playlist is told from media before the rest is fetched
TRIES = 3
PAUSE_SECONDS = 1.0
PLAYLIST = "a playlist"
WEB_PAGE = "a web page or an XML file"

OnBytes = Callable[[int], None]
"""Called with the number of bytes fetched so far; what it raises ends the fetch and passes through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """The deployment's rules for fetching."""

    max_bytes: int = 5 * 1000**3
    max_seconds: float = 3600.0
    page_seconds: float = 120.0  # until a site has said where its recording is
    max_duration_seconds: float = 12 * 3600.0
    max_memory_bytes: int = 1536 * 1024**2  # for a site's pages; deno alone starts with a few hundred MB
    allow_loopback: bool = False
    proxy: Upstream | None = None  # SOURCE_PROXY: for sites only, behind the guard
    cookies: str | None = field(default=None, repr=False)  # SOURCE_COOKIES(_FILE), in Netscape's format; for sites only

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> FetchSettings:
        """Read SOURCE_PROXY, SOURCE_COOKIES or SOURCE_COOKIES_FILE, and ALLOW_LOOPBACK_WEBHOOKS (the local stack's).

        A secret of Modal's comes as environment variables, so the cookies themselves may be one. Raises ValueError for
        a proxy that is none, and OSError where the file cannot be read.
        """
        file = environment.get("SOURCE_COOKIES_FILE")
        return cls(
            allow_loopback=environment.get("ALLOW_LOOPBACK_WEBHOOKS", "false") == "true",
            proxy=Upstream.parse(environment["SOURCE_PROXY"]) if environment.get("SOURCE_PROXY") else None,
            cookies=environment.get("SOURCE_COOKIES") or (Path(file).read_text() if file else None),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A recording that has come."""

    path: Path
    filename: str
    content_type: str
    size_bytes: int


class IsPage(Exception):
    """The address answers with a web page: there may be a player on it."""


class Fetcher:
    """Fetches recordings."""

    def __init__(self, settings: FetchSettings, connector: GuardedConnector | None = None) -> None:
        self.settings = settings
        self.connector = connector or GuardedConnector(allow_loopback=settings.allow_loopback)
        self._downloads = Downloads(self.connector)

    def fetch(self, url: str, folder: Path, on_bytes: OnBytes = lambda _count: None) -> Fetched:
        """The recording behind ``url``, as a file in ``folder``. Raises JobFailure (``source_…``)."""
        fetched = self._fetch(url, folder, on_bytes)
        check_length(fetched.path, self.settings.max_duration_seconds)
        return fetched

    def _fetch(self, url: str, folder: Path, on_bytes: OnBytes) -> Fetched:
        from gpu_jobs import fetch_site

        if not fetch_site.is_known_site(url):
            try:
                return self._fetch_file(url, folder / "recording", on_bytes)
            except IsPage:
                logger.info("source_is_page")
        return fetch_site.fetch(self, url, folder, on_bytes)

    def _fetch_file(self, url: str, path: Path, on_bytes: OnBytes) -> Fetched:
        """A file, tried again when its server breaks off. Raises JobFailure, IsPage."""
        limits = DownloadLimits(max_bytes=self.settings.max_bytes, seconds=self.settings.max_seconds)
        for attempt in range(1, TRIES + 1):
            try:
                with self._downloads.open(url, limits) as download:
                    size_bytes = _keep(download, path, on_bytes)
                    name = unquote(urlsplit(download.url.text).path.rsplit("/", 1)[-1]) or "recording"
                    return Fetched(path=path, filename=name, content_type=download.content_type, size_bytes=size_bytes)
            except DownloadFailure as failure:
                if failure.problem is not DownloadProblem.BROKEN or attempt == TRIES:
                    raise source_failure(failure) from failure
                time.sleep(PAUSE_SECONDS * attempt)
        raise AssertionError("the last try returns or raises")


def _keep(download: Download, path: Path, on_bytes: OnBytes) -> int:
    """Write the body to ``path``, its beginning judged first; its size. Raises JobFailure, IsPage, DownloadFailure."""
    chunks = download.chunks
    head = _head(chunks)
    check_media(head, download.size_bytes)
    size_bytes = len(head)
    with path.open("wb") as file:
        file.write(head)
        for chunk in chunks:
            file.write(chunk)
            size_bytes += len(chunk)
            on_bytes(size_bytes)
    if size_bytes == 0:
        raise JobFailure("source_not_media", "The address answers with an empty file.")
    return size_bytes


def _head(chunks: Iterator[bytes]) -> bytes:
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= SNIFF_BYTES:
            break
    return head


def check_media(head: bytes, size_bytes: int | None = None) -> None:
    """Return when the bytes may begin a recording. Raises JobFailure naming what they are, IsPage for a page."""
    try:
        probe(ByteSource(lambda offset, length: head[offset : offset + length], size_bytes or len(head)))
    except NotMedia as problem:
        if problem.looks_like == WEB_PAGE:
            raise IsPage from problem
        if problem.looks_like == PLAYLIST:
            raise JobFailure(
                "source_is_playlist",
                "The address is a playlist or stream list, not a recording. Please give the address of one recording.",
            ) from problem
        if problem.looks_like != "unknown data":  # the decoder knows more formats than the probe
            raise JobFailure(
                "source_not_media",
                f"The address leads to {problem.looks_like}, not to audio or video. "
                "Please check that it opens the recording itself.",
            ) from problem


def check_length(path: Path, max_duration_seconds: float) -> None:
    """Return unless the recording's headers say that it is too long; what they do not tell, decoding does."""
    with path.open("rb") as file:
        try:
            seconds = probe(ByteSource.of_file(file)).duration_seconds
        except NotMedia:
            return
    if seconds is not None and seconds > max_duration_seconds:
        raise too_long(max_duration_seconds)


def too_long(max_duration_seconds: float) -> JobFailure:
    """The failure of a recording that is longer than a job can take."""
    return JobFailure(
        "source_too_long",
        f"The recording is longer than {max_duration_seconds / 3600:g} hours, the most one job can take. "
        "Please split it and upload the parts.",
    )


_WHAT_NEXT = {
    DownloadProblem.FORBIDDEN_ADDRESS: (
        "source_forbidden",
        "The address cannot be fetched: {why} Please give a public http or https address, or upload the file.",
    ),
    DownloadProblem.NOT_FOUND: (
        "source_not_found",
        "There is nothing at the address: {why} Please check it, or upload the file.",
    ),
    DownloadProblem.FORBIDDEN: (
        "source_forbidden",
        "The address is not open to us: {why} Please share it publicly or give a signed link, or upload the file.",
    ),
    DownloadProblem.BLOCKED: (
        "source_blocked",
        "The site turned us away as a robot: {why} Please try again later, or download the file and upload it.",
    ),
    DownloadProblem.TOO_LARGE: (
        "source_too_large",
        "The recording is too large: {why} Please upload it with POST /api/v1/uploads/, or give an audio-only version.",
    ),
    DownloadProblem.TIMEOUT: (
        "source_timeout",
        "The recording did not come in time: {why} Please try again later, or upload the file.",
    ),
    DownloadProblem.LIVE: (
        "source_is_live",
        "The address cannot be transcribed: {why} Please send it once the recording is there.",
    ),
    DownloadProblem.BROKEN: (
        "source_timeout",
        "The recording did not come through after several tries: {why} Please try again later, or upload the file.",
    ),
}


def source_failure(failure: DownloadFailure) -> JobFailure:
    """The failure as the customer reads it, with what to do next."""
    code, text = _WHAT_NEXT[failure.problem]
    return JobFailure(code, text.format(why=str(failure)))
