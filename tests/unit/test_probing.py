"""The prober on files of every container: right within 1 % or unknown, whatever was done to them."""

from __future__ import annotations

import functools
import os
import struct
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings

from gpu_jobs.memory import memory_lid
from shared.adapters.probing.probe import NotMedia, probe
from shared.adapters.probing.source import MAX_FETCHED_BYTES, ByteSource
from shared.domain.media import Container, MediaInfo
from tests.damage import DAMAGES, Damage
from tests.media_files import RECIPES, Recipe, decoded_seconds, make

LENGTHS_SECONDS = (3, 8, 20)
WITH_VIDEO = {name for name, recipe in RECIPES.items() if recipe.video_codec}


@functools.cache
def _file(name: str, seconds: float) -> bytes:
    return make(RECIPES[name], seconds)


def _probe(data: bytes) -> MediaInfo:
    return probe(ByteSource.of_bytes(data))


@pytest.mark.parametrize("seconds", LENGTHS_SECONDS)
@pytest.mark.parametrize("name", RECIPES)
def test_every_container_at_every_length_is_measured_within_one_percent(name: str, seconds: float) -> None:
    data = _file(name, seconds)

    info = _probe(data)

    assert info.duration_seconds == pytest.approx(decoded_seconds(data), rel=0.01)
    assert info.channels == RECIPES[name].channels
    assert info.sample_rate_hz == RECIPES[name].rate_hz
    assert info.has_audio
    assert info.has_video == (name in WITH_VIDEO)
    assert info.codec not in {None, "other"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_file_cut_off_in_the_middle_is_measured_by_what_is_left_or_unknown(name: str) -> None:
    data = _file(name, 11)[: len(_file(name, 11)) * 6 // 10]

    seconds = _probe(data).duration_seconds

    assert seconds is None or seconds == pytest.approx(decoded_seconds(data), rel=0.02)


@pytest.mark.parametrize(
    ("name", "at_most_bytes"),
    [
        ("wav_24_bit_stereo", 70_000),
        ("m4a_aac", 140_000),
        ("mkv_flac", 70_000),
        ("flac", 330_000),
        ("ogg_opus", 260_000),
    ],
)
def test_long_files_are_measured_from_a_few_of_their_bytes(name: str, at_most_bytes: int) -> None:
    source = ByteSource.of_bytes(_file(name, 60))

    assert probe(source).duration_seconds == pytest.approx(60, rel=0.01)
    assert source.fetched_bytes <= at_most_bytes


def test_large_pictures_in_front_of_an_mp3_are_not_read() -> None:
    picture = 20 * 1024 * 1024
    size = bytes([picture >> 21 & 127, picture >> 14 & 127, picture >> 7 & 127, picture & 127])
    source = ByteSource.of_bytes(b"ID3\x04\0\0" + size + bytes(picture) + _file("mp3_cbr_bare", 11))

    assert probe(source).duration_seconds == pytest.approx(11, rel=0.01)
    assert source.fetched_bytes < 500_000


def test_a_long_bare_vbr_mp3_is_measured_from_samples_or_left_to_the_worker() -> None:
    one = _file("mp3_vbr_bare", 20)
    data = one * (6 * 1024 * 1024 // len(one) + 1)

    seconds = _probe(data).duration_seconds

    assert seconds is None or seconds == pytest.approx(decoded_seconds(data), rel=0.01)


def test_a_long_bare_cbr_mp3_is_measured_from_samples() -> None:
    data = _file("mp3_cbr_bare", 20) * 50

    source = ByteSource.of_bytes(data)

    assert probe(source).duration_seconds == pytest.approx(50 * decoded_seconds(_file("mp3_cbr_bare", 20)), rel=0.01)


def test_a_wav_written_to_a_pipe_is_as_long_as_its_bytes() -> None:
    data = bytearray(_file("wav", 4))
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff\xff\xff\xff"

    assert _probe(bytes(data)).duration_seconds == pytest.approx(4)


def test_a_wav_of_a_hundred_channels_is_read_as_such() -> None:
    channels, rate_hz, seconds = 100, 8_000, 2
    body = bytes(channels * 2 * rate_hz * seconds)
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * channels * 2, channels * 2, 16)
    data = b"RIFF" + struct.pack("<I", 36 + len(body)) + b"WAVEfmt " + struct.pack("<I", 16) + form
    info = _probe(data + b"data" + struct.pack("<I", len(body)) + body)

    assert info.channels == 100
    assert info.duration_seconds == pytest.approx(seconds)


@pytest.mark.parametrize("name", ["wav", "wav_mulaw"])
def test_a_rate_field_that_lies_changes_nothing(name: str) -> None:
    data = bytearray(_file(name, 4))
    at = data.index(b"fmt ") + 8 + 8
    data[at : at + 4] = struct.pack("<I", 1)

    assert _probe(bytes(data)).duration_seconds == pytest.approx(4)


def test_ten_megabytes_that_claim_a_thousand_hours_are_not_believed() -> None:
    data = bytearray(_file("m4a_aac", 4))
    at = data.index(b"mdhd") + 4 + 16
    data[at : at + 4] = struct.pack(">I", 44_100 * 3_600 * 20)
    mkv = bytearray(_file("mkv_flac", 4))
    at = mkv.index(b"\x44\x89\x88") + 3
    mkv[at : at + 8] = struct.pack(">d", 1000 * 3600 * 1000)
    ogg = bytearray(_file("ogg_opus", 4))
    at = ogg.rindex(b"OggS") + 6
    ogg[at : at + 8] = struct.pack("<Q", 48_000 * 3_600 * 1_000)

    # The edit list still bounds the M4A; the others have nothing else to go by.
    assert (_probe(bytes(data)).duration_seconds or 4) == pytest.approx(4, rel=0.01)
    assert _probe(bytes(mkv)).duration_seconds is None
    assert _probe(bytes(ogg)).duration_seconds is None


def test_a_video_without_sound_is_recognised() -> None:
    import io

    import av
    import numpy as np

    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), dtype=np.uint8), format="rgb24")
        for packet in [*stream.encode(picture), *stream.encode(None)]:
            container.mux(packet)

    info = _probe(file.getvalue())

    assert (info.has_audio, info.has_video, info.container) == (False, True, Container.MATROSKA)


