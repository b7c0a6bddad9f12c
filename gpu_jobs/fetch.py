"""Gets a recording that a job only has an address of: a file on the web, or what a site plays.

A direct file is streamed over guarded connections. Pages go to yt-dlp (gpu_jobs.fetch_site), which gets out only
through a proxy with the same guard. Whatever comes is sniffed before it is kept: names and types are only claims.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gpu_jobs.fetch_apart import fetch_apart
from gpu_jobs.fetch_site import is_known_site
from gpu_jobs.sources import (
    SNIFF_BYTES,
    UPLOAD_INSTEAD,
    Fetched,
    IsPage,
    OnBytes,
    SiteOrder,
    check_length,
    check_media,
    source_failure,
)
from shared.adapters.downloads import Download, DownloadFailure, DownloadLimits, DownloadProblem, Downloads
from shared.adapters.guard_proxy import Upstream, guard_proxy
from shared.adapters.pinned import GuardedConnector
from shared.domain.errors import JobFailure

logger = logging.getLogger(__name__)

TRIES = 3
PAUSE_SECONDS = 1.0


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
        if not is_known_site(url):
            try:
                return self._fetch_file(url, folder / "recording", on_bytes)
            except IsPage:
                logger.info("source_is_page")
        return self._fetch_from_site(url, folder, on_bytes)

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

    def _fetch_from_site(self, url: str, folder: Path, on_bytes: OnBytes) -> Fetched:
        """What the page plays, audio alone where the site has it so. Raises JobFailure."""
        settings = self.settings
        with guard_proxy(self.connector, settings.proxy) as proxy:
            order = SiteOrder(
                url=url,
                folder=str(folder.absolute()),
                proxy=proxy,
                cookies=settings.cookies,
                max_bytes=settings.max_bytes,
                max_duration_seconds=settings.max_duration_seconds,
                max_seconds=settings.max_seconds,
                page_seconds=min(settings.page_seconds, settings.max_seconds),
                max_memory_bytes=settings.max_memory_bytes,
            )
            return _as_fetched(folder, fetch_apart(order, on_bytes))


def _as_fetched(folder: Path, title: str) -> Fetched:
    files = [path for path in folder.glob("site.*") if path.suffix not in {".part", ".ytdl"}]
    if len(files) != 1:
        raise JobFailure("source_too_large", f"The recording is too large or did not come whole. {UPLOAD_INSTEAD}")
    path = files[0]
    size_bytes = path.stat().st_size
    with path.open("rb") as file:
        try:
            check_media(file.read(SNIFF_BYTES), size_bytes)
        except IsPage as error:
            raise JobFailure("source_not_media", "The site sent a page instead of the recording.") from error
    return Fetched(
        path=path, filename=f"{title}{path.suffix}", content_type="application/octet-stream", size_bytes=size_bytes
    )


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
