"""WAV (RIFF, RF64, extensible) and AIFF: lengths from the sizes of their chunks, bounded by the bytes there are."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from shared.adapters.probing.source import BeyondEnd, ByteSource
from shared.domain.media import Container, MediaInfo

MAX_CHUNKS = 500
_CODECS = {1: "pcm", 2: "adpcm", 3: "pcm", 6: "alaw", 7: "mulaw", 0x11: "adpcm", 0x31: "gsm", 0x55: "mp3", 0xFF: "aac"}
_EXTENSIBLE = 0xFFFE
_UNKNOWN_SIZES = {0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF}  # what writers to a pipe leave behind


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    name: bytes
    offset: int
    size_bytes: int


def probe_wav(source: ByteSource) -> MediaInfo:
    """The length of a WAV from its data chunk; never more than the bytes that are really there."""
    codec, channels, rate_hz, bytes_per_second = None, None, None, 0
    samples, long_data_bytes = None, None
    for chunk in _chunks(source, "little"):
        if chunk.name == b"ds64":
            long_data_bytes = struct.unpack("<Q", source.read(chunk.offset + 8, 8))[0]
        elif chunk.name == b"fmt ":
            codec, channels, rate_hz, bytes_per_second = _wav_format(
                source.read(chunk.offset, min(chunk.size_bytes, 40))
            )
        elif chunk.name == b"fact" and chunk.size_bytes >= 4:
            samples = struct.unpack("<I", source.read(chunk.offset, 4))[0]
        elif chunk.name == b"data":
            there = source.size_bytes - chunk.offset
            declared = long_data_bytes if long_data_bytes and chunk.size_bytes == 0xFFFFFFFF else chunk.size_bytes
            data_bytes = there if declared in _UNKNOWN_SIZES else min(declared, there)
            duration = data_bytes / bytes_per_second if bytes_per_second else None
            if codec not in {"pcm", "alaw", "mulaw"} and samples and rate_hz and data_bytes == declared:
                duration = samples / rate_hz
            return MediaInfo(
                container=Container.WAV,
                duration_seconds=duration,
                codec=codec,
                channels=channels,
                sample_rate_hz=rate_hz,
                has_audio=data_bytes > 0,
            )
    raise BeyondEnd("no data chunk")


def probe_aiff(source: ByteSource) -> MediaInfo:
    """The length of an AIFF or AIFF-C from its COMM chunk, bounded by its sound data."""
    rate_hz, duration, channels, sample_bytes = 0.0, None, None, 0
    for chunk in _chunks(source, "big"):
        if chunk.name == b"COMM" and chunk.size_bytes >= 18:
            channels, frames, bits = struct.unpack(">hIh", source.read(chunk.offset, 8))
            rate_hz = _extended_float(source.read(chunk.offset + 8, 10))
            duration = frames / rate_hz if rate_hz > 0 else None
            sample_bytes = (bits + 7) // 8 * channels
        elif chunk.name == b"SSND":
            there = source.size_bytes - chunk.offset - 8
            if chunk.size_bytes - 8 > there and sample_bytes > 0 and rate_hz > 0:
                duration = there / sample_bytes / rate_hz
            break
    return MediaInfo(
        container=Container.AIFF,
        duration_seconds=duration,
        codec="pcm",
        channels=channels,
        sample_rate_hz=int(rate_hz) or None,
        has_audio=True,
    )


def _chunks(source: ByteSource, order: str) -> Iterator[_Chunk]:
    offset, number = 12, 0
    while offset + 8 <= source.size_bytes and number < MAX_CHUNKS:
        name, size_bytes = struct.unpack("<4sI" if order == "little" else ">4sI", source.read(offset, 8))
        yield _Chunk(name=name, offset=offset + 8, size_bytes=size_bytes)
        offset += 8 + size_bytes + size_bytes % 2
        number += 1


def _wav_format(header: bytes) -> tuple[str | None, int, int, int]:
    if len(header) < 16:
        raise BeyondEnd("short fmt chunk")
    tag, channels, rate_hz, bytes_per_second, block_bytes, bits = struct.unpack("<HHIIHH", header[:16])
    if tag == _EXTENSIBLE and len(header) >= 26:
        tag = struct.unpack("<H", header[24:26])[0]
    codec = _CODECS.get(tag, "other")
    if codec in {"pcm", "alaw", "mulaw"}:  # the rate is what the samples say, whatever the redundant field claims
        sample_bytes = channels * ((bits + 7) // 8) or block_bytes
        bytes_per_second = rate_hz * sample_bytes
    return codec, channels, rate_hz, bytes_per_second


def _extended_float(data: bytes) -> float:
    """An IEEE 754 80-bit number, the way AIFF writes sample rates; 0.0 for what no rate can be."""
    exponent, mantissa = struct.unpack(">HQ", data)
    shift = exponent - 16383 - 63
    if exponent & 0x8000 or not -63 <= shift <= 0:
        return 0.0
    return math.ldexp(mantissa, shift)
