"""MP4, M4A, MOV and 3GP: the audio track's own length, in one piece or in fragments; sample tables are not read."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from shared.adapters.probing.source import BeyondEnd, ByteSource
from shared.domain.media import Container, MediaInfo

MAX_MOOV_BYTES = 64 * 1024 * 1024
MAX_ENTRIES = 10_000
_CODECS = {
    b"mp4a": "aac", b".mp3": "mp3", b"alac": "alac", b"samr": "amr_nb", b"sawb": "amr_wb", b"Opus": "opus",
    b"fLaC": "flac", b"ac-3": "ac3", b"ec-3": "eac3", b"sowt": "pcm", b"twos": "pcm", b"lpcm": "pcm", b"raw ": "pcm",
}  # fmt: skip
_UNKNOWN_DURATIONS = {0, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    name: bytes
    offset: int  # of the content
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Track:
    track_id: int
    is_audio: bool
    is_video: bool
    timescale: int
    duration_seconds: float | None
    codec: str | None
    channels: int | None
    rate_hz: int | None
    chunks_end: int  # the last chunk's offset: past the end of the file when it is cut off


def probe_mp4(source: ByteSource) -> MediaInfo:
    """The length, codec and channels of the first audio track."""
    top = list(_boxes(source, 0, source.size_bytes))
    moov = next((box for box in top if box.name == b"moov"), None)
    if moov is None or moov.end - moov.offset > MAX_MOOV_BYTES:
        raise BeyondEnd("no moov box")
    moov = _Box(name=moov.name, offset=moov.offset, end=min(moov.end, source.size_bytes))
    inside = list(_boxes(source, moov.offset, moov.end))
    movie_scale = _movie_scale(source, inside)
    tracks = [_track(source, box, movie_scale) for box in inside if box.name == b"trak"]
    audio = next((track for track in tracks if track.is_audio), None)
    is_fragmented = any(box.name == b"mvex" for box in inside)
    duration = None
    is_cut_off = any(box.end > source.size_bytes for box in top)
    if audio is not None and not is_cut_off:
        if is_fragmented:
            duration = _fragmented_seconds(source, top, inside, audio)
        elif audio.chunks_end <= source.size_bytes:
            duration = audio.duration_seconds
    return MediaInfo(
        container=Container.MP4,
        duration_seconds=duration,
        codec=audio.codec if audio else None,
        channels=audio.channels if audio else None,
        sample_rate_hz=audio.rate_hz if audio else None,
        has_audio=audio is not None,
        has_video=any(track.is_video for track in tracks),
    )


def _track(source: ByteSource, trak: _Box, movie_scale: int) -> _Track:
    track_id, edited_seconds, timescale, units = 0, None, 0, 0
    handler, chunks_end = b"", 0
    codec: str | None = None
    channels: int | None = None
    rate_hz: int | None = None
    for box in _descend(source, trak, {b"edts", b"mdia", b"minf", b"stbl"}):
        if box.name == b"tkhd":
            wide = source.read(box.offset, 1)[0] == 1
            track_id = struct.unpack(">I", source.read(box.offset + (20 if wide else 12), 4))[0]
        elif box.name == b"elst" and movie_scale:
            edited_seconds = _edited_units(source, box) / movie_scale
        elif box.name == b"mdhd":
            timescale, units = _scale_and_units(source, box)
        elif box.name == b"hdlr" and not handler:
            handler = source.read(box.offset + 8, 4)
        elif box.name == b"stsd" and handler == b"soun":
            codec, channels, rate_hz = _sample_description(source, box)
        elif box.name in {b"stco", b"co64"}:
            chunks_end = _last_chunk(source, box)
    seconds = units / timescale if timescale and units not in _UNKNOWN_DURATIONS else None
    if edited_seconds and seconds and edited_seconds <= seconds + 0.5:  # an edit may cut, not add
        seconds = min(edited_seconds, seconds)
    return _Track(
        track_id=track_id,
        is_audio=handler == b"soun",
        is_video=handler == b"vide",
        timescale=timescale,
        duration_seconds=seconds,
        codec=codec,
        channels=channels,
        rate_hz=rate_hz,
        chunks_end=chunks_end,
    )


def _fragmented_seconds(source: ByteSource, top: list[_Box], inside: list[_Box], audio: _Track) -> float | None:
    """Seconds of a fragmented file: by its segment index, else by its last fragment with audio."""
    for box in top:
        if box.name == b"sidx":
            seconds = _indexed_seconds(source, box, audio)
            if seconds:
                return seconds
    for box in reversed([box for box in top if box.name == b"moof"][-8:]):
        end = _fragment_end(source, box, audio, inside)
        if end:
            return end / audio.timescale if audio.timescale else None
    return None


def _fragment_end(source: ByteSource, moof: _Box, audio: _Track, inside: list[_Box]) -> int | None:
    """When the audio of this fragment ends, in the track's units."""
    for traf in _boxes(source, moof.offset, moof.end):
        if traf.name != b"traf":
            continue
        boxes = {box.name: box for box in _boxes(source, traf.offset, traf.end)}
        runs = [box for box in _boxes(source, traf.offset, traf.end) if box.name == b"trun"]
        if b"tfhd" not in boxes or b"tfdt" not in boxes:
            continue
        track_id, default = _fragment_header(source, boxes[b"tfhd"])
        if track_id != audio.track_id:
            continue
        if default is None:
            default = _track_default(source, inside, track_id)
        wide = source.read(boxes[b"tfdt"].offset, 1)[0] == 1
        begin = int.from_bytes(source.read(boxes[b"tfdt"].offset + 4, 8 if wide else 4), "big")
        return begin + sum(_run_units(source, run, default) for run in runs)
    return None


