"""Finds the speech in a recording with Silero's voice detector, whose weights install with faster-whisper."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording, Samples
from gpu_jobs.chunks import Span

BLOCK_SECONDS = 600.0
"""Memory is bounded by this: the detector sees ten minutes at a time."""

LEAD_SECONDS = 2.0
"""What a block hears of the one before, so that its recurrent state is warm where it starts to count."""

THRESHOLD, SURE_THRESHOLD = 0.35, 0.5
"""Speech begins and ends lower than Silero's default of 0.5, which loses a short "Yes." or its edges; but each stretch
must reach 0.5 once (measured: amplified white noise reaches 0.46 at most)."""

MIN_SILENCE_MS = 200
MIN_SPEECH_MS = 100
LEVEL = 0.5
MAX_GAIN = 30.0


def find_speech(recording: Recording, *, max_span_seconds: float = 30.0) -> tuple[Span, ...]:
    """Where somebody speaks: sorted, disjoint, none longer than ``max_span_seconds``. Empty for silence."""
    return _in_blocks(recording, lambda samples: _detect(samples, max_span_seconds))


def leveled(samples: Samples) -> Samples:
    """The samples scaled so that the peak is LEVEL: far microphones and hot recordings sound alike to the engines."""
    peak = float(np.max(np.abs(samples), initial=0.0))
    return samples if peak == 0.0 else samples * np.float32(min(LEVEL / peak, MAX_GAIN))


def _in_blocks(recording: Recording, detect: Callable[[Samples], list[tuple[float, float]]]) -> tuple[Span, ...]:
    spans: list[Span] = []
    start = 0.0
    while start < recording.duration_seconds:
        heard_from = max(0.0, start - LEAD_SECONDS)
        for first, last in detect(recording.slice(heard_from, start + BLOCK_SECONDS)):
            begin, end = max(heard_from + first, start), heard_from + last
            if end > begin:
                spans.append(Span(start_seconds=begin, end_seconds=end))
        start += BLOCK_SECONDS
    return tuple(spans)


def _detect(samples: Samples, max_span_seconds: float) -> list[tuple[float, float]]:
    """What may be speech, as far as some moment of it surely is: noise seldom is for more than a moment."""
    level = leveled(samples)
    sure = _timestamps(level, SURE_THRESHOLD, min_speech_ms=0, max_span_seconds=max_span_seconds)
    maybe = _timestamps(level, THRESHOLD, min_speech_ms=MIN_SPEECH_MS, max_span_seconds=max_span_seconds)
    return [(first, last) for first, last in maybe if any(start < last and end > first for start, end in sure)]


def _timestamps(
    samples: Samples, threshold: float, *, min_speech_ms: int, max_span_seconds: float
) -> list[tuple[float, float]]:
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(
        threshold=threshold,
        min_silence_duration_ms=MIN_SILENCE_MS,
        min_speech_duration_ms=min_speech_ms,
        max_speech_duration_s=max_span_seconds,
        speech_pad_ms=0,
    )
    found = get_speech_timestamps(samples, options, sampling_rate=SAMPLE_RATE_HZ)
    return [(span["start"] / SAMPLE_RATE_HZ, span["end"] / SAMPLE_RATE_HZ) for span in found]
