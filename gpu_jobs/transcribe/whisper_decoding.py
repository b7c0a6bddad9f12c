"""What Whisper says about some windows: decoded in one batch, the doubtful ones once more, one by one.

Source of the fallback: OpenAI's own decoder, which goes up the temperatures while a window repeats itself or is
improbable. The library's batched decoder knows one temperature only.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording, Samples
from gpu_jobs.chunks import Window
from gpu_jobs.merge import join_words
from gpu_jobs.transcribe import Passage
from gpu_jobs.transcribe.whisper_words import words_of
from shared.domain.errors import JobFailure

TEMPERATURES = (0.2, 0.4, 0.6, 0.8, 1.0)
REPETITIVE, IMPROBABLE = 2.4, -1.0
"""Above this compression ratio, or below this mean log-probability, a window is decoded again."""

NO_SPEECH_PROBABILITY, NO_SPEECH_LOGPROB = 0.6, -1.0
"""Both together mean that the model made the text up. Source: the thresholds of OpenAI's own decoder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the model is told beside the sound. ``falls_back`` False leaves doubtful windows as they are."""

    language: str
    hotwords: str | None = None
    falls_back: bool = True


def transcribe_windows(
    model: Any, recording: Recording, windows: Sequence[Window], asked: Asked, batch_size: int
) -> list[Passage]:
    """Their passages, words included. Raises RuntimeError and ValueError.

    The library is handed the sound of the windows, one after the other, and nothing else of the recording.
    """
    from faster_whisper import BatchedInferencePipeline

    sounds = [recording.heard(window) for window in windows]
    edges = [0.0, *(count / SAMPLE_RATE_HZ for count in accumulate(len(sound) for sound in sounds))]
    found, _ = BatchedInferencePipeline(model).transcribe(
        np.concatenate(sounds),
        language=asked.language,
        clip_timestamps=[{"start": start, "end": end} for start, end in pairwise(edges)],
        batch_size=batch_size,
        word_timestamps=True,
        hotwords=asked.hotwords,
    )
    passages: list[Passage] = []
    for index, segments in enumerate(by_window(found, edges)):
        kept, kept_from = segments, edges[index]
        if asked.falls_back and any(is_doubtful(segment) for segment in segments):
            again = decode_again(model, sounds[index], asked)
            if _worth(again) > _worth(segments):
                kept, kept_from = again, 0.0
        passages += [
            passage_of(segment, windows[index], kept_from, asked.language)
            for segment in kept
            if not is_invented(segment)
        ]
    return [passage for passage in passages if passage.words]


def by_window(found: Iterable[Any], edges: Sequence[float]) -> list[list[Any]]:
    """The segments of each window; ``edges`` are where windows begin and end, in the seconds that segments count in.

    By their middle: windows touch, and the library's rounding puts a segment's start into the window before.
    """
    grouped: list[list[Any]] = [[] for _ in edges[1:]]
    for segment in found:
        middle = (segment.start + segment.end) / 2
        grouped[min(bisect_right(edges, middle, lo=1), len(grouped)) - 1].append(segment)
    return grouped


def decode_again(model: Any, sound: Samples, asked: Asked) -> list[Any]:
    """A window's segments by the library's other decoder, at rising temperatures; times from its start."""
    segments, _ = model.transcribe(
        sound,
        language=asked.language,
        temperature=list(TEMPERATURES),
        condition_on_previous_text=False,
        word_timestamps=True,
        hotwords=asked.hotwords,
    )
    return list(segments)


def is_doubtful(segment: Any) -> bool:
    """True where it repeats itself or is improbable."""
    return bool(segment.compression_ratio > REPETITIVE or segment.avg_logprob < IMPROBABLE)


def _worth(segments: Sequence[Any]) -> tuple[bool, float]:
    """Not repeating itself comes before being probable; nothing at all is worth least."""
    if not segments:
        return False, -math.inf
    repeats = any(segment.compression_ratio > REPETITIVE for segment in segments)
    return not repeats, sum(segment.avg_logprob for segment in segments) / len(segments)


@contextmanager
def failing_clearly() -> Iterator[None]:
    """Turns what the library raises into JobFailure engine_failed."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise JobFailure("engine_failed", "The speech engine failed on this recording.") from error


def is_invented(segment: Any) -> bool:
    """True where the model itself hears no speech and is unsure of its words."""
    return bool(segment.no_speech_prob > NO_SPEECH_PROBABILITY and segment.avg_logprob < NO_SPEECH_LOGPROB)


def passage_of(segment: Any, window: Window, heard_from: float, language: str) -> Passage:
    """The library's segment at its place in the recording; its clock showed ``heard_from`` when the window began."""
    words = words_of(segment.words or (), window, heard_from, language)
    place = window.place(segment.start - heard_from, segment.end - heard_from)
    return Passage(
        start_seconds=words[0].start_seconds if words else place.start_seconds,
        end_seconds=words[-1].end_seconds if words else place.end_seconds,
        text=join_words(words),
        confidence=round(min(1.0, math.exp(segment.avg_logprob)), 3),
        words=tuple(words),
    )
