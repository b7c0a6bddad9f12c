"""Any media file becomes one mono recording at 16 kHz, or a failure that tells the user what to do.

Samples go to an unnamed temporary file that is mapped into memory: ten hours need no more of it than ten minutes.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpu_jobs.channels import LevelMeter, Levels
from gpu_jobs.chunks import Window
from gpu_jobs.containers import UNREADABLE, audio_stream, opened
from gpu_jobs.memory import memory_lid
from gpu_jobs.timeline import AV_TIME_BASE, Timeline
from shared.domain.errors import JobFailure
from shared.domain.media import MIN_BYTES_PER_SECOND

SAMPLE_RATE_HZ = 16_000
"""What every engine here wants: Whisper, Moonshine, Silero and pocketsphinx were all trained at 16 kHz."""

Samples = npt.NDArray[np.float32]
"""Mono PCM at SAMPLE_RATE_HZ in [-1, 1], shape (samples,)."""

MIXED_SAMPLES = SAMPLE_RATE_HZ // 2  # are resampled and mixed at a time, however short the file's own frames are
CANCELLED = 0.05
"""A mix quieter than this share of its loudest channel has cancelled itself out."""

MAX_DECODER_BYTES = 512 * 1024**2
"""What decoding may allocate: ten times the index of twelve hours of video."""

MIN_SAMPLE_RATE_HZ = 1_000
"""Nobody records speech so: at one sample a second, 40 KB would be resampled to half a day."""

MAX_RESAMPLER_CHANNELS = 64  # libswresample's SWR_CH_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioLimits:
    """What one job may ask for. Twelve hours is more than any single recording device writes to one file."""

    max_duration_seconds: float = 12 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A decoded recording. ``samples`` may be a read-only memory map of ``file``, float32 from its first byte on.

    ``levels`` is how loud its two channels were, where it had two.
    """

    samples: Samples
    warnings: tuple[str, ...] = ()
    file: Path | None = None
    levels: Levels | None = None

    @property
    def duration_seconds(self) -> float:
        """The real length, counted in samples, whatever the container's header claimed."""
        return len(self.samples) / SAMPLE_RATE_HZ

    def slice(self, start_seconds: float, end_seconds: float) -> Samples:
        """The samples of ``[start, end)``, clipped to the recording."""
        first = max(0, round(start_seconds * SAMPLE_RATE_HZ))
        part = self.samples[first : max(first, round(end_seconds * SAMPLE_RATE_HZ))]
        if self.file is not None:
            part = np.array(part)
            _let_go(self.samples)
        return part

    def heard(self, window: Window) -> Samples:
        """The samples of the window's parts, one after the other."""
        return np.concatenate([self.slice(part.start_seconds, part.end_seconds) for part in window.parts])

    def part(self, start_seconds: float, end_seconds: float) -> Recording:
        """A recording of its own of ``[start, end)``, without copying it."""
        first, last = round(start_seconds * SAMPLE_RATE_HZ), round(end_seconds * SAMPLE_RATE_HZ)
        return Recording(samples=self.samples[first:last])


def open_decoded(file: Path) -> Recording:
    """A recording that was decoded into ``file``: what a worker process opens."""
    samples = np.memmap(file, dtype=np.float32, mode="r") if file.stat().st_size else np.zeros(0, np.float32)
    return Recording(samples=samples, file=file)


def _let_go(samples: Samples) -> None:
    """Give the pages of a memory map back: they stay in the system's cache, but no longer count as ours."""
    mapping: Any = samples.base
    if isinstance(mapping, mmap.mmap) and hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)


def decode_recording(path: Path, limits: AudioLimits | None = None, keep_in: Path | None = None) -> Recording:
    """Decode the best audio track of a media file, into the file ``keep_in`` where one is named.

    Raises JobFailure audio_unreadable, no_audio_track or audio_too_long.
    """
    with keep_in.open("w+b") if keep_in else tempfile.TemporaryFile(prefix="recording-") as scratch:
        decoder = _Decoder(path, limits or AudioLimits())
        count = 0
        with memory_lid(MAX_DECODER_BYTES):
            for block in decoder.blocks():
                scratch.write(block.tobytes())
                count += len(block)
        scratch.flush()
        # The mapping outlives the file object; the unnamed file goes when the mapping does.
        samples = np.memmap(scratch, dtype=np.float32, mode="r", shape=(count,))
    return Recording(samples=samples, warnings=tuple(decoder.warnings), file=keep_in, levels=decoder.meter.levels())


