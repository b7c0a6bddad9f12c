"""Finds the speech in a recording with Silero's voice detector, whose weights install with faster-whisper."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording, Samples
from gpu_jobs.chunks import Span

FRAME_SAMPLES = 512  # as the detector was trained
FRAME_SECONDS = FRAME_SAMPLES / SAMPLE_RATE_HZ

BLOCK_FRAMES = 18_750
"""Memory is bounded by this: the detector sees ten minutes at a time."""

LEAD_FRAMES = 64
"""What a block hears of the one before, so that its recurrent state is warm where it starts to count."""

BLOCKS_AT_ONCE = 2  # the detector is one thread

THRESHOLD, LIKELY_THRESHOLD, SILENCE_THRESHOLD = 0.35, 0.5, 0.2
"""Speech begins and ends lower than Silero's default of 0.5, which loses a short "Yes." or its edges; but each stretch
must reach 0.5 once (measured: amplified white noise reaches 0.46 at most): noise seldom does for a moment. Between the
first and the last, what was speech stays speech. Source of the distance between them: Silero's own 0.15."""

SURE_THRESHOLD, REACH_FRAMES = 0.85, 312
"""What never reaches the first must have speech that does within the second, ten seconds, or be in a recording that is
no longer. Measured on 3.5 hours of instrumental music: 16 of 122 pieces reach 0.5 somewhere and give 27 words, none
reaches 0.85; of speech in white noise as loud as itself nothing is lost, nor of 638 shouted words in files of their
own, of which 138 do not reach 0.85."""

MIN_SILENCE_FRAMES = 7  # 0.224 s, the fewest that last 0.2 s
MIN_SPEECH_FRAMES = 4  # 0.128 s, the fewest that last more than 0.1 s
MAX_SPAN_FRAMES = 937  # 29.98 s
LEVEL = 0.5
MAX_GAIN = 30.0

Frames = tuple[int, int]
"""The first frame, and the one after the last."""


def find_speech(recording: Recording) -> tuple[Span, ...]:
    """Where somebody speaks: sorted, disjoint, none longer than thirty seconds. Empty for silence.

    Every sound goes through the detector once.
    """
    heard = np.concatenate([np.zeros(0, np.float32), *_probabilities(recording)])
    found = not_alone([frames for frames in speech_frames(heard) if _peak(heard, frames) >= LIKELY_THRESHOLD], heard)
    return tuple(
        Span(
            start_seconds=first * FRAME_SECONDS,
            end_seconds=min(end * FRAME_SECONDS, recording.duration_seconds),
        )
        for frames in found
        for first, end in cut(heard, frames)
    )


def speech_frames(probabilities: Samples) -> Iterator[Frames]:
    """What may be speech, by the probability of each frame; what is too short to be a word left out."""
    first = silent_from = None
    for frame, probability in enumerate(probabilities.tolist()):
        if probability >= THRESHOLD:
            first = frame if first is None else first
            silent_from = None
        elif probability < SILENCE_THRESHOLD and first is not None:
            silent_from = frame if silent_from is None else silent_from
            if frame - silent_from >= MIN_SILENCE_FRAMES:
                if silent_from - first >= MIN_SPEECH_FRAMES:
                    yield first, silent_from
                first = silent_from = None
    if first is not None and len(probabilities) - first >= MIN_SPEECH_FRAMES:
        yield first, len(probabilities)


def not_alone(found: Sequence[Frames], probabilities: Samples) -> list[Frames]:
    """Without what a detector hears now and then in music: doubtful, and far from all that surely is speech."""
    if len(probabilities) <= REACH_FRAMES:
        return list(found)
    sure = [frames for frames in found if _peak(probabilities, frames) >= SURE_THRESHOLD]
    ends = [end for _, end in sure]

    def has_company(first: int, end: int) -> bool:
        index = bisect_left(ends, first - REACH_FRAMES)
        return index < len(sure) and sure[index][0] <= end + REACH_FRAMES

    return [frames for frames in found if has_company(*frames)]


def cut(probabilities: Samples, frames: Frames) -> list[Frames]:
    """Pieces of MAX_SPAN_FRAMES or fewer, each cut where its second half is least like speech."""
    first, end = frames
    pieces: list[Frames] = []
    while end - first > MAX_SPAN_FRAMES:
        half, most = first + MAX_SPAN_FRAMES // 2, first + MAX_SPAN_FRAMES
        at = half + int(np.argmin(probabilities[half : most + 1]))
        pieces.append((first, at))
        first = at
    return [*pieces, (first, end)]


def leveled(samples: Samples) -> Samples:
    """The samples scaled so that the peak is LEVEL: far microphones and hot recordings sound alike to the engines."""
    peak = float(np.max(np.abs(samples), initial=0.0))
    return samples if peak == 0.0 else samples * np.float32(min(LEVEL / peak, MAX_GAIN))


def _peak(probabilities: Samples, frames: Frames) -> float:
    return float(probabilities[slice(*frames)].max())


def _probabilities(recording: Recording) -> Iterator[Samples]:
    """Of speech, one for each frame, block by block; the last frame is filled up with silence."""
    from faster_whisper.vad import get_vad_model

    detector = get_vad_model()

    def listen(first: int) -> Samples:
        lead = min(first, LEAD_FRAMES)
        samples = recording.slice((first - lead) * FRAME_SECONDS, (first + BLOCK_FRAMES) * FRAME_SECONDS)
        filled = np.pad(leveled(samples), (0, -len(samples) % FRAME_SAMPLES))
        return np.asarray(detector(filled), dtype=np.float32).reshape(-1)[lead:]

    blocks = range(0, -(-len(recording.samples) // FRAME_SAMPLES), BLOCK_FRAMES)
    with ThreadPoolExecutor(BLOCKS_AT_ONCE, "speech") as executor:
        yield from executor.map(listen, blocks)
