"""MP3 (CBR, VBR, with and without a header of their totals), ADTS AAC, and the tags around them."""

from __future__ import annotations

import struct

from shared.adapters.probing.frames import Frame, find_frame, measure
from shared.adapters.probing.source import BeyondEnd, ByteSource
from shared.domain.media import Container, MediaInfo

SEARCH_BYTES = 128 * 1024  # junk allowed between the tags and the first frame
MAX_TAGS = 8
DECODER_DELAY_SAMPLES = 529
# kbit/s by [MPEG-1 or not][layer], ISO/IEC 11172-3 and 13818-3, table of bitrate_index
_V1_L1 = (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448)
_V1_L2 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_V1_L3 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_V2_L1 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_V2_L23 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_BITRATES = {(1, 1): _V1_L1, (1, 2): _V1_L2, (1, 3): _V1_L3, (2, 1): _V2_L1, (2, 2): _V2_L23, (2, 3): _V2_L23}
_RATES_HZ = {0: (11025, 12000, 8000), 2: (22050, 24000, 16000), 3: (44100, 48000, 32000)}
_AAC_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


def skip_tags(source: ByteSource) -> int:
    """Where the audio begins: after any ID3v2 tags (however large their pictures; they are not read)."""
    offset = 0
    for _ in range(MAX_TAGS):
        header = source.read_up_to(offset, 10)
        if len(header) < 10 or header[:3] != b"ID3" or max(header[6:10]) > 0x7F:
            break
        size_bytes = header[6] << 21 | header[7] << 14 | header[8] << 7 | header[9]
        offset += 10 + size_bytes + (10 if header[5] & 0x10 else 0)
    return offset


def find_mp3(source: ByteSource, start: int) -> int | None:
    """Where the first MP3 frame begins, or None."""
    position = find_frame(source.read_up_to(start, SEARCH_BYTES), parse_mp3_frame)
    return None if position is None else start + position


def find_adts(source: ByteSource, start: int) -> int | None:
    """Where the first ADTS frame begins, or None."""
    position = find_frame(source.read_up_to(start, SEARCH_BYTES), parse_adts_frame)
    return None if position is None else start + position


def probe_mp3(source: ByteSource, first: int) -> MediaInfo:
    """The length of an MP3 from its totals header where it has a true one, else from its frames."""
    end = _end_of_frames(source)
    header = source.read(first, 4)
    frame = parse_mp3_frame(header, 0)
    if frame is None:
        raise BeyondEnd("no frame")
    has_totals, duration = _length_of_totals(source, first, end, frame)
    if duration is None:
        start = first + frame.size_bytes if has_totals else first  # the frame of the totals holds no sound
        duration = measure(source, start, end, parse_mp3_frame)
    return MediaInfo(
        container=Container.MP3,
        duration_seconds=duration,
        codec="mp3",
        channels=1 if header[3] >> 6 == 3 else 2,
        sample_rate_hz=frame.stream[-1],
        has_audio=True,
    )


def probe_adts(source: ByteSource, first: int) -> MediaInfo:
    """The length of bare AAC frames, which carry no totals."""
    header = source.read(first, 4)
    frame = parse_adts_frame(source.read(first, 7), 0)
    if frame is None:
        raise BeyondEnd("no frame")
    return MediaInfo(
        container=Container.ADTS,
        duration_seconds=measure(source, first, _end_of_frames(source), parse_adts_frame),
        codec="aac",
        channels=((header[2] & 1) << 2 | header[3] >> 6) or None,
        sample_rate_hz=frame.stream[-1],
        has_audio=True,
    )


