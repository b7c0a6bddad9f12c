"""Plans where a recording is cut for transcription: pure, deterministic, and only ever at silences if there is one.

Two cuts, one inside the other. A window is what an engine hears at once (15 or 29 s). A chunk is what one worker
transcribes: neighbouring windows, some minutes. Chunks end only where windows end, so however many workers share a
recording, the engine hears the same windows, and says the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

GRID_HZ = 16_000
"""Chunks are cut between samples, so that a worker slices the very same windows out of its chunk."""

REACH = 0.25
"""How far from its target length a chunk may end, as a share of it, for the sake of a longer silence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A half-open stretch of time ``[start, end)`` in seconds from the start of the recording."""

    start_seconds: float
    end_seconds: float

    @property
    def duration_seconds(self) -> float:
        """Its length in seconds."""
        return self.end_seconds - self.start_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRules:
    """How long a window may be, and what counts as a silence nobody needs to hear.

    ``padding_seconds`` of context is added on both sides, never reaching more than half-way into the next speech. A
    full window ends at the longest silence after ``full_share`` of ``max_seconds``: later where each window costs the
    same, however short it is.
    """

    max_seconds: float
    split_silence_seconds: float = 3.0
    padding_seconds: float = 0.2
    full_share: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A stretch of the recording for one worker: from half-way into the silence before its speech to half-way after.

    ``speech`` lies inside; the chunks of a plan touch, and each second of speech is in exactly one of them.
    """

    index: int
    span: Span
    speech: tuple[Span, ...]


def plan_chunks(
    speech: Sequence[Span], duration_seconds: float, rules: WindowRules, target_seconds: float
) -> tuple[Chunk, ...]:
    """Chunks of about ``target_seconds``, cut at the longest silence within a quarter of it; () for no speech.

    ``speech`` is sorted and disjoint, ``rules`` are the engine's own: chunks end where its windows end, so never inside
    speech unless speech goes on without a silence for longer than a window.
    """
    windows = plan_windows(speech, duration_seconds, replace(rules, padding_seconds=0.0))
    cuts: list[float] = []
    first = 0
    while first < len(windows):
        last = _last_of_chunk(windows, first, target_seconds)
        if last + 1 < len(windows):
            middle = (windows[last].end_seconds + windows[last + 1].start_seconds) / 2
            cuts.append(round(middle * GRID_HZ) / GRID_HZ)
        first = last + 1
    edges = [0.0, *cuts, duration_seconds] if windows else []
    spans = [Span(start_seconds=start, end_seconds=end) for start, end in pairwise(edges)]
    return tuple(Chunk(index=index, span=span, speech=speech_within(speech, span)) for index, span in enumerate(spans))


def speech_within(speech: Sequence[Span], span: Span) -> tuple[Span, ...]:
    """What of ``speech`` lies in the span, in the recording's own times."""
    inside = [
        Span(start_seconds=max(s.start_seconds, span.start_seconds), end_seconds=min(s.end_seconds, span.end_seconds))
        for s in speech
        if s.end_seconds > span.start_seconds and s.start_seconds < span.end_seconds
    ]
    return tuple(inside)


def _last_of_chunk(windows: Sequence[Span], first: int, target_seconds: float) -> int:
    """Index of the last window of the chunk that begins at ``first``."""
    start = windows[first].start_seconds
    if windows[-1].end_seconds - start <= target_seconds * (1 + REACH):
        return len(windows) - 1
    late = [i for i in range(first, len(windows) - 1) if windows[i].end_seconds - start >= target_seconds * (1 - REACH)]
    near = [i for i in late if windows[i].end_seconds - start <= target_seconds * (1 + REACH)] or late[:1]
    if not near:
        return len(windows) - 1
    return max(near, key=lambda i: (windows[i + 1].start_seconds - windows[i].end_seconds, -i))


def plan_windows(speech: Sequence[Span], duration_seconds: float, rules: WindowRules) -> tuple[Span, ...]:
    """Windows that together hold every second of ``speech`` exactly once, in order, each ≤ max_seconds plus padding.

    A window ends at a silence of ``split_silence_seconds`` or more; otherwise, when it grows too long, at the longest
    silence in its last part (``full_share``). ``speech`` is sorted and disjoint.
    """
    pieces = _no_longer_than(speech, rules.max_seconds)
    groups: list[Span] = []
    first = 0
    while first < len(pieces):
        last = _last_of_window(pieces, first, rules)
        groups.append(Span(start_seconds=pieces[first].start_seconds, end_seconds=pieces[last].end_seconds))
        first = last + 1
    return _padded(groups, duration_seconds, rules.padding_seconds)


def _no_longer_than(speech: Sequence[Span], max_seconds: float) -> list[Span]:
    """Speech with no silence in reach is cut into equal parts: there is no better place."""
    pieces: list[Span] = []
    for span in speech:
        parts = max(1, -int(-span.duration_seconds // max_seconds))
        length = span.duration_seconds / parts
        edges = [*(span.start_seconds + length * part for part in range(parts)), span.end_seconds]
        pieces += [Span(start_seconds=a, end_seconds=b) for a, b in pairwise(edges)]
    return pieces


def _last_of_window(pieces: Sequence[Span], first: int, rules: WindowRules) -> int:
    """Index of the last piece of the window that begins at ``first``."""
    start = pieces[first].start_seconds
    last = first
    while last + 1 < len(pieces):
        following = pieces[last + 1]
        if following.start_seconds - pieces[last].end_seconds >= rules.split_silence_seconds:
            return last
        if following.end_seconds - start > rules.max_seconds:
            break
        last += 1
    else:
        return last
    late = [i for i in range(first, last + 1) if pieces[i].end_seconds - start >= rules.max_seconds * rules.full_share]
    candidates = late or range(first, last + 1)
    return max(candidates, key=lambda i: (pieces[i + 1].start_seconds - pieces[i].end_seconds, i))


def _padded(groups: Sequence[Span], duration_seconds: float, padding_seconds: float) -> tuple[Span, ...]:
    chunks: list[Span] = []
    for index, group in enumerate(groups):
        floor, ceiling = 0.0, duration_seconds
        if index:
            floor = (groups[index - 1].end_seconds + group.start_seconds) / 2
        if index + 1 < len(groups):
            ceiling = (group.end_seconds + groups[index + 1].start_seconds) / 2
        start = max(floor, group.start_seconds - padding_seconds)
        end = min(ceiling, group.end_seconds + padding_seconds)
        chunks.append(Span(start_seconds=start, end_seconds=end))
    return tuple(chunks)
