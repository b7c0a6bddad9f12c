"""Recordings on YouTube and the other sites that yt-dlp knows.

yt-dlp runs in a process of its own (gpu_jobs.fetch_apart), gets out through the guard's proxy, never runs another
program but its JavaScript runtime, and takes one recording: playlists and live streams are refused by name. YouTube
wants a JavaScript runtime (deno) in the image.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from gpu_jobs.sources import UPLOAD_INSTEAD, OnBytes, SiteOrder, too_long
from shared.domain.errors import JobFailure

logger = logging.getLogger(__name__)

SOCKET_SECONDS = 30
# What yt-dlp says, as far as it matters to the customer: first match wins.
_REASONS = (
    (r"confirm you.{0,3}re not a bot|captcha|too many requests|rate.?limit|cloudflare|blocked|unusual traffic",
     "source_blocked", f"The site turned us away as a robot. Please try again later. {UPLOAD_INSTEAD}"),
    (r"live event|is live|premieres? in|not yet started|will begin in",
     "source_is_live", "The address is a live stream. Please send it once the recording is there."),
    (r"drm", "source_forbidden", "The recording is protected against copying, so it cannot be fetched."),
    (r"private|members.only|log ?in|sign in|password|in your country|geo.?restrict|premium|paid|error 403",
     "source_forbidden", f"The site does not show the recording to everybody. Please make it public. {UPLOAD_INSTEAD}"),
    (r"unavailable|does not exist|not found|error 4(04|10)|removed|deleted|no longer|terminated|service not known",
     "source_not_found", "There is no recording at the address. Please check it."),
    (r"larger than max-filesize|file too large|cannot allocate memory|memoryerror",
     "source_too_large", f"The recording is too large. {UPLOAD_INSTEAD}"),
    (r"timed? ?out|connection reset|remote end closed|temporary failure|error 5\d\d",
     "source_timeout", f"The recording did not come in time. Please try again later. {UPLOAD_INSTEAD}"),
    (r"unsupported url|no video formats|no media|unable to extract|no suitable|is not a valid url",
     "source_not_media", "No recording was found at the address. Please give one that opens the recording itself."),
)  # fmt: skip


class _TooLarge(Exception):
    """More bytes than allowed have come."""


def is_known_site(url: str) -> bool:
    """True when yt-dlp has an extractor made for this site."""
    return any(extractor.suitable(url) for extractor in _extractors())


def download(order: SiteOrder, on_bytes: OnBytes) -> str:
    """What the process apart does: the recording into the order's folder; its title. Raises JobFailure."""
    import yt_dlp

    try:
        with yt_dlp.YoutubeDL(_options(order, on_bytes)) as downloader:
            info = downloader.extract_info(order.url, download=False, process=False)
            _check_kind(info)
            info = downloader.process_ie_result(info, download=False)
            _check(info, order.max_duration_seconds)
            downloader.process_ie_result(info, download=True)
    except yt_dlp.utils.YoutubeDLError as error:
        raise _failure(error) from error
    except _TooLarge as error:
        raise JobFailure("source_too_large", f"The recording is too large. {UPLOAD_INSTEAD}") from error
    return str(info.get("title") or "recording")[:200]


@cache
def _extractors() -> tuple[Any, ...]:
    from yt_dlp.extractor import list_extractor_classes

    return tuple(extractor for extractor in list_extractor_classes() if extractor.IE_NAME != "generic")


def _options(order: SiteOrder, on_bytes: OnBytes) -> dict[str, Any]:
    folder = Path(order.folder)

    def on_progress(status: dict[str, Any]) -> None:
        received = int(status.get("downloaded_bytes") or 0)
        if received > order.max_bytes:
            raise _TooLarge
        on_bytes(received)

    options: dict[str, Any] = {
        "format": "bestaudio/best",
        "outtmpl": {"default": str(folder / "site.%(ext)s")},
        "proxy": order.proxy,
        "noplaylist": True,
        "extract_flat": True,
        "max_filesize": order.max_bytes,
        "socket_timeout": SOCKET_SECONDS,
        "retries": 3,
        "fragment_retries": 3,
        "enable_file_urls": False,
        "ffmpeg_location": "/nonexistent",  # no other program is run on what strangers send
        "fixup": "never",
        "cachedir": False,
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "logger": _Log(),
        "progress_hooks": [on_progress],
    }
    if order.cookies is not None:
        file = folder / "cookies.txt"  # a copy: yt-dlp writes the file again when it is done
        file.touch(mode=0o600)
        file.write_text(order.cookies)
        options["cookiefile"] = str(file)
    return options


def _check_kind(info: dict[str, Any] | None) -> None:
    if info is None:
        raise JobFailure("source_not_media", "No recording was found at the address.")
    if info.get("_type") in {"playlist", "multi_video"}:
        raise JobFailure(
            "source_is_playlist",
            "The address is a playlist or channel. Please give the address of one recording.",
        )


def _check(info: dict[str, Any] | None, max_duration_seconds: float) -> None:
    _check_kind(info)
    assert info is not None
    if info.get("is_live") or info.get("live_status") in {"is_live", "is_upcoming", "post_live"}:
        raise JobFailure("source_is_live", "The address is a live stream. Please send it once the recording is there.")
    if (info.get("duration") or 0) > max_duration_seconds:
        raise too_long(max_duration_seconds)


def _failure(error: Exception) -> JobFailure:
    text = _plain(error)
    for pattern, code, message in _REASONS:
        if re.search(pattern, text, re.IGNORECASE):
            return JobFailure(code, message)
    return JobFailure("source_not_media", f"The site's recording could not be fetched. {UPLOAD_INSTEAD}")


def _plain(error: Exception) -> str:
    """All that yt-dlp says, its causes included, without terminal colours, addresses and the ids of recordings.

    An address may hold anything: the number of an error, "private", "removed".
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", " ".join(_messages(error)))
    return re.sub(r"\S+://\S+|\[[\w:]+\] \S+:", " ", text)


def _messages(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{error} {type(error).__name__}"
        error = error.__cause__ or error.__context__


class _Log:
    """yt-dlp's messages may hold addresses with tokens in them: only that there were some is logged."""

    def debug(self, message: str) -> None:
        """Nothing."""

    info = warning = debug

    def error(self, message: str) -> None:
        """That something went wrong."""
        logger.info("site_fetch_problem", extra={"length": len(message)})
