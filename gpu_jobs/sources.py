"""What may come from an address: what is a recording and what is none, and how a failure reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from shared.adapters.downloads import DownloadFailure, DownloadProblem
from shared.adapters.probing.probe import NotMedia, probe
from shared.adapters.probing.source import ByteSource
from shared.domain.errors import JobFailure

SNIFF_BYTES = 256 * 1024  # a web page or a playlist is told from media before the rest is fetched
PLAYLIST = "a playlist"
WEB_PAGE = "a web page or an XML file"
UPLOAD_INSTEAD = "Please download the recording and upload the file."

OnBytes = Callable[[int], None]
"""Called with the number of bytes fetched so far; what it raises ends the fetch and passes through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteOrder:
    """What the process is to fetch, and within which limits. ``page_seconds`` end before the first of the bytes."""

    url: str
    folder: str
    proxy: str = field(repr=False)
    cookies: str | None = field(default=None, repr=False)  # in Netscape's format
    max_bytes: int
    max_duration_seconds: float
    max_seconds: float
    page_seconds: float
    max_memory_bytes: int  # of each process


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A recording that has come."""

    path: Path
    filename: str
    content_type: str
    size_bytes: int


class IsPage(Exception):
    """The address answers with a web page: there may be a player on it."""


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
