"""One speaker on each channel: a telephone call or an interview with two microphones says itself who speaks when.

While a recording is decoded and mixed, the loudness of its two channels is noted every ten milliseconds. Where speech
is nearly always much louder on one of them, and not always on the same, the channels are the speakers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gpu_jobs.chunks import Span
from shared.domain.transcripts import Turn

ENGINE = "channels:stereo"
FRAME_SAMPLES = 160
FRAMES_PER_SECOND = 100

APART_DB = 12.0
"""A voice is this much louder on its own channel; over a headset the other one hears it 20 dB and more below."""

MIN_APART_SHARE = 0.85
"""Of the speech. The rest is talk at once, and the sound of the room between words."""

MIN_SHARE, MIN_SECONDS = 0.03, 1.0
"""Of the speech, that each channel must have: a crackle on the other one is nobody."""

RISE_DB = 3.0
"""A voice is this much louder while its channel is ahead than while the other is. Hiss beside a voice that a gate cuts
to nothing between words is not (measured: 0.0 dB; voices of calls 4 dB and more, be they soft and heard on both)."""

QUIET_DB = 25.0
"""This far below its usual level a voice is not heard as talking at the same time as the other."""

JOINED_SECONDS, MIN_TURN_SECONDS = 0.3, 0.1
SILENCE = 1e-5

Levels = npt.NDArray[np.float32]
"""Loudness of two channels, root mean square, one column every ten milliseconds: shape (2, frames)."""

Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class LevelMeter:
    """Listens to the channels of a recording as they are decoded."""

    _parts: list[Levels] = field(default_factory=list)
    _rest: Levels = field(default_factory=lambda: np.zeros((2, 0), np.float32))
    _is_stereo: bool = True

    def hear(self, channels: npt.NDArray[np.float32]) -> None:
        """The next samples, shape (channels, samples)."""
        if len(channels) != 2 or not self._is_stereo:
            self._is_stereo = False
            self._parts.clear()
            return
        heard = np.concatenate([self._rest, channels], axis=1)
        whole = heard.shape[1] // FRAME_SAMPLES * FRAME_SAMPLES
        frames = heard[:, :whole].reshape(2, -1, FRAME_SAMPLES)
        self._parts.append(np.sqrt(np.mean(frames**2, axis=2)))
        self._rest = heard[:, whole:]

    def levels(self) -> Levels | None:
        """What was heard; None unless it was two channels all the time."""
        return np.concatenate(self._parts, axis=1) if self._is_stereo and self._parts else None


def turns_by_channel(levels: Levels | None, speech: Sequence[Span]) -> tuple[Turn, ...] | None:
    """Who speaks when, if the two channels are two speakers, else None. Ids by first appearance."""
    if levels is None or not speech:
        return None
    loudness = 20 * np.log10(np.maximum(levels, SILENCE))
    spoken = _spoken(speech, loudness.shape[1])
    ahead = loudness[0] - loudness[1]
    own = [spoken & (ahead >= APART_DB), spoken & (ahead <= -APART_DB)]
    total = int(spoken.sum())
    enough = max(MIN_SECONDS * FRAMES_PER_SECOND, MIN_SHARE * total)
    counts = [int(mask.sum()) for mask in own]
    if min(counts) < enough or sum(counts) < MIN_APART_SHARE * total:
        return None
    sides = zip(loudness, own, own[::-1], strict=True)
    rises = [np.median(level[mine]) - np.median(level[theirs]) for level, mine, theirs in sides]
    if min(rises) < RISE_DB:
        return None
    found = []
    for channel, mask in enumerate(own):
        usual = np.percentile(loudness[channel][mask], 90)
        with_the_other = spoken & (np.abs(ahead) < APART_DB) & (loudness[channel] >= usual - QUIET_DB)
        found += [(start, end, channel) for start, end in _stretches(mask | with_the_other)]
    found.sort()
    order = {channel: index for index, channel in enumerate(dict.fromkeys(channel for *_, channel in found))}
    return tuple(
        Turn(start_seconds=start, end_seconds=end, speaker_id=f"SPEAKER_{order[channel]:02d}")
        for start, end, channel in found
    )


def _spoken(speech: Sequence[Span], frames: int) -> Mask:
    mask = np.zeros(frames, np.bool_)
    for span in speech:
        mask[int(span.start_seconds * FRAMES_PER_SECOND) : int(np.ceil(span.end_seconds * FRAMES_PER_SECOND))] = True
    return mask


def _stretches(mask: Mask) -> Iterator[tuple[float, float]]:
    """Where the mask is true, in seconds; short holes are closed, what is short even so is left out."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    starts, ends = edges[::2] / FRAMES_PER_SECOND, edges[1::2] / FRAMES_PER_SECOND
    first = 0
    for index in range(len(starts)):
        is_last = index + 1 == len(starts)
        if is_last or starts[index + 1] - ends[index] > JOINED_SECONDS:
            if ends[index] - starts[first] >= MIN_TURN_SECONDS:
                yield float(starts[first]), float(ends[index])
            first = index + 1