def parse_mp3_frame(data: bytes, position: int) -> Frame | None:
    """The MPEG audio frame at ``position``, or None (also for free-format streams, which have no length field)."""
    if position + 4 > len(data) or data[position] != 0xFF or data[position + 1] & 0xE0 != 0xE0:
        return None
    second, third = data[position + 1], data[position + 2]
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    bitrate_index, rate_index = third >> 4, third >> 2 & 3
    if version == 1 or layer == 4 or bitrate_index in {0, 15} or rate_index == 3:
        return None
    generation = 1 if version == 3 else 2
    bitrate = _BITRATES[generation, layer][bitrate_index] * 1000
    rate_hz = _RATES_HZ[version][rate_index]
    padding = third >> 1 & 1
    if layer == 1:
        samples, size_bytes = 384, (12 * bitrate // rate_hz + padding) * 4
    else:
        samples = 576 if layer == 3 and generation == 2 else 1152
        size_bytes = samples // 8 * bitrate // rate_hz + padding
    return Frame(size_bytes=size_bytes, seconds=samples / rate_hz, stream=(version, layer, rate_hz))


def parse_adts_frame(data: bytes, position: int) -> Frame | None:
    """The ADTS frame at ``position``, or None."""
    if position + 7 > len(data) or data[position] != 0xFF or data[position + 1] & 0xF6 != 0xF0:
        return None
    rate_index = data[position + 2] >> 2 & 15
    size_bytes = (data[position + 3] & 3) << 11 | data[position + 4] << 3 | data[position + 5] >> 5
    if rate_index >= len(_AAC_RATES_HZ) or size_bytes < 8:
        return None
    rate_hz = _AAC_RATES_HZ[rate_index]
    blocks = (data[position + 6] & 3) + 1
    return Frame(size_bytes=size_bytes, seconds=1024 * blocks / rate_hz, stream=(data[position + 1], rate_hz))


def _end_of_frames(source: ByteSource) -> int:
    """Where the frames end: before an ID3v1 and an APEv2 tag."""
    end = source.size_bytes
    if end >= 128 and source.read(end - 128, 3) == b"TAG":
        end -= 128
    footer = source.read_up_to(end - 32, 32) if end >= 32 else b""
    if footer[:8] == b"APETAGEX":
        size_bytes, flags = struct.unpack("<I4xI", footer[12:24])
        tag_bytes = size_bytes + (32 if flags & 0x80000000 else 0)
        end -= tag_bytes if tag_bytes <= end else 0
    return end


def _length_of_totals(source: ByteSource, first: int, end: int, frame: Frame) -> tuple[bool, float | None]:
    """Whether there is a Xing, Info or VBRI header, and its seconds; None when its bytes are not those of the file."""
    data = source.read_up_to(first, max(frame.size_bytes, 200))
    rate_hz, samples_per_frame = frame.stream[-1], round(frame.seconds * frame.stream[-1])
    for tag in (b"Xing", b"Info"):
        at = data.find(tag, 4, 60)
        if at >= 0:
            return True, _length_of_xing(data[at:], end - first, samples_per_frame, rate_hz)
    if data[36:40] == b"VBRI" and len(data) >= 54:
        total_bytes, frames = struct.unpack(">II", data[46:54])
        return True, frames * frame.seconds if frames and _same(total_bytes, end - first) else None
    return False, None


def _length_of_xing(data: bytes, there_bytes: int, samples_per_frame: int, rate_hz: int) -> float | None:
    if len(data) < 16:
        return None
    flags, frames, total_bytes = struct.unpack(">III", data[4:16])
    if flags & 3 != 3 or not frames or not _same(total_bytes, there_bytes):
        return None
    samples = frames * samples_per_frame
    at = 16 + (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    if len(data) >= at + 24 and data[at : at + 4] in {b"LAME", b"Lavf", b"Lavc"}:
        gap = int.from_bytes(data[at + 21 : at + 24], "big")
        samples -= (gap >> 12) + (gap & 0xFFF)  # what the encoder put before and after, which decoders take off
    return float(max(samples, 1) / rate_hz)


def _same(declared_bytes: int, there_bytes: int) -> bool:
    return abs(declared_bytes - there_bytes) <= max(4096, there_bytes // 200)
