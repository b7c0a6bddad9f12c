"""Ogg with Vorbis, Opus, FLAC or Speex: its first pages say what it is, its last one how long."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from shared.adapters.probing.flac import parse_streaminfo
from shared.adapters.probing.source import BeyondEnd, ByteSource
from shared.domain.media import Container, MediaInfo

HEAD_BYTES = 64 * 1024
TAIL_BYTES = 128 * 1024  # a page has at most 65,307 bytes
MAX_HEAD_PAGES = 64
_NO_GRANULE = 0xFFFFFFFFFFFFFFFF
OPUS_RATE_HZ = 48_000  # granules count at this rate whatever went in (RFC 7845 §4)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    serial: int
    granule: int
    is_first: bool
    body: bytes
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stream:
    codec: str
    granule_rate_hz: int
    rate_hz: int
    channels: int
    skipped_samples: int = 0


def probe_ogg(source: ByteSource) -> MediaInfo:
    """The length of an Ogg file from the last page of its audio; None for chained streams, whose clocks restart."""
    streams, others, data_start = _heads(source)
    has_video = any(body[:7] == b"\x80theora" for body in others)
    if len(streams) != 1:
        return MediaInfo(
            container=Container.OGG, has_audio=bool(streams) or (None if others else False), has_video=has_video
        )
    ((serial, stream),) = streams.items()
    return MediaInfo(
        container=Container.OGG,
        duration_seconds=_duration(source, serial, stream, data_start),
        codec=stream.codec,
        channels=stream.channels,
        sample_rate_hz=stream.rate_hz,
        has_audio=True,
        has_video=has_video,
    )


def _heads(source: ByteSource) -> tuple[dict[int, _Stream], list[bytes], int]:
    """The audio streams by serial number, the first packets of all others, and where their pages end."""
    data = source.read_up_to(0, HEAD_BYTES)
    streams: dict[int, _Stream] = {}
    others: list[bytes] = []
    offset = 0
    for _ in range(MAX_HEAD_PAGES):
        page = _page(data, offset)
        if page is None or not page.is_first:
            break
        stream = _identify(page.body)
        if stream is None:
            others.append(page.body)
        else:
            streams[page.serial] = stream
        offset = page.end
    if offset == 0:
        raise BeyondEnd("no first page")
    return streams, others, offset


def _duration(source: ByteSource, serial: int, stream: _Stream, data_start: int) -> float | None:
    start = max(0, source.size_bytes - TAIL_BYTES)
    tail = source.read_up_to(start, TAIL_BYTES)
    last = None
    position = tail.find(b"OggS")
    while position >= 0:
        page = _page(tail, position)
        if page is not None and start + position >= data_start:
            if page.is_first:
                return None  # chained: another stream begins here
            if page.serial == serial and page.granule != _NO_GRANULE and page.end <= len(tail):
                last = page.granule
        position = tail.find(b"OggS", position + 4)
    if last is None:
        return None
    samples = last - stream.skipped_samples - _first_granule(source, serial, stream, data_start)
    return samples / stream.granule_rate_hz if samples > 0 else None


def _first_granule(source: ByteSource, serial: int, stream: _Stream, data_start: int) -> int:
    """How far the clock was when the recording began (a stream joined while it was running), else 0."""
    data = source.read_up_to(data_start, HEAD_BYTES)
    position = 0
    while (page := _page(data, position)) is not None:
        if page.serial == serial and page.granule not in {0, _NO_GRANULE}:
            # A page holds about a second; more than a minute on the first one is a clock that did not start at 0.
            return page.granule if page.granule > 60 * stream.granule_rate_hz else 0
        position = page.end
    return 0


def _page(data: bytes, offset: int) -> _Page | None:
    head = data[offset : offset + 27]
    if len(head) < 27 or head[:5] != b"OggS\0":
        return None
    flags, granule, serial, segments = struct.unpack("<BQI8xB", head[5:27])
    lacing = data[offset + 27 : offset + 27 + segments]
    body = offset + 27 + segments
    end = body + sum(lacing)
    if len(lacing) < segments:
        return None
    return _Page(
        serial=serial, granule=granule, is_first=bool(flags & 2), body=data[body : min(end, body + 64)], end=end
    )


def _identify(packet: bytes) -> _Stream | None:
    if packet[:8] == b"OpusHead" and len(packet) >= 19:
        channels, skip, rate_hz = struct.unpack("<BHI", packet[9:16])
        return _Stream(
            codec="opus",
            granule_rate_hz=OPUS_RATE_HZ,
            rate_hz=rate_hz or OPUS_RATE_HZ,
            channels=channels,
            skipped_samples=skip,
        )
    if packet[:7] == b"\x01vorbis" and len(packet) >= 16:
        channels, rate_hz = struct.unpack("<BI", packet[11:16])
        return _sampled("vorbis", rate_hz, channels)
    if packet[:5] == b"\x7fFLAC" and len(packet) >= 51:
        info = parse_streaminfo(packet[17:51])
        return _sampled("flac", info.rate_hz, info.channels)
    if packet[:8] == b"Speex   " and len(packet) >= 52:
        rate_hz, channels = struct.unpack("<I8xI", packet[36:52])
        return _sampled("speex", rate_hz, channels)
    return None


def _sampled(codec: str, rate_hz: int, channels: int) -> _Stream | None:
    return _Stream(codec=codec, granule_rate_hz=rate_hz, rate_hz=rate_hz, channels=channels) if rate_hz else None
