"""Which language a recording is in: decided once, by several windows of its speech, and shared by all its chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gpu_jobs.chunks import Span
from gpu_jobs.transcribe import LanguageChoice

WINDOWS = 7
WINDOW_SECONDS = 30.0
"""Whisper decides by 30 s; seven of them cost about as much as transcribing one minute."""


WINDOWS_OF_CHECK = 3
CLEARLY, HARDLY = 0.8, 0.05


def language_windows(speech: Sequence[Span], most: int = WINDOWS) -> tuple[Span, ...]:
    """At most so many windows of WINDOW_SECONDS that begin with speech, spread evenly over all the speech there is."""
    total = sum(span.duration_seconds for span in speech)
    count = max(1, min(most, int(total // WINDOW_SECONDS)))
    starts = sorted({_span_at(speech, total * number / count).start_seconds for number in range(count)})
    return tuple(Span(start_seconds=start, end_seconds=start + WINDOW_SECONDS) for start in starts)


def decide_language(votes: Sequence[Mapping[str, float]]) -> LanguageChoice:
    """The language that most windows give the highest probability; of equals the one likelier over all windows.

    ``confidence`` is its mean probability. ``votes`` holds one probability per language for each window, at least one.
    """
    firsts = [max(vote, key=lambda language: (vote[language], language)) for vote in votes]

    def standing(language: str) -> tuple[int, float, str]:
        return firsts.count(language), sum(vote.get(language, 0.0) for vote in votes), language

    winner = max(set(firsts), key=standing)
    mean = sum(vote.get(winner, 0.0) for vote in votes) / len(votes)
    return LanguageChoice(language=winner, confidence=round(min(1.0, mean), 3))


def doubt_language(language: str, votes: Sequence[Mapping[str, float]]) -> str | None:
    """A warning where windows that were transcribed in one language clearly sound like another."""
    heard = decide_language(votes)
    mean = sum(vote.get(language, 0.0) for vote in votes) / len(votes)
    if heard.language == language or (heard.confidence or 0.0) < CLEARLY or mean > HARDLY:
        return None
    return f"Parts of the recording sound like '{heard.language}', not '{language}': their words may be wrong."


def _span_at(speech: Sequence[Span], seconds: float) -> Span:
    """The span that the given second of speech falls into."""
    for span in speech:
        if seconds < span.duration_seconds:
            return span
        seconds -= span.duration_seconds
    return speech[-1]
