"""What can be told of a recording from its headers, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

# Nothing we decode speaks in fewer bytes: Opus with DTX needs about 80 a second, FLAC of digital silence about 28.
MIN_BYTES_PER_SECOND = 20
# Sixteen channels of 32-bit samples at 192 kHz: no header may make so few seconds of so many bytes.
MAX_AUDIO_BYTES_PER_SECOND = 16 * 4 * 192_000
MAX_CHANNELS = 255
MAX_DURATION_SECONDS = 7 * 24 * 3600.0


class Container(StrEnum):
    """File formats told apart by their first bytes, never by their names."""

    WAV = "wav"
    AIFF = "aiff"
    MP3 = "mp3"
    ADTS = "aac"
    FLAC = "flac"
    OGG = "ogg"
    MATROSKA = "matroska"  # MKV and WebM
    MP4 = "mp4"  # MP4, M4A, MOV, 3GP
    AMR = "amr"
    OTHER = "other"  # media the worker can decode but whose length is not read here


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """A recording's headers. None: not told by them (``duration_seconds``: the worker settles it)."""

    container: Container
    duration_seconds: float | None = None
    codec: str | None = None
    channels: int | None = None
    sample_rate_hz: int | None = None
    has_audio: bool | None = None
    has_video: bool = False


def plausible(info: MediaInfo, size_bytes: int) -> MediaInfo:
    """The same, with what cannot be true marked unknown: a header may lie, the number of bytes cannot."""
    duration = info.duration_seconds
    if duration is not None and not _is_possible(duration, size_bytes):
        info = replace(info, duration_seconds=None)
    if info.channels is not None and not 1 <= info.channels <= MAX_CHANNELS:
        info = replace(info, channels=None)
    if info.sample_rate_hz is not None and not 1 <= info.sample_rate_hz <= 768_000:
        info = replace(info, sample_rate_hz=None)
    return info


def _is_possible(duration_seconds: float, size_bytes: int) -> bool:
    if not 0 < duration_seconds <= MAX_DURATION_SECONDS:  # also refuses NaN
        return False
    return size_bytes / MAX_AUDIO_BYTES_PER_SECOND <= duration_seconds <= size_bytes / MIN_BYTES_PER_SECOND