def _fragment_header(source: ByteSource, box: _Box) -> tuple[int, int | None]:
    flags = int.from_bytes(source.read(box.offset + 1, 3), "big")
    track_id = struct.unpack(">I", source.read(box.offset + 4, 4))[0]
    at = box.offset + 8 + (8 if flags & 1 else 0) + (4 if flags & 2 else 0)
    return track_id, struct.unpack(">I", source.read(at, 4))[0] if flags & 8 else None


def _track_default(source: ByteSource, inside: list[_Box], track_id: int) -> int:
    """The default sample duration of a track, from moov/mvex/trex."""
    for mvex in (box for box in inside if box.name == b"mvex"):
        for trex in _boxes(source, mvex.offset, mvex.end):
            if trex.name == b"trex":
                found_id, _, duration = struct.unpack(">III", source.read(trex.offset + 4, 12))
                if found_id == track_id:
                    return int(duration)
    return 0


def _run_units(source: ByteSource, box: _Box, default: int) -> int:
    flags = int.from_bytes(source.read(box.offset + 1, 3), "big")
    samples = struct.unpack(">I", source.read(box.offset + 4, 4))[0]
    if not flags & 0x100:
        return int(samples * default)
    if samples > MAX_ENTRIES * 10:
        raise BeyondEnd("too many samples in one run")
    step = 4 * sum(bool(flags & flag) for flag in (0x100, 0x200, 0x400, 0x800))
    at = box.offset + 8 + (4 if flags & 1 else 0) + (4 if flags & 4 else 0)
    data = source.read(at, samples * step)
    return sum(int.from_bytes(data[i : i + 4], "big") for i in range(0, len(data), step))


def _indexed_seconds(source: ByteSource, box: _Box, audio: _Track) -> float | None:
    version = source.read(box.offset, 1)[0]
    reference_id, timescale = struct.unpack(">II", source.read(box.offset + 4, 8))
    at = box.offset + 12 + (16 if version else 8)
    _, count = struct.unpack(">HH", source.read(at, 4))
    if reference_id != audio.track_id or not timescale or count > MAX_ENTRIES:
        return None
    data = source.read(at + 4, 12 * count)
    indexed_bytes = sum(int.from_bytes(data[i : i + 4], "big") & 0x7FFFFFFF for i in range(0, len(data), 12))
    if box.end + indexed_bytes > source.size_bytes:
        return None  # cut off between two fragments
    return float(sum(int.from_bytes(data[i + 4 : i + 8], "big") for i in range(0, len(data), 12)) / timescale)


def _movie_scale(source: ByteSource, inside: list[_Box]) -> int:
    for box in inside:
        if box.name == b"mvhd":
            return _scale_and_units(source, box)[0]
    return 0


def _scale_and_units(source: ByteSource, box: _Box) -> tuple[int, int]:
    """Timescale and duration of an mvhd or mdhd box, which begin alike."""
    if source.read(box.offset, 1)[0] == 1:
        scale, units = struct.unpack(">IQ", source.read(box.offset + 20, 12))
    else:
        scale, units = struct.unpack(">II", source.read(box.offset + 12, 8))
    return scale, units


def _edited_units(source: ByteSource, box: _Box) -> int:
    wide = source.read(box.offset, 1)[0] == 1
    count = struct.unpack(">I", source.read(box.offset + 4, 4))[0]
    step, shape = (20, ">Qq") if wide else (12, ">Ii")
    data = source.read(box.offset + 8, step * min(count, 100))
    total = 0
    for at in range(0, len(data), step):
        units, media_time = struct.unpack(shape, data[at : at + step - 4])
        total += units if media_time >= 0 else 0  # -1: an empty edit, silence that is not in the file
    return int(total)


def _sample_description(source: ByteSource, box: _Box) -> tuple[str, int | None, int | None]:
    entry = source.read(box.offset + 8, 36)
    version, channels = struct.unpack(">H6xH", entry[16:26])
    rate_hz = struct.unpack(">I", entry[32:36])[0] >> 16
    if version == 2:  # QuickTime's second sound description
        rate, channels = struct.unpack(">dI", source.read(box.offset + 8 + 40, 12))
        rate_hz = int(rate) if 0 < rate < 1e7 else 0
    return _CODECS.get(entry[4:8], "other"), channels or None, rate_hz or None


def _last_chunk(source: ByteSource, box: _Box) -> int:
    width = 4 if box.name == b"stco" else 8
    count = struct.unpack(">I", source.read(box.offset + 4, 4))[0]
    if not count or 8 + count * width > box.end - box.offset:
        return 0
    return int.from_bytes(source.read(box.offset + 8 + (count - 1) * width, width), "big")


def _descend(source: ByteSource, parent: _Box, through: set[bytes], depth: int = 0) -> Iterator[_Box]:
    """The boxes inside, and inside those named, in the order of the file."""
    for box in _boxes(source, parent.offset, parent.end):
        yield box
        if box.name in through and depth < 4:
            yield from _descend(source, box, through, depth + 1)


def _boxes(source: ByteSource, offset: int, end: int) -> Iterator[_Box]:
    while offset + 8 <= end:
        head = source.read_up_to(offset, 16)
        if len(head) < 8:
            return
        size_bytes, name = struct.unpack(">I4s", head[:8])
        content = offset + 8
        if size_bytes == 1 and len(head) == 16:
            size_bytes, content = struct.unpack(">Q", head[8:])[0], offset + 16
        elif size_bytes == 0:
            size_bytes = end - offset  # until the end of the file
        if size_bytes < content - offset:
            return
        yield _Box(name=name, offset=content, end=offset + size_bytes)
        offset += size_bytes
