"""Recordings made for tests with PyAV: any container, any length, optionally with a picture."""

from __future__ import annotations

import contextlib
import io
import tempfile
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

SILENCE_FROM_SECONDS = 0.6  # of each second: quiet, so that VBR encoders really vary
PICTURES_PER_SECOND = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to make a file: libav's names for the format and the codec."""

    format: str
    codec: str
    rate_hz: int = 44_100
    bit_rate: int | None = 64_000
    channels: int = 1
    codec_options: dict[str, str] = field(default_factory=dict)
    format_options: dict[str, str] = field(default_factory=dict)
    video_codec: str | None = None
    name: str = "a.bin"


RECIPES = {
    "wav": Recipe(format="wav", codec="pcm_s16le", rate_hz=16_000, bit_rate=None, name="a.wav"),
    "wav_24_bit_stereo": Recipe(format="wav", codec="pcm_s24le", channels=2, bit_rate=None, name="a.wav"),
    "wav_mulaw": Recipe(format="wav", codec="pcm_mulaw", rate_hz=8_000, bit_rate=None, name="a.wav"),
    "wav_adpcm": Recipe(format="wav", codec="adpcm_ms", bit_rate=None, name="a.wav"),
    "aiff": Recipe(format="aiff", codec="pcm_s16be", bit_rate=None, name="a.aiff"),
    "mp3_cbr": Recipe(format="mp3", codec="libmp3lame", name="a.mp3"),
    "mp3_cbr_bare": Recipe(format="mp3", codec="libmp3lame", format_options={"write_xing": "0"}, name="a.mp3"),
    "mp3_vbr": Recipe(
        format="mp3", codec="libmp3lame", bit_rate=None, codec_options={"global_quality": "472"}, name="a.mp3"
    ),
    "mp3_vbr_bare": Recipe(
        format="mp3",
        codec="libmp3lame",
        bit_rate=None,
        codec_options={"global_quality": "472"},
        format_options={"write_xing": "0", "id3v2_version": "0"},
        name="a.mp3",
    ),
    "mp3_8_khz": Recipe(format="mp3", codec="libmp3lame", rate_hz=8_000, bit_rate=16_000, name="a.mp3"),
    "m4a_aac": Recipe(format="ipod", codec="aac", name="a.m4a"),
    "m4a_aac_faststart": Recipe(format="ipod", codec="aac", format_options={"movflags": "faststart"}, name="a.m4a"),
    "m4a_alac": Recipe(format="ipod", codec="alac", bit_rate=None, name="a.m4a"),
    "mp4_fragmented": Recipe(
        format="mp4",
        codec="aac",
        format_options={"movflags": "frag_keyframe+empty_moov+default_base_moof"},
        name="a.mp4",
    ),
    "mp4_dash": Recipe(format="mp4", codec="aac", format_options={"movflags": "dash+global_sidx"}, name="a.mp4"),
    "aac_adts": Recipe(format="adts", codec="aac", name="a.aac"),
    "flac": Recipe(format="flac", codec="flac", bit_rate=None, name="a.flac"),
    "ogg_vorbis": Recipe(format="ogg", codec="vorbis", channels=2, codec_options={"strict": "-2"}, name="a.ogg"),
    "ogg_opus": Recipe(format="ogg", codec="libopus", rate_hz=48_000, bit_rate=24_000, name="a.ogg"),
    "ogg_flac": Recipe(format="ogg", codec="flac", bit_rate=None, name="a.oga"),
    "webm_opus": Recipe(format="webm", codec="libopus", rate_hz=48_000, bit_rate=24_000, name="a.webm"),
    "webm_live": Recipe(
        format="webm",
        codec="libopus",
        rate_hz=48_000,
        bit_rate=24_000,
        format_options={"live": "1"},
        name="a.webm",
    ),
    "webm_video": Recipe(format="webm", codec="libopus", rate_hz=48_000, video_codec="libvpx", name="a.webm"),
    "mkv_flac": Recipe(format="matroska", codec="flac", bit_rate=None, name="a.mkv"),
    "mkv_video": Recipe(format="matroska", codec="aac", video_codec="mpeg4", name="a.mkv"),
    "mp4_video": Recipe(format="mp4", codec="aac", video_codec="libx264", name="a.mp4"),
    "mov_video": Recipe(format="mov", codec="pcm_s16le", bit_rate=None, video_codec="mpeg4", name="a.mov"),
    "amr": Recipe(format="amr", codec="libopencore_amrnb", rate_hz=8_000, bit_rate=12_200, name="a.amr"),
    "3gp_amr": Recipe(format="3gp", codec="libopencore_amrnb", rate_hz=8_000, bit_rate=12_200, name="a.3gp"),
}


def make(recipe: Recipe, seconds: float) -> bytes:
    """The recipe's file with so many seconds of a tone that stops and starts."""
    with tempfile.TemporaryDirectory() as folder:  # some muxers open their file a second time by name
        path = Path(folder) / recipe.name
        _write(path, recipe, seconds)
        return path.read_bytes()


def _write(path: Path, recipe: Recipe, seconds: float) -> None:
    with av.open(str(path), "w", format=recipe.format, options=recipe.format_options) as container:
        audio: Any = container.add_stream(recipe.codec, rate=recipe.rate_hz, options=recipe.codec_options)
        audio.layout = "stereo" if recipe.channels == 2 else "mono"
        if recipe.bit_rate:
            audio.bit_rate = recipe.bit_rate
        if "global_quality" in recipe.codec_options:
            audio.codec_context.qscale = True
        if recipe.video_codec:
            _add_pictures(container, recipe.video_codec, seconds)
        _add_sound(container, audio, recipe, seconds)


def decoded_seconds(data: bytes) -> float:
    """How long the file really plays: every sample of its audio that can be decoded."""
    seconds = 0.0
    with av.open(io.BytesIO(data), "r") as container:
        for packet in container.demux(container.streams.audio[0]):
            with contextlib.suppress(av.error.InvalidDataError):  # what a cut-off file ends with
                seconds += sum(frame.samples / frame.sample_rate for frame in packet.decode())
    return seconds


def _add_sound(container: Any, stream: Any, recipe: Recipe, seconds: float) -> None:
    total = round(seconds * recipe.rate_hz)
    at = 0
    while at < total:
        count = min(recipe.rate_hz, total - at)
        time = (at + np.arange(count)) / recipe.rate_hz
        tone = 0.3 * np.sin(2 * np.pi * (200 + 40 * np.sin(time)) * time) * (time % 1 < SILENCE_FROM_SECONDS)
        pcm = np.repeat((tone * 32767).astype(np.int16)[None, :], recipe.channels, axis=0)
        frame = av.AudioFrame.from_ndarray(pcm, format="s16p", layout="stereo" if recipe.channels == 2 else "mono")
        frame.sample_rate, frame.pts, frame.time_base = recipe.rate_hz, at, Fraction(1, recipe.rate_hz)
        for packet in stream.encode(frame):
            container.mux(packet)
        at += count
    for packet in stream.encode(None):
        container.mux(packet)


def _add_pictures(container: Any, codec: str, seconds: float) -> None:
    stream = container.add_stream(codec, rate=PICTURES_PER_SECOND)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for number in range(round(seconds * PICTURES_PER_SECOND)):
        picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number % 256, dtype=np.uint8), format="rgb24")
        for packet in stream.encode(picture):
            container.mux(packet)
    for packet in stream.encode(None):
        container.mux(packet)
