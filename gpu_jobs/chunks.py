"""Plans where a recording is cut for transcription: pure, deterministic, and only ever at silences if there is one.

Two cuts, one inside the other. A window is what an engine hears at once (15 or 29 s). A chunk is what one worker
transcribes: neighbouring windows, some minutes. Chunks end only where windows end, so however many workers share a
recording, the engine hears the same windows, and says the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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


Group = Sequence[Span]
"""The speech of one window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRules:
    """How long a window may be, and what counts as a silence nobody needs to hear.

    ``padding_seconds`` of context is added on both sides, never reaching more than half-way into the next speech. A
    full window ends at the longest silence after ``full_share`` of ``max_seconds``, else as late as it can; the share
    is larger where each window costs the same, however short it is. Of a silence inside a window no more than
    ``kept_silence_seconds`` are heard.
    """

    max_seconds: float
    split_silence_seconds: float = 3.0
    padding_seconds: float = 0.2
    full_share: float = 0.5
    kept_silence_seconds: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What an engine hears at once: stretches of the recording, one after the other, without the silence between."""

    parts: tuple[Span, ...]

    @property
    def start_seconds(self) -> float:
        """Where it begins in the recording."""
        return self.parts[0].start_seconds

    @property
    def end_seconds(self) -> float:
        """Where it ends in the recording."""
        return self.parts[-1].end_seconds

    @property
    def heard_seconds(self) -> float:
        """How long it is to the engine."""
        return sum(part.duration_seconds for part in self.parts)

    def place(self, start_seconds: float, end_seconds: float) -> Span:
        """Where in the recording something lies that is heard so long after the window's start.

        It is in one part, the one of its middle: an engine may draw a word over a silence that it did not hear.
        """
        middle = (start_seconds + end_seconds) / 2
        heard_before = 0.0
        for part in self.parts[:-1]:
            if middle < heard_before + part.duration_seconds:
                break
            heard_before += part.duration_seconds
        else:
            part = self.parts[-1]
        start, end = (
            min(max(part.start_seconds + heard - heard_before, part.start_seconds), part.end_seconds)
            for heard in (start_seconds, end_seconds)
        )
        return Span(start_seconds=start, end_seconds=end)


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
    speech unless speech goes on without a silence for longer than a window. Where the windows would be others without
    what comes after them, no chunk ends: it ends later then.
    """
    windows = _groups(_no_longer_than(speech, rules.max_seconds), rules)
    cuts: list[float] = []
    first = 0
    while first < len(windows):
        last = _last_of_chunk(windows, first, rules, target_seconds)
        if last + 1 < len(windows):
            middle = (windows[last][-1].end_seconds + windows[last + 1][0].start_seconds) / 2
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


def _last_of_chunk(windows: Sequence[Group], first: int, rules: WindowRules, target_seconds: float) -> int:
    """Index of the last window of the chunk that begins at ``first``."""
    start = windows[first][0].start_seconds
    lengths = [window[-1].end_seconds - start for window in windows]
    if lengths[-1] <= target_seconds * (1 + REACH):
        return len(windows) - 1
    late = [i for i in range(first, len(windows) - 1) if lengths[i] >= target_seconds * (1 - REACH)]
    near = [i for i in late if lengths[i] <= target_seconds * (1 + REACH)] or late[:1]
    if not near:
        return len(windows) - 1
    near.sort(key=lambda i: (windows[i][-1].end_seconds - windows[i + 1][0].start_seconds, i))
    return next((i for i in [*near, *late] if _stay(windows[first : i + 1], rules)), near[0])


def _stay(windows: Sequence[Group], rules: WindowRules) -> bool:
    """True where they are the same without what comes after them: the last two may fit into one."""
    return _groups([piece for window in windows for piece in window], rules) == windows


def plan_windows(speech: Sequence[Span], duration_seconds: float, rules: WindowRules) -> tuple[Window, ...]:
    """Windows that together hold every second of ``speech`` exactly once, in order, each ≤ max_seconds plus padding.

    A window ends at a silence of ``split_silence_seconds`` or more; otherwise, when it grows too long, at the longest
    silence in its last part (``full_share``), and where there is none as late as it can. ``speech`` is sorted and
    disjoint.
    """
    return _padded(_groups(_no_longer_than(speech, rules.max_seconds), rules), duration_seconds, rules)


def _groups(pieces: Sequence[Span], rules: WindowRules) -> list[Group]:
    """The pieces of each window."""
    groups: list[Group] = []
    first = 0
    while first < len(pieces):
        last = _last_of_window(pieces, first, rules)
        groups.append(pieces[first : last + 1])
        first = last + 1
    return groups


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
    heard = [pieces[first].duration_seconds]  # up to the end of each piece
    for last in range(first, len(pieces) - 1):
        silence = _silence_after(pieces, last)
        if silence >= rules.split_silence_seconds:
            return last
        longer = heard[-1] + min(silence, rules.kept_silence_seconds) + pieces[last + 1].duration_seconds
        if longer > rules.max_seconds:
            break
        heard.append(longer)
    else:
        return len(pieces) - 1
    full = rules.max_seconds * rules.full_share
    late = [first + index for index, seconds in enumerate(heard) if seconds >= full]
    return max(late or [first + len(heard) - 1], key=lambda index: (_silence_after(pieces, index), index))


def _silence_after(pieces: Sequence[Span], index: int) -> float:
    return pieces[index + 1].start_seconds - pieces[index].end_seconds


def _padded(groups: Sequence[Group], duration_seconds: float, rules: WindowRules) -> tuple[Window, ...]:
    windows: list[Window] = []
    for index, group in enumerate(groups):
        floor, ceiling = 0.0, duration_seconds
        if index:
            floor = (groups[index - 1][-1].end_seconds + group[0].start_seconds) / 2
        if index + 1 < len(groups):
            ceiling = (group[-1].end_seconds + groups[index + 1][0].start_seconds) / 2
        start = max(floor, group[0].start_seconds - rules.padding_seconds)
        end = min(ceiling, group[-1].end_seconds + rules.padding_seconds)
        kept = rules.kept_silence_seconds
        cuts = [(a, b) for a, b in pairwise(group) if b.start_seconds - a.end_seconds > kept]
        starts = [start, *(after.start_seconds - kept / 2 for _, after in cuts)]
        ends = [*(before.end_seconds + kept / 2 for before, _ in cuts), end]
        windows.append(
            Window(parts=tuple(Span(start_seconds=a, end_seconds=b) for a, b in zip(starts, ends, strict=True)))
        )
    return tuple(windows)