class _Decoder:
    """One pass over one file. ``warnings`` and ``meter`` are complete once ``blocks`` is exhausted."""

    def __init__(self, path: Path, limits: AudioLimits) -> None:
        self._path = path
        self._limits = limits
        self._damaged_packets = 0
        self.warnings: list[str] = []
        self.meter = LevelMeter()

    def blocks(self) -> Iterator[Samples]:
        """Yield mono 16 kHz blocks in order; at least one sample in all, or JobFailure."""
        with opened(self._path) as container:
            stream = audio_stream(container)
            declared_seconds = float(container.duration or 0) / AV_TIME_BASE
            is_believed = declared_seconds <= self._path.stat().st_size / MIN_BYTES_PER_SECOND  # else it lies: count
            if is_believed:
                self._check_length(declared_seconds)
            timeline = Timeline.of(container, declared_seconds if is_believed else 0.0)
            count = 0
            for block in _readable(_to_mono(self._frames(container, stream), self.meter, timeline)):
                count += len(block)
                self._check_length(count / SAMPLE_RATE_HZ)
                yield block
        self._conclude(count / SAMPLE_RATE_HZ, declared_seconds)

    def _frames(self, container: Any, stream: Any) -> Iterator[Any]:
        """Frames of the stream; a damaged packet is skipped and counted, as a player would do."""
        import av

        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError, MemoryError):
                self._damaged_packets += 1  # the container ends in the middle of something: keep what was read
                return
            try:
                frames = packet.decode()
            except (av.FFmpegError, ValueError, MemoryError):
                self._damaged_packets += 1
                continue
            yield from frames

    def _check_length(self, seconds: float) -> None:
        limit = self._limits.max_duration_seconds
        if seconds > limit:
            raise JobFailure(
                "audio_too_long",
                f"The recording is longer than {limit / 3600:g} hours, the most one job can take. "
                "Please split it and upload the parts.",
            )

    def _conclude(self, decoded_seconds: float, declared_seconds: float) -> None:
        if decoded_seconds == 0:
            why = "It is damaged or holds no sound." if self._damaged_packets else "Its audio track is empty."
            raise JobFailure("audio_unreadable", UNREADABLE.format(why=why))
        if self._damaged_packets:
            self.warnings.append("Parts of the file are damaged and were left out.")
        if declared_seconds - decoded_seconds > max(2.0, 0.05 * declared_seconds):
            self.warnings.append(
                f"The file says it lasts {declared_seconds:.0f} s, but only {decoded_seconds:.0f} s could be read."
            )


def _readable(blocks: Iterator[Samples]) -> Iterator[Samples]:
    """The blocks; what cannot be made of a stream's frames is the file's fault, not a breakdown of ours."""
    import av

    try:
        yield from blocks
    except (av.FFmpegError, ValueError, MemoryError) as error:
        raise JobFailure("audio_unreadable", UNREADABLE.format(why="Its sound is of an unusual kind.")) from error


def _to_mono(frames: Iterator[Any], meter: LevelMeter, timeline: Timeline) -> Iterator[Samples]:
    """Resample, listen to the channels, mix, and fill gaps with silence.

    Some streams change rate or layout half-way: each stretch gets its own resampler.
    """
    import av

    resampler, shape = None, None
    for decoded in frames:
        if decoded.sample_rate < MIN_SAMPLE_RATE_HZ:
            raise ValueError("no rate for speech")
        gap_samples = round(timeline.gap_before(decoded) * SAMPLE_RATE_HZ)
        frame = decoded if decoded.layout.nb_channels <= MAX_RESAMPLER_CHANNELS else _mixed_first(decoded)
        frame_shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or gap_samples or frame_shape != shape:
            yield from _rest_of(resampler, meter)
            yield from _silence(gap_samples, meter)
            # Interleaved: of eight planes and more PyAV reads one that is not there.
            resampler = av.AudioResampler(format="flt", rate=SAMPLE_RATE_HZ, frame_size=MIXED_SAMPLES)
            shape = frame_shape
        frame.pts = None  # broken timestamps must not reach the resampler
        yield from (_mixed(resampled, meter) for resampled in resampler.resample(frame))
    yield from _rest_of(resampler, meter)


def _rest_of(resampler: Any, meter: LevelMeter) -> Iterator[Samples]:
    if resampler is not None:
        yield from (_mixed(last, meter) for last in resampler.resample(None))


def _silence(samples: int, meter: LevelMeter) -> Iterator[Samples]:
    for first in range(0, samples, MIXED_SAMPLES):
        block = np.zeros(min(MIXED_SAMPLES, samples - first), np.float32)
        meter.hear(np.stack([block, block]))
        yield block


def _mixed_first(frame: Any) -> Any:
    """A frame of more channels than FFmpeg resamples, as one of a single channel. ValueError where it cannot be."""
    import av

    if not frame.format.is_packed:
        raise ValueError("too many channels")
    values = frame.to_ndarray()
    if values.dtype == np.uint8:
        values = values.astype(np.int16) - 128
    scale = 1.0 if values.dtype.kind == "f" else float(2 ** (8 * frame.format.bytes - 1))
    mono = _mix(_within_bounds((values.reshape(-1, frame.layout.nb_channels).T / scale).astype(np.float32)))
    mixed = av.AudioFrame.from_ndarray(mono[np.newaxis], format="flt", layout="mono")
    mixed.sample_rate = frame.sample_rate
    return mixed


def _mixed(frame: Any, meter: LevelMeter) -> Samples:
    """The channels of an interleaved frame as one; a subwoofer's is left out."""
    names = [channel.name for channel in frame.layout.channels]
    channels = frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T
    if len(channels) > 1:
        channels = channels[[index for index, name in enumerate(names) if name != "LFE"] or [0]]
    channels = _within_bounds(channels)
    meter.hear(channels)
    return _mix(channels)


def _within_bounds(channels: Samples) -> Samples:
    return np.clip(np.nan_to_num(channels, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)


def _mix(channels: Samples) -> Samples:
    """The mean of the channels, so that it cannot clip (FFmpeg's own downmix to float does).

    Channels that cancel each other out, one of them wired the wrong way round, give way to the loudest of them.
    """
    mono: Samples = channels.mean(axis=0, dtype=np.float32)
    loudness = np.sqrt(np.mean(channels**2, axis=1))
    if np.sqrt(np.mean(mono**2)) < CANCELLED * loudness.max():
        mono = channels[int(loudness.argmax())].astype(np.float32)
    return mono
