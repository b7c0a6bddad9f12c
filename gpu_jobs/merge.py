"""Words and turns become segments and speakers: pure, and the same whichever engines made them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from gpu_jobs.transcribe import Passage
from shared.domain.scripts import CLOSING_BRACKETS, CLOSING_MARKS, SENTENCE_ENDS, join_texts, without_closing_marks
from shared.domain.transcripts import Segment, Speaker, Turn, Word

T = TypeVar("T")

ABBREVIATIONS = frozenset({"mr.", "mrs.", "ms.", "dr.", "st.", "prof.", "jr.", "sr.", "vs.", "e.g.", "i.e."})
PAUSE_SECONDS = 1.0
MAX_SEGMENT_SECONDS = 30.0
WEAK_RUN_WORDS = 2
CLEAR_SHARE = 0.6
"""A word belongs to a turn beyond doubt if the turn covers this share of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """A word and the passage it came from."""

    word: Word
    passage: Passage


@dataclass(frozen=True, slots=True, kw_only=True)
class _Voiced:
    """A word with its likeliest speaker, and the share of its time that the speaker's turns cover."""

    word: Word
    share: float


def in_order(passages: Sequence[Passage], duration_seconds: float) -> tuple[Passage, ...]:
    """The passages with word times that never overlap, run backwards or leave the recording."""
    latest = 0.0
    ordered = []
    for passage in passages:
        words = []
        for word in passage.words:
            start = min(max(word.start_seconds, latest), duration_seconds)
            latest = min(max(word.end_seconds, start), duration_seconds)
            words.append(replace(word, start_seconds=start, end_seconds=latest))
        ordered.append(replace(passage, words=tuple(words)))
    return tuple(ordered)


def cut_segments(passages: Sequence[Passage], turns: Sequence[Turn] | None) -> tuple[Segment, ...]:
    """Sentence-like segments, each by one speaker, holding every word once and in order.

    ``turns`` None means nobody asked who speaks. A segment ends with a sentence, at a pause, or where the speaker
    changes.
    """
    said = [_Said(word=word, passage=passage) for passage in passages for word in passage.words]
    if turns is not None:
        words = assign_speakers([item.word for item in said], turns)
        said = [replace(item, word=word) for item, word in zip(said, words, strict=True)]
    sentences = _split(said, lambda a, b: _is_sentence_break(a.word, b.word) or a.word.speaker_id != b.word.speaker_id)
    return tuple(_segment(group) for sentence in sentences for group in _not_too_long(sentence))


def assign_speakers(words: Sequence[Word], turns: Sequence[Turn]) -> list[Word]:
    """Each word with the speaker whose turns it overlaps most; in a gap, the nearest. No turns: all are SPEAKER_00.

    Inside a sentence, one or two words that no turn clearly covers are the edge of a neighbour's turn, not a change of
    speaker, and go with the words around them. A "Yes." that has a turn of its own stays its speaker's.
    """
    if not turns:
        return [replace(word, speaker_id="SPEAKER_00") for word in words]
    finder = _TurnFinder(turns)
    voiced = [finder.voice_of(word) for word in words]
    sentences = _split(voiced, lambda a, b: _is_sentence_break(a.word, b.word))
    return [word for sentence in sentences for word in _without_weak_runs(sentence)]


def name_speakers(
    segments: Sequence[Segment], turns: Sequence[Turn]
) -> tuple[tuple[Segment, ...], tuple[Speaker, ...]]:
    """Renumber to SPEAKER_00, SPEAKER_01 … by first appearance in the segments, and sum up who spoke how long.

    Voices without a single word (a cough, a door) are left out. ``speaking_time_seconds`` is that of the turns, or of
    the segments where the diarizer heard nothing.
    """
    order: dict[str, str] = {}
    for segment in segments:
        if segment.speaker_id is not None:
            order.setdefault(segment.speaker_id, f"SPEAKER_{len(order):02d}")
    named = tuple(_renamed(segment, order) for segment in segments)
    speakers = tuple(
        Speaker(id=new, label=f"Speaker {index + 1}", speaking_time_seconds=_speaking_time(old, segments, turns))
        for index, (old, new) in enumerate(order.items())
    )
    return named, speakers


def join_words(words: Iterable[Word]) -> str:
    """The words as running text, with the spaces that they were written with."""
    return "".join(f" {word.text}" if word.space_before else word.text for word in words).removeprefix(" ")


