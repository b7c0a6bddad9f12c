"""Media files for tests, made on the spot: tones, noise, speech in other containers, videos, damage."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Sound = npt.NDArray[np.float32]


def silence(seconds: float, rate: int = 16_000) -> Sound:
    return np.zeros(round(seconds * rate), np.float32)


def tone(seconds: float, rate: int = 16_000, hertz: float = 440.0) -> Sound:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(seconds: float, rate: int = 16_000, level: float = 0.1) -> Sound:
    return (np.random.default_rng(7).normal(0, level, round(seconds * rate))).clip(-1, 1).astype(np.float32)


def music(seconds: float, seed: int, rate: int = 16_000) -> Sound:
    """A tune on a reed over a bass and a beat: harmonic, moving, with onsets as frequent as syllables."""
    chance = np.random.default_rng(seed)
    step_seconds = chance.uniform(0.15, 0.3)
    step = round(step_seconds * rate)
    time = np.arange(step) / rate
    steps = [
        _reed(220 * 2 ** (chance.choice([0, 2, 3, 5, 7, 8, 10, 12]) / 12), time, chance)
        + _reed(55 * 2 ** (chance.choice([0, 5, 7]) / 12), time, chance)
        + chance.normal(0, 0.2, step) * np.exp(-time * 40) * (count % 2)
        for count in range(round(seconds / step_seconds) + 1)
    ]
    tune = np.concatenate(steps)[: round(seconds * rate)]
    return np.asarray(0.5 * tune / np.abs(tune).max(), np.float32)


def _reed(hertz: float, time: npt.NDArray[np.float64], chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """A note with vibrato, an attack and a decay, and harmonics up to 4 kHz around a vowel of its own."""
    phase = 2 * np.pi * hertz * (time + 0.002 * np.sin(2 * np.pi * 5 * time))
    vowel = chance.uniform(400, 2_000)
    harmonics = np.arange(1, int(4_000 / hertz) + 1)
    loudness = np.exp(-(((harmonics * hertz - vowel) / 500) ** 2)) + 1 / harmonics**2
    note = np.sum(loudness[:, np.newaxis] * np.sin(harmonics[:, np.newaxis] * phase), axis=0)
    return np.asarray(note * np.minimum(1, time / 0.02) * np.exp(-time * 3))


def write_audio(
    path: Path, sound: Sound, *, rate: int = 16_000, codec: str = "pcm_s16le", layout: str = "mono", **options: str
) -> Path:
    """The sound, one row per channel or the same on all of them. The container follows the name."""
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=rate, layout=layout)
        if sound.size:
            _encode_audio(container, stream, np.atleast_2d(sound), rate)
    return path


def write_parts(
    path: Path, parts: dict[float, Sound], *, rate: int = 16_000, codec: str = "pcm_s16le", video_seconds: float = 0.0
) -> Path:
    """Sounds that begin at these seconds, two channels each, and nothing at all in the file between them."""
    with av.open(str(path), "w") as container:
        video: Any = container.add_stream("mpeg4", rate=10) if video_seconds else None
        audio: Any = container.add_stream(codec, rate=rate, layout="stereo")
        if video:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for _ in range(round(video_seconds * 10)):
                picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8), format="rgb24")
                container.mux(video.encode(picture))
            container.mux(video.encode(None))
        for start, sound in parts.items():
            for at in range(0, sound.shape[-1], 1_000):
                piece = np.broadcast_to(sound, (2, sound.shape[-1]))[:, at : at + 1_000]
                frame = av.AudioFrame.from_ndarray(
                    (piece.T * 32_767).astype(np.int16).reshape(1, -1), format="s16", layout="stereo"
                )
                frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(start * rate) + at
                container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return path


def write_video(path: Path, seconds: float, sound: Sound | None = None, **options: str) -> Path:
    """Grey pictures, ten a second, with or without a sound track at 16 kHz."""
    with av.open(str(path), "w", options=options) as container:
        video: Any = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio: Any = None if sound is None else container.add_stream("aac", rate=16_000, layout="mono")
        for _ in range(round(seconds * 10)):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8), format="rgb24")
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if sound is not None:
            _encode_audio(container, audio, np.atleast_2d(sound), 16_000)
    return path


def _encode_audio(container: Any, stream: Any, sound: Sound, rate: int) -> None:
    channels = len(stream.layout.channels)
    rows = np.ascontiguousarray(np.broadcast_to(sound, (channels, sound.shape[1])))
    frame = av.AudioFrame.from_ndarray(rows.T.reshape(1, -1).copy(), format="flt", layout=stream.layout.name)
    frame.sample_rate = rate
    frame.pts = 0
    resampler = av.AudioResampler(format=stream.format.name, layout=stream.layout.name, rate=rate)
    fifo = av.AudioFifo()
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        piece.pts = None
        fifo.write(piece)
    size = stream.codec_context.frame_size or 1024
    while (rest := fifo.read(size, partial=True)) is not None:
        container.mux(stream.encode(rest))
    container.mux(stream.encode(None))
