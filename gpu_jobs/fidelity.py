"""Nothing invented, nothing missing: pure checks of what an engine wrote against the speech that was found.

A loop is the same few words over and over: a model that has lost its track, not a person.
A gap is speech without words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gpu_jobs.chunks import Span, speech_within
from gpu_jobs.merge import join_words
from gpu_jobs.transcribe import Passage
from shared.domain.transcripts import Word

MAX_LOOP_WORDS = 12
MIN_REPEATS = 4
MIN_LOOP_TOTAL_WORDS = 12
"""People do say "no, no, no, no"; hardly anybody says anything twelve words long that is one thing four times over."""

GAP_SECONDS = 1.0
REACH_SECONDS = 0.4
"""Engines end words early and speech detectors end speech late: this far around a word counts as its sound."""

INVENTED_DISTANCE_SECONDS = 0.5


def without_loops(passages: Sequence[Passage], language: str) -> tuple[tuple[Passage, ...], int]:
    """The passages with each loop reduced to what it repeats, said once; and how many loops there were.

    A loop may go on from passage to passage. Then it must be of more than one word: a "Yes." in turn is a vote.
    """
    said = [(index, word) for index, passage in enumerate(passages) for word in passage.words]
    loops = 0
    while (loop := _first_loop(said)) is not None:
        start, period, end = loop
        del said[start + period : end]
        loops += 1
    if not loops:
        return tuple(passages), 0
    kept: list[list[Word]] = [[] for _ in passages]
    for index, word in said:
        kept[index].append(word)
    left = [
        passage if len(words) == len(passage.words) else with_words(passage, words, language)
        for passage, words in zip(passages, kept, strict=True)
    ]
    return tuple(new for new, old in zip(left, passages, strict=True) if new.words or not old.words), loops


def without_invented(passages: Sequence[Passage], speech: Sequence[Span]) -> tuple[Passage, ...]:
    """The passages that lie in, or next to, what was found to be speech."""
    return tuple(
        passage
        for passage in passages
        if speech_within(
            speech,
            Span(
                start_seconds=passage.start_seconds - INVENTED_DISTANCE_SECONDS,
                end_seconds=passage.end_seconds + INVENTED_DISTANCE_SECONDS,
            ),
        )
    )


def find_gaps(speech: Sequence[Span], words: Sequence[Word]) -> tuple[Span, ...]:
    """Stretches of speech of GAP_SECONDS or more with no word within REACH_SECONDS. Both sorted.

    What was not found in the sound and takes no time, a mark, is not a word here.
    """
    found = [word for word in words if word.aligned or word.end_seconds > word.start_seconds]
    heard = _union([(word.start_seconds - REACH_SECONDS, word.end_seconds + REACH_SECONDS) for word in found])
    gaps: list[Span] = []
    for span in speech:
        at = span.start_seconds
        for start, end in heard:
            if end <= at or start >= span.end_seconds:
                continue
            if start > at:
                gaps.append(Span(start_seconds=at, end_seconds=start))
            at = max(at, end)
        if at < span.end_seconds:
            gaps.append(Span(start_seconds=at, end_seconds=span.end_seconds))
    return tuple(gap for gap in gaps if gap.duration_seconds >= GAP_SECONDS)


def fill_gaps(
    passages: Sequence[Passage], gaps: Sequence[Span], found: Sequence[Passage], language: str
) -> tuple[Passage, ...]:
    """The passages with those words of ``found`` that lie in a gap; every other word as it was. Sorted by start."""
    new = [
        with_words(passage, [word for word in passage.words if _is_inside(word, gaps)], language) for passage in found
    ]
    new = [passage for passage in new if passage.words]
    cuts = sorted(passage.words[0].start_seconds for passage in new)
    old = [part for passage in passages for part in _split_at(passage, cuts, language)]
    return tuple(sorted([*old, *new], key=lambda p: p.words[0].start_seconds if p.words else p.start_seconds))


def with_words(passage: Passage, words: Sequence[Word], language: str) -> Passage:
    """The passage with these words only."""
    text = join_words([word.text for word in words], language)
    if not words:
        return replace(passage, words=(), text="")
    start, end = words[0].start_seconds, words[-1].end_seconds
    return replace(passage, words=tuple(words), text=text, start_seconds=start, end_seconds=end)


def _first_loop(said: Sequence[tuple[int, Word]]) -> tuple[int, int, int] | None:
    """Start, period and end of the first loop, of the shortest period that explains it."""
    texts = ["".join(c for c in word.text.casefold() if c.isalnum()) or word.text for _, word in said]
    for start in range(len(texts) - MIN_LOOP_TOTAL_WORDS + 1):
        for period in range(1, MAX_LOOP_WORDS + 1):
            end = start + period
            while end < len(texts) and texts[end] == texts[end - period]:
                end += 1
            if len(set(texts[start : start + period])) == 1:
                end = _end_of_passage(said, start, end)
            repeats = (end - start) // period
            if repeats >= MIN_REPEATS and repeats * period >= MIN_LOOP_TOTAL_WORDS:
                return start, period, end
    return None


def _end_of_passage(said: Sequence[tuple[int, Word]], start: int, end: int) -> int:
    """``end``, or the end of the passage that ``start`` is in, if that comes first."""
    return next((index for index in range(start, end) if said[index][0] != said[start][0]), end)


def _union(intervals: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _is_inside(word: Word, gaps: Sequence[Span]) -> bool:
    middle = (word.start_seconds + word.end_seconds) / 2
    return any(gap.start_seconds <= middle <= gap.end_seconds for gap in gaps)


def _split_at(passage: Passage, cuts: Sequence[float], language: str) -> list[Passage]:
    """The passage in parts, so that what begins at a cut can stand between them."""
    parts: list[list[Word]] = [[]]
    remaining = list(cuts)
    for word in passage.words:
        while remaining and word.start_seconds >= remaining[0]:
            remaining.pop(0)
            if parts[-1]:
                parts.append([])
        parts[-1].append(word)
    if len(parts) == 1:
        return [passage]
    return [with_words(passage, words, language) for words in parts]