def without_words(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """The same segments for somebody who did not ask for word times."""
    return tuple(replace(segment, words=()) for segment in segments)


class _TurnFinder:
    """Finds who speaks during a word, or nearest to it, without looking at all turns."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._speakers: dict[str, _Stretches] = {}
        for turn in sorted(turns, key=lambda turn: turn.start_seconds):
            self._speakers.setdefault(turn.speaker_id, _Stretches()).add(turn)

    def voice_of(self, word: Word) -> _Voiced:
        heard = {speaker: stretches.heard_seconds(word) for speaker, stretches in self._speakers.items()}
        speaker = max(heard, key=lambda each: heard[each])
        if heard[speaker] > 0:
            share = heard[speaker] / (word.end_seconds - word.start_seconds)
            return _Voiced(word=replace(word, speaker_id=speaker), share=share)
        nearest = min(self._speakers, key=lambda each: self._speakers[each].nearest(word))
        return _Voiced(word=replace(word, speaker_id=nearest), share=0.0)


class _Stretches:
    """When one speaker speaks: in order, turns that touch joined to one, so that only those around a word matter."""

    def __init__(self) -> None:
        self._starts: list[float] = []
        self._ends: list[float] = []

    def add(self, turn: Turn) -> None:
        """Turns come in order of start."""
        if self._ends and turn.start_seconds <= self._ends[-1]:
            self._ends[-1] = max(self._ends[-1], turn.end_seconds)
        else:
            self._starts.append(turn.start_seconds)
            self._ends.append(turn.end_seconds)

    def heard_seconds(self, word: Word) -> float:
        """How much of the word they cover."""
        inside = range(bisect_right(self._ends, word.start_seconds), bisect_left(self._starts, word.end_seconds))
        return sum(min(self._ends[i], word.end_seconds) - max(self._starts[i], word.start_seconds) for i in inside)

    def nearest(self, word: Word) -> tuple[float, float]:
        """Distance and start of the nearest one; of two as near, the earlier."""
        after = bisect_left(self._starts, word.end_seconds)
        around = range(max(0, after - 1), min(after + 1, len(self._starts)))
        return min((self._distance(index, word), self._starts[index]) for index in around)

    def _distance(self, index: int, word: Word) -> float:
        return max(self._starts[index] - word.end_seconds, word.start_seconds - self._ends[index], 0.0)


def _without_weak_runs(sentence: Sequence[_Voiced]) -> list[Word]:
    runs = _split(sentence, lambda a, b: a.word.speaker_id != b.word.speaker_id)
    weak = [len(run) <= WEAK_RUN_WORDS and all(voiced.share < CLEAR_SHARE for voiced in run) for run in runs]
    words: list[Word] = []
    for index, run in enumerate(runs):
        around = [at for at in (index - 1, index + 1) if 0 <= at < len(runs)]
        neighbours = [runs[at] for at in around]
        voices = {neighbour[0].word.speaker_id for neighbour in neighbours}
        # Beside words as doubtful it stays: two that each go with the other would change places.
        if weak[index] and len(voices) == 1 and not all(weak[at] for at in around):
            words += [replace(voiced.word, speaker_id=neighbours[0][0].word.speaker_id) for voiced in run]
        else:
            words += [voiced.word for voiced in run]
    return words


def _split(items: Sequence[T], is_cut: Callable[[T, T], bool]) -> list[list[T]]:
    """Cut a sequence between every two neighbours for which ``is_cut`` holds."""
    groups: list[list[T]] = [[items[0]]] if items else []
    for before, after in pairwise(items):
        if is_cut(before, after):
            groups.append([])
        groups[-1].append(after)
    return groups


def _is_sentence_break(before: Word, after: Word) -> bool:
    if after.text[:1] in CLOSING_BRACKETS or CLOSING_MARKS.issuperset(after.text):
        return False
    if after.start_seconds - before.end_seconds >= PAUSE_SECONDS:
        return True
    text = without_closing_marks(before.text)
    if text[-2:-1].isdecimal() and after.text[0].isdecimal() and not after.space_before:
        return False  # "3." and "14"
    return text[-1:] in SENTENCE_ENDS and text.lower() not in ABBREVIATIONS


def _not_too_long(sentence: list[_Said]) -> list[list[_Said]]:
    """A sentence nobody ever ended is cut at its longest pauses."""
    if len(sentence) < 2 or sentence[-1].word.end_seconds - sentence[0].word.start_seconds <= MAX_SEGMENT_SECONDS:
        return [sentence]
    middle = sentence[0].word.start_seconds + sentence[-1].word.end_seconds

    def merit(at: int) -> tuple[float, float]:
        before, after = sentence[at - 1].word, sentence[at].word
        return (round(after.start_seconds - before.end_seconds, 2), -abs(2 * after.start_seconds - middle))

    cut = max(range(1, len(sentence)), key=merit)
    return _not_too_long(sentence[:cut]) + _not_too_long(sentence[cut:])


def _segment(group: Sequence[_Said]) -> Segment:
    words = (replace(group[0].word, space_before=True), *(item.word for item in group[1:]))
    by_passage = _split(group, lambda a, b: a.passage is not b.passage)
    return Segment(
        start_seconds=words[0].start_seconds,
        end_seconds=words[-1].end_seconds,
        text=join_texts(join_words(item.word for item in part) for part in by_passage),
        speaker_id=words[0].speaker_id,
        confidence=_confidence(group),
        words=words,
    )


def _confidence(group: Sequence[_Said]) -> float | None:
    """The engine's own where it has one for the passage, else the mean of the words'; None where nobody knows."""
    own = [item.passage.confidence for item in group if item.passage.confidence is not None]
    known = own or [item.word.confidence for item in group if item.word.confidence is not None]
    return round(sum(known) / len(known), 3) if known else None


def _renamed(segment: Segment, order: dict[str, str]) -> Segment:
    if segment.speaker_id is None:
        return segment
    new = order[segment.speaker_id]
    return replace(segment, speaker_id=new, words=tuple(replace(word, speaker_id=new) for word in segment.words))


def _speaking_time(speaker_id: str, segments: Sequence[Segment], turns: Sequence[Turn]) -> float:
    heard = sum(turn.end_seconds - turn.start_seconds for turn in turns if turn.speaker_id == speaker_id)
    said = sum(s.end_seconds - s.start_seconds for s in segments if s.speaker_id == speaker_id)
    return round(heard or said, 3)
