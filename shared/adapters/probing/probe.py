"""One question: what is this recording, and how long?"""

from __future__ import annotations

import struct
from collections.abc import Callable

from shared.adapters.probing.amr import probe_amr
from shared.adapters.probing.flac import probe_flac
from shared.adapters.probing.matroska import probe_matroska
from shared.adapters.probing.mp4 import probe_mp4
from shared.adapters.probing.mpeg import find_adts, find_mp3, probe_adts, probe_mp3, skip_tags
from shared.adapters.probing.ogg import probe_ogg
from shared.adapters.probing.riff import probe_aiff, probe_wav
from shared.adapters.probing.source import BeyondEnd, BudgetSpent, ByteSource
from shared.domain.media import Container, MediaInfo, plausible

_MP4_STARTS = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"sidx", b"moof"}
# Media the worker's decoder knows whose lengths are not read here: by their first bytes.
_OTHER_STARTS = (
    b"FLV\x01", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"caff", b"riff\x2e\x91\xcf\x11", b".snd", b"wvpk",
    b"MAC ", b"TTA1", b"DSD ", b"MPCK", b"MP+", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"\x0b\x77",
    b"\x7f\xfe\x80\x01", b".RMF",
)  # fmt: skip
_TRANSPORT_PACKET_BYTES = 188


class NotMedia(Exception):
    """The bytes are no audio and no video that we know; ``looks_like`` names them where that helps."""

    def __init__(self, looks_like: str) -> None:
        super().__init__(f"not media: {looks_like}")
        self.looks_like = looks_like


def probe(source: ByteSource) -> MediaInfo:
    """What the recording's headers tell. Raises NotMedia; damaged or lying headers leave their fields unknown."""
    container, read = _recognise(source)
    try:
        info = read(source)
    except (BeyondEnd, BudgetSpent, struct.error):
        info = MediaInfo(container=container)
    return plausible(info, source.size_bytes)


def _recognise(source: ByteSource) -> tuple[Container, Callable[[ByteSource], MediaInfo]]:
    start = skip_tags(source)
    head = source.read_up_to(start, 16)
    by_magic = _by_magic(head, start)
    if by_magic is not None:
        return by_magic
    if _is_other(source, head):
        return Container.OTHER, lambda _: MediaInfo(container=Container.OTHER)
    looks_like = _name_what_it_is(source.read_up_to(0, 512))
    if looks_like is None:
        adts = find_adts(source, start)
        if adts is not None:
            return Container.ADTS, lambda found: probe_adts(found, adts)
        mp3 = find_mp3(source, start)
        if mp3 is not None:
            return Container.MP3, lambda found: probe_mp3(found, mp3)
    raise NotMedia(looks_like or "unknown data")


def _by_magic(head: bytes, start: int) -> tuple[Container, Callable[[ByteSource], MediaInfo]] | None:
    if head[8:12] == b"WAVE" and head[:4] in {b"RIFF", b"RF64", b"BW64"}:
        return Container.WAV, probe_wav
    if head[:4] == b"FORM" and head[8:12] in {b"AIFF", b"AIFC"}:
        return Container.AIFF, probe_aiff
    if head[4:8] in _MP4_STARTS:
        return Container.MP4, probe_mp4
    magics: dict[bytes, tuple[Container, Callable[[ByteSource], MediaInfo]]] = {
        b"fLaC": (Container.FLAC, lambda source: probe_flac(source, start)),
        b"OggS": (Container.OGG, probe_ogg),
        b"\x1a\x45\xdf\xa3": (Container.MATROSKA, probe_matroska),
        b"#!AM": (Container.AMR, probe_amr),
    }
    return magics.get(head[:4])


def _is_other(source: ByteSource, head: bytes) -> bool:
    if head.startswith(_OTHER_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return True
    if head[:1] != b"\x47":  # MPEG transport stream: a sync byte every 188
        return False
    return all(source.read_up_to(number * _TRANSPORT_PACKET_BYTES, 1) == b"\x47" for number in range(1, 4))


def _name_what_it_is(head: bytes) -> str | None:
    """What it plainly is instead, in words for a person; None where it may still be bare audio frames."""
    starts = {
        b"PK\x03\x04": "a ZIP archive", b"\x1f\x8b": "a gzip archive", b"BZh": "a bzip2 archive",
        b"%PDF": "a PDF", b"7z\xbc\xaf": "a 7-Zip archive", b"Rar!": "a RAR archive", b"\xfd7zXZ": "an xz archive",
        b"\x89PNG": "a picture", b"GIF8": "a picture", b"\xff\xd8\xff": "a picture",
        b"#EXTM3U": "a playlist", b"ffconcat": "a playlist",
        b"[playlist]": "a playlist", b"\x7fELF": "a program", b"MZ": "a program",
    }  # fmt: skip
    stripped = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, name in starts.items():
        if stripped.startswith(start):
            return name
    if not head.strip(b"\0"):
        return "nothing but zeros" if head else "an empty file"
    if stripped[:1] == b"<":
        return "a web page or an XML file"
    if all(byte in b"\t\n\r\f" or byte >= 0x20 for byte in head[:64]) and b"\xff" not in head:
        return "a text file"
    return None
