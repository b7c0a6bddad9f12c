"""Nothing invented, nothing missing: pure checks of what an engine wrote against the speech that was found.

A loop is the same words over and over: a model that has lost its track, not a person.
A gap is speech without words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from gpu_jobs.chunks import Span, speech_within
from gpu_jobs.merge import join_words
from gpu_jobs.transcribe import Passage
from shared.domain.transcripts import Word

MIN_REPEATS, MIN_LOOP_TOTAL_WORDS = 4, 12
"""People do say "no, no, no, no"; hardly anybody says anything twelve words long that is one thing four times over."""

LONG_PERIOD_WORDS, MIN_REPEATS_OF_LONG = 12, 6
"""A sentence longer than this may well be said four times: a prayer, an announcement."""

MAX_PERIOD_WORDS = 50
"""Source: a window of Whisper ends after 224 tokens, which hold no longer one four times."""

LETTERS_OF_A_WORD = {"zh": 2, "yue": 2, "ja": 2, "th": 4, "lo": 4, "my": 4}
"""Roughly. In these languages what an engine calls a word may be a letter, so letters are counted instead."""

GAP_SECONDS = 1.0
REACH_SECONDS = 0.4
"""Engines end words early and speech detectors end speech late: this far around a word counts as its sound."""

INVENTED_DISTANCE_SECONDS = 0.5


def without_loops(passages: Sequence[Passage], language: str) -> tuple[tuple[Passage, ...], int]:
    """The passages with each loop reduced to what it repeats, said once; and how many loops there were.

    A loop may go on from passage to passage. Then it must be of more than one word: a "Yes." in turn is a vote.
    """
    said = [(index, word) for index, passage in enumerate(passages) for word in passage.words]
    loops, first = 0, 0
    while (loop := _Talk(said, language).next_loop(first)) is not None:
        start, period, end = loop
        del said[start + period : end]
        first = max(0, start - MIN_REPEATS_OF_LONG * MAX_PERIOD_WORDS * LETTERS_OF_A_WORD.get(language, 1))
        loops += 1
    if not loops:
        return tuple(passages), 0
    kept: list[list[Word]] = [[] for _ in passages]
    for index, word in said:
        kept[index].append(word)
    left = [
        passage if len(words) == len(passage.words) else with_words(passage, words)
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


def fill_gaps(passages: Sequence[Passage], gaps: Sequence[Span], found: Sequence[Passage]) -> tuple[Passage, ...]:
    """The passages with those words of ``found`` that lie in a gap; every other word as it was. Sorted by start."""
    new = [with_words(passage, [word for word in passage.words if _is_inside(word, gaps)]) for passage in found]
    new = [passage for passage in new if passage.words]
    cuts = sorted(passage.words[0].start_seconds for passage in new)
    old = [part for passage in passages for part in _split_at(passage, cuts)]
    return tuple(sorted([*old, *new], key=lambda p: p.words[0].start_seconds if p.words else p.start_seconds))


def with_words(passage: Passage, words: Sequence[Word]) -> Passage:
    """The passage with these words only."""
    if not words:
        return replace(passage, words=(), text="")
    start, end = words[0].start_seconds, words[-1].end_seconds
    return replace(passage, words=tuple(words), text=join_words(words), start_seconds=start, end_seconds=end)


class _Talk:
    """The words of all passages, to look for loops in: in time that grows with their number, not with its square."""

    def __init__(self, said: Sequence[tuple[int, Word]], language: str) -> None:
        self._letters_of_a_word = LETTERS_OF_A_WORD.get(language, 1)
        self._passages = [passage for passage, _ in said]
        self._texts = ["".join(c for c in word.text.casefold() if c.isalnum()) or word.text for _, word in said]
        sizes = (len(text) if language in LETTERS_OF_A_WORD else 1 for text in self._texts)
        self._sizes = list(accumulate(sizes, initial=0))

    def next_loop(self, first: int) -> tuple[int, int, int] | None:
        """Start, period and end of the first loop from ``first`` on, of the shortest period that explains it."""
        most = MAX_PERIOD_WORDS * self._letters_of_a_word
        for start in range(first, len(self._texts)):
            for period in range(1, min(most, (len(self._texts) - start) // MIN_REPEATS) + 1):
                if self._texts[start] == self._texts[start + period]:
                    end = self._end_of_loop(start, period)
                    if end is not None:
                        return start, period, end
        return None

    def _end_of_loop(self, start: int, period: int) -> int | None:
        """None where no loop of this period starts here, or where it started before."""
        period_words = self._words(start, start + period)
        is_one_word = period_words <= 1
        before = start - 1
        goes_on = before >= 0 and self._texts[before] == self._texts[before + period]
        if goes_on and not (is_one_word and self._passages[before] != self._passages[start]):
            return None
        end = start + period
        while end < len(self._texts) and self._texts[end] == self._texts[end - period]:
            if is_one_word and self._passages[end] != self._passages[start]:
                break
            end += 1
        repeats = (end - start) // period
        is_loop = (
            period_words <= MAX_PERIOD_WORDS
            and repeats >= (MIN_REPEATS if period_words <= LONG_PERIOD_WORDS else MIN_REPEATS_OF_LONG)
            and self._words(start, start + repeats * period) >= MIN_LOOP_TOTAL_WORDS
            and not _repeats_itself(self._texts[start : start + period])
        )
        return end if is_loop else None

    def _words(self, start: int, end: int) -> float:
        return (self._sizes[end] - self._sizes[start]) / self._letters_of_a_word


def _repeats_itself(texts: list[str]) -> bool:
    """True where a shorter period explains them: that one is no loop, or it would have been found."""
    size = len(texts)
    return any(size % each == 0 and texts[:each] * (size // each) == texts for each in range(1, size))


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


def _split_at(passage: Passage, cuts: Sequence[float]) -> list[Passage]:
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
    return [with_words(passage, words) for words in parts]
