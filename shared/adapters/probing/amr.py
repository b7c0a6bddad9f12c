"""AMR narrow-band and wide-band, as phones record it (RFC 4867 §5)."""

from __future__ import annotations

from shared.adapters.probing.frames import Frame, ParseFrame, measure
from shared.adapters.probing.source import ByteSource
from shared.domain.media import Container, MediaInfo

_NARROW = b"#!AMR\n"
_WIDE = b"#!AMR-WB\n"
_NARROW_BYTES = (13, 14, 16, 18, 20, 21, 27, 32, 6, 6, 6, 6, 0, 0, 0, 1)
_WIDE_BYTES = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1)
FRAME_SECONDS = 0.02


def probe_amr(source: ByteSource) -> MediaInfo:
    """The length of an AMR file: 20 ms for every frame."""
    is_wide = source.read_up_to(0, len(_WIDE)) == _WIDE
    start = len(_WIDE if is_wide else _NARROW)
    parse = _parser(_WIDE_BYTES if is_wide else _NARROW_BYTES)
    return MediaInfo(
        container=Container.AMR,
        duration_seconds=measure(source, start, source.size_bytes, parse),
        codec="amr_wb" if is_wide else "amr_nb",
        channels=1,
        sample_rate_hz=16_000 if is_wide else 8_000,
        has_audio=source.size_bytes > start,
    )


def _parser(sizes: tuple[int, ...]) -> ParseFrame:
    def parse(data: bytes, position: int) -> Frame | None:
        if position >= len(data) or data[position] & 0x83:  # padding bits are zero
            return None
        size_bytes = sizes[data[position] >> 3 & 15]
        return Frame(size_bytes=size_bytes, seconds=FRAME_SECONDS, stream=()) if size_bytes else None

    return parse
