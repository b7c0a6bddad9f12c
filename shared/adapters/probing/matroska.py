"""Matroska and WebM: the length from Info, or from the last cluster where a browser or a broken end left none."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.adapters.probing.source import BeyondEnd, ByteSource
from shared.domain.media import Container, MediaInfo

_SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_TIMESTAMP_SCALE, _DURATION = 0x2AD7B1, 0x4489
_TRACK, _NUMBER, _TYPE, _CODEC, _AUDIO, _CODEC_DELAY = 0xAE, 0xD7, 0x83, 0x86, 0xE1, 0x56AA
_RATE, _CHANNELS = 0xB5, 0x9F
_TIMESTAMP, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK = 0xE7, 0xA3, 0xA0, 0xA1
_TOP_LEVEL = {_CLUSTER, 0x1C53BB6B, 0x1254C367, 0x1043A770, 0x1941A469, 0x114D9B74, _INFO, _TRACKS}
_VIDEO_TYPE, _AUDIO_TYPE = 1, 2
MAX_CLUSTERS = 64  # tried from the end backwards
TAIL_BYTES = (256 * 1024, 2 * 1024 * 1024, 8 * 1024 * 1024)
DEFAULT_BLOCK_SECONDS = 0.02
_CODECS = {"A_OPUS": "opus", "A_VORBIS": "vorbis", "A_FLAC": "flac", "A_MPEG/L3": "mp3", "A_AC3": "ac3"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Element:
    id: int
    offset: int  # of the content
    size_bytes: int | None  # None: until the next element that cannot be inside

    def end(self, limit: int) -> int:
        return limit if self.size_bytes is None else min(limit, self.offset + self.size_bytes)


@dataclass(slots=True, kw_only=True)
class _Found:
    scale_ns: int = 1_000_000
    duration: float | None = None  # in units of the scale
    audio: dict[int, tuple[str, int | None, int | None]] = field(default_factory=dict)  # codec, channels, rate
    delay_ns: int = 0
    has_tracks: bool = False
    has_video: bool = False


def probe_matroska(source: ByteSource) -> MediaInfo:
    """The length, codec and channels of a Matroska or WebM file."""
    segment = _segment(source)
    is_cut_off = segment.size_bytes is not None and segment.offset + segment.size_bytes > source.size_bytes + 16
    found = _Found()
    for element in _children(source, segment.offset, segment.end(source.size_bytes)):
        if element.id == _INFO:
            _read_info(source, element, found)
        elif element.id == _TRACKS:
            _read_tracks(source, element, found)
        elif element.id == _CLUSTER and (found.has_tracks or element.size_bytes is None):
            break
    seconds = None
    if found.duration is not None and not is_cut_off:
        seconds = found.duration * found.scale_ns / 1e9
    elif found.audio:
        seconds = _seconds_of_last_cluster(source, segment.offset, found)
    codec, channels, rate_hz = next(iter(found.audio.values()), (None, None, None))
    return MediaInfo(
        container=Container.MATROSKA,
        duration_seconds=seconds,
        codec=codec,
        channels=channels,
        sample_rate_hz=rate_hz,
        has_audio=bool(found.audio) if found.has_tracks else None,
        has_video=found.has_video,
    )


def _segment(source: ByteSource) -> _Element:
    for element in _children(source, 0, source.size_bytes):
        if element.id == _SEGMENT:
            return element
    raise BeyondEnd("no segment")


def _read_info(source: ByteSource, info: _Element, found: _Found) -> None:
    for element in _children(source, info.offset, info.end(source.size_bytes)):
        if element.id == _TIMESTAMP_SCALE:
            found.scale_ns = _unsigned(source, element) or 1_000_000
        elif element.id == _DURATION:
            found.duration = _float(source, element)


def _read_tracks(source: ByteSource, tracks: _Element, found: _Found) -> None:
    found.has_tracks = True
    for track in _children(source, tracks.offset, tracks.end(source.size_bytes)):
        if track.id != _TRACK:
            continue
        number, kind, codec, channels, rate_hz = 0, 0, "other", 1, 8000
        delay_ns = 0
        for element in _children(source, track.offset, track.end(source.size_bytes)):
            if element.id == _NUMBER:
                number = _unsigned(source, element)
            elif element.id == _TYPE:
                kind = _unsigned(source, element)
            elif element.id == _CODEC:
                codec = _codec(source.read(element.offset, min(element.size_bytes or 0, 32)))
            elif element.id == _CODEC_DELAY:
                delay_ns = _unsigned(source, element)
            elif element.id == _AUDIO:
                channels, rate_hz = _read_audio(source, element)
        if kind == _AUDIO_TYPE:
            found.audio[number] = (codec, channels, rate_hz)
            found.delay_ns = delay_ns
        found.has_video = found.has_video or kind == _VIDEO_TYPE


def _read_audio(source: ByteSource, audio: _Element) -> tuple[int, int]:
    channels, rate_hz = 1, 8000  # the defaults of the specification
    for element in _children(source, audio.offset, audio.end(source.size_bytes)):
        if element.id == _CHANNELS:
            channels = _unsigned(source, element)
        elif element.id == _RATE:
            rate = _float(source, element)
            rate_hz = int(rate) if 0 < rate < 1e7 else 0
    return channels, rate_hz


def _seconds_of_last_cluster(source: ByteSource, start: int, found: _Found) -> float | None:
    """Walk back from the end to a cluster with audio in it; its last block says how long the recording is."""
    for tail_bytes in TAIL_BYTES:
        begin = max(start, source.size_bytes - tail_bytes)
        tail = source.read_up_to(begin, source.size_bytes - begin)
        position = len(tail)
        for _ in range(MAX_CLUSTERS):
            position = tail.rfind(_CLUSTER.to_bytes(4, "big"), 0, position)
            if position < 0:
                break
            last = _last_timestamp(source, begin + position, found)
            if last is not None:
                return (last * found.scale_ns - found.delay_ns) / 1e9
        if begin == start:
            break
    return None


def _last_timestamp(source: ByteSource, offset: int, found: _Found) -> float | None:
    """When the last audio block of the cluster ends, in units of the scale; None where there is no such cluster."""
    cluster = _element(source, offset)
    if cluster is None:
        return None
    base: int | None = None
    times: list[int] = []
    for element in _children(source, cluster.offset, cluster.end(source.size_bytes)):
        if element.id in _TOP_LEVEL:
            break
        if element.id == _TIMESTAMP:
            base = _unsigned(source, element)
        elif element.id == _SIMPLE_BLOCK:
            times += _block_time(source, element, found)
        elif element.id == _BLOCK_GROUP:
            for inner in _children(source, element.offset, element.end(source.size_bytes)):
                if inner.id == _BLOCK:
                    times += _block_time(source, inner, found)
    if base is None or not times:
        return None
    step = times[-1] - times[-2] if len(times) > 1 else DEFAULT_BLOCK_SECONDS * 1e9 / found.scale_ns
    return base + max(times) + max(step, 0)


def _block_time(source: ByteSource, block: _Element, found: _Found) -> list[int]:
    head = source.read_up_to(block.offset, 11)
    number, length = _vint(head, 0, keep_marker=False)
    if number is None or number not in found.audio or len(head) < length + 2:
        return []
    return [struct.unpack(">h", head[length : length + 2])[0]]


def _children(source: ByteSource, offset: int, end: int) -> Iterator[_Element]:
    while offset < end and (element := _element(source, offset)) is not None:
        yield element
        # One of unknown size (a live recording) has its children behind it, so the walk goes on inside.
        offset = element.offset + (element.size_bytes or 0)


def _element(source: ByteSource, offset: int) -> _Element | None:
    head = source.read_up_to(offset, 12)
    identifier, id_length = _vint(head, 0, keep_marker=True)
    if identifier is None or id_length > 4:
        return None
    size_bytes, size_length = _vint(head, id_length, keep_marker=False)
    if size_length == 0:
        return None
    return _Element(id=identifier, offset=offset + id_length + size_length, size_bytes=size_bytes)


def _vint(data: bytes, at: int, *, keep_marker: bool) -> tuple[int | None, int]:
    """A variable-length integer and its length; (None, length) for the reserved "unknown", (None, 0) for none."""
    if at >= len(data) or data[at] == 0:
        return None, 0
    length = 9 - data[at].bit_length()
    if at + length > len(data):
        return None, 0
    value = int.from_bytes(data[at : at + length], "big")
    if keep_marker:
        return value, length
    mask = (1 << 7 * length) - 1
    return (None if value & mask == mask else value & mask), length


def _unsigned(source: ByteSource, element: _Element) -> int:
    return int.from_bytes(source.read(element.offset, min(element.size_bytes or 0, 8)), "big")


def _float(source: ByteSource, element: _Element) -> float:
    if element.size_bytes == 4:
        return float(struct.unpack(">f", source.read(element.offset, 4))[0])
    if element.size_bytes == 8:
        return float(struct.unpack(">d", source.read(element.offset, 8))[0])
    return 0.0


def _codec(name: bytes) -> str:
    text = name.rstrip(b"\0").decode("ascii", "replace")
    if text.startswith("A_AAC"):
        return "aac"
    return "pcm" if text.startswith("A_PCM") else _CODECS.get(text, "other")
