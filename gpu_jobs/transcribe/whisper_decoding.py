"""What Whisper says about some windows: decoded in one batch, the doubtful ones once more, one by one.

Source of the fallback: OpenAI's own decoder, which goes up the temperatures while a window repeats itself or is
improbable. The library's batched decoder knows one temperature only.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from gpu_jobs.audio import Recording
from gpu_jobs.chunks import Span
from gpu_jobs.merge import SPACELESS_LANGUAGES, join_words
from gpu_jobs.transcribe import Passage
from shared.domain.errors import JobFailure
from shared.domain.transcripts import Word

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
    model: Any, recording: Recording, windows: Sequence[Span], asked: Asked, batch_size: int
) -> list[Passage]:
    """Their passages, words included. Raises RuntimeError and ValueError.

    Only the windows' stretch of the recording is handed to the library.
    """
    from faster_whisper import BatchedInferencePipeline

    offset = windows[0].start_seconds
    clips = [{"start": w.start_seconds - offset, "end": w.end_seconds - offset} for w in windows]
    found, _ = BatchedInferencePipeline(model).transcribe(
        recording.slice(offset, windows[-1].end_seconds),
        language=asked.language,
        clip_timestamps=clips,
        batch_size=batch_size,
        word_timestamps=True,
        hotwords=asked.hotwords,
    )
    passages: list[Passage] = []
    for window, segments in zip(windows, by_window(found, windows), strict=True):
        start, kept = offset, segments
        if asked.falls_back and any(is_doubtful(segment) for segment in segments):
            again = decode_again(model, recording, window, asked)
            if _worth(again) > _worth(segments):
                start, kept = window.start_seconds, again
        passages += [passage_of(segment, start, asked.language) for segment in kept if not is_invented(segment)]
    return [passage for passage in passages if passage.words]


def by_window(found: Iterable[Any], windows: Sequence[Span]) -> list[list[Any]]:
    """The segments of each window. ``found`` begins with the first window.

    By their middle: windows may touch, and the library's rounding puts a segment's start into the window before.
    """
    ends = [window.end_seconds - windows[0].start_seconds for window in windows]
    grouped: list[list[Any]] = [[] for _ in windows]
    for segment in found:
        middle = (segment.start + segment.end) / 2
        grouped[min(bisect_right(ends, middle), len(windows) - 1)].append(segment)
    return grouped


def decode_again(model: Any, recording: Recording, window: Span, asked: Asked) -> list[Any]:
    """The window's segments by the library's other decoder, at rising temperatures; times from its start."""
    segments, _ = model.transcribe(
        recording.slice(window.start_seconds, window.end_seconds),
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


def passage_of(segment: Any, offset_seconds: float, language: str) -> Passage:
    """The library's segment, moved by the offset."""
    words = _words(segment.words or (), offset_seconds, language)
    return Passage(
        start_seconds=float(offset_seconds + segment.start),
        end_seconds=float(offset_seconds + segment.end),
        text=join_words([word.text for word in words], language),
        confidence=round(min(1.0, math.exp(segment.avg_logprob)), 3),
        words=tuple(words),
    )


def _words(timed: Iterable[Any], offset_seconds: float, language: str) -> list[Word]:
    """Words as they are written; what the library splits off without a space ("'s") goes back to its word."""
    words: list[Word] = []
    for item in timed:
        text = item.word.strip()
        if not text:
            continue
        start, end = round(float(offset_seconds + item.start), 3), round(float(offset_seconds + item.end), 3)
        probability = round(float(item.probability), 3)
        if words and not item.word.startswith(" ") and language not in SPACELESS_LANGUAGES:
            last = words[-1]
            lowest = min(probability, last.confidence or 0.0)
            words[-1] = replace(last, text=last.text + text, end_seconds=max(last.end_seconds, end), confidence=lowest)
        else:
            words.append(Word(text=text, start_seconds=start, end_seconds=end, confidence=probability))
    return words
