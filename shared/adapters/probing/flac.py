"""FLAC: the total from STREAMINFO, checked against (or replaced by) the number in the last frame."""

from __future__ import annotations

from dataclasses import dataclass

from shared.adapters.probing.source import BeyondEnd, ByteSource
from shared.domain.media import Container, MediaInfo

TAIL_BYTES = 192 * 1024  # holds the last frames whatever the block size


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """The fields of STREAMINFO that matter here (RFC 9639 §8.2)."""

    block_samples: int
    is_fixed: bool
    rate_hz: int
    channels: int
    total_samples: int


def probe_flac(source: ByteSource, start: int) -> MediaInfo:
    """The length of a FLAC file; a cut-off one gets what is there, not what it promised."""
    info = parse_streaminfo(source.read(start + 8, 34))
    samples = info.total_samples
    last = _last_sample(source, info)
    if last is None:
        # One frame alone cannot be told from chance; the header stands where the file is that short.
        duration = samples / info.rate_hz if samples and source.size_bytes <= TAIL_BYTES else None
    else:
        duration = last / info.rate_hz
    return MediaInfo(
        container=Container.FLAC,
        duration_seconds=duration,
        codec="flac",
        channels=info.channels,
        sample_rate_hz=info.rate_hz,
        has_audio=True,
    )


def parse_streaminfo(data: bytes) -> StreamInfo:
    """STREAMINFO's fields. Raises BeyondEnd for one that cannot be."""
    packed = int.from_bytes(data[10:18], "big")
    rate_hz = packed >> 44
    if rate_hz == 0:
        raise BeyondEnd("no sample rate")
    shortest, longest = int.from_bytes(data[0:2], "big"), int.from_bytes(data[2:4], "big")
    return StreamInfo(
        block_samples=longest,
        is_fixed=shortest == longest,
        rate_hz=rate_hz,
        channels=(packed >> 41 & 7) + 1,
        total_samples=packed & ((1 << 36) - 1),
    )


def _last_sample(source: ByteSource, info: StreamInfo) -> int | None:
    """The sample after the last frame found in the tail, when STREAMINFO or the frame before it confirms it."""
    tail = source.read_up_to(max(0, source.size_bytes - TAIL_BYTES), TAIL_BYTES)
    ends: set[int] = set()
    best = None
    position = tail.find(b"\xff")
    while 0 <= position < len(tail) - 5:
        span = _frame_span(tail, position, info)
        if span is not None:
            begin, end = span
            if end == info.total_samples:
                return end
            if begin in ends:
                best = end
            ends.add(end)
        position = tail.find(b"\xff", position + 1)
    return best


def _frame_span(data: bytes, position: int, info: StreamInfo) -> tuple[int, int] | None:
    """First sample and the one after the last of the frame at ``position`` (RFC 9639 §9.1), None where none is."""
    head = data[position : position + 16]
    if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    block_code, rate_code = head[2] >> 4, head[2] & 15
    if block_code == 0 or rate_code == 15 or head[3] >> 4 > 10:
        return None
    number, at = _coded_number(head)
    if number is None:
        return None
    block, at = _block_samples(head, block_code, at)
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    begin = number if head[1] & 1 else number * info.block_samples
    return begin, begin + block


def _coded_number(head: bytes) -> tuple[int | None, int]:
    lead = head[4]
    if lead < 0x80:
        return lead, 5
    length = 8 - (lead ^ 0xFF).bit_length()
    if not 2 <= length <= 7 or len(head) < 4 + length:
        return None, 0
    number = lead & (0x7F >> length)
    for byte in head[5 : 4 + length]:
        if byte & 0xC0 != 0x80:
            return None, 0
        number = number << 6 | byte & 0x3F
    return number, 4 + length


def _block_samples(head: bytes, code: int, at: int) -> tuple[int, int]:
    if code == 1:
        return 192, at
    if code <= 5:
        return 576 << (code - 2), at
    if code == 6:
        return int.from_bytes(head[at : at + 1], "big") + 1, at + 1
    if code == 7:
        return int.from_bytes(head[at : at + 2], "big") + 1, at + 2
    return 256 << (code - 8), at


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x07 if value & 0x80 else value << 1) & 0xFF
    return value