@pytest.mark.parametrize(
    ("data", "looks_like"),
    [
        (b"", "an empty file"),
        (b"Dear Sir,\nplease find attached", "a text file"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive"),
        (b"\x1f\x8b\x08" + bytes(100), "a gzip archive"),
        (b"#EXTM3U\n#EXT-X-VERSION:3\nfile:///etc/passwd\n", "a playlist"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "a playlist"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><MPD/>", "a web page or an XML file"),
        (b"%PDF-1.7\n", "a PDF"),
        (bytes(5000), "nothing but zeros"),
        (b"\xff\xd8\xff\xe0" + bytes(300), "a picture"),
        (bytes(range(256)) * 40, "unknown data"),
    ],
)
def test_what_is_no_media_is_named(data: bytes, looks_like: str) -> None:
    with pytest.raises(NotMedia) as caught:
        _probe(data)

    assert caught.value.looks_like == looks_like


@settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")),
    deadline=timedelta(seconds=10),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(damage=DAMAGES)
def test_damage_never_breaks_the_prober(damage: Damage) -> None:
    data = damage.done_to(_file(damage.name, 4))
    source = ByteSource.of_bytes(data)
    with memory_lid(512 * 1024**2):
        try:
            info = probe(source)
        except NotMedia:
            return

    assert source.fetched_bytes <= MAX_FETCHED_BYTES
    assert info.duration_seconds is None or 0 < info.duration_seconds <= len(data) / 20


def test_a_file_of_millions_of_tiny_boxes_ends_the_probe() -> None:
    boxes = struct.pack(">I4s", 8, b"free") * 1_000_000
    data = struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + struct.pack(">I4s", 8 + len(boxes), b"moov") + boxes

    assert _probe(data).duration_seconds is None


def test_recipes_can_be_varied_for_other_tests() -> None:
    stereo: Recipe = replace(RECIPES["flac"], channels=2)

    assert _probe(make(stereo, 1)).channels == 2
