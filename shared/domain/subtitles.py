"""Subtitles: cuts a transcript into cues that people can read.

A cue never spans a speaker change or a long pause, never overlaps another, and holds at most ``max_lines`` lines of
``max_columns`` columns. Within that, the cheapest way to cut is found by dynamic programming over the words: ends at
sentences before clauses before pauses before anywhere, times that can be read in, few flashes. Limits are those of
the common broadcast guides (42 columns, 2 lines, 17-20 characters a second, 5/6 s to 7 s).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from shared.domain.graphemes import (
    LEFT_TO_RIGHT_MARK,
    POP_EMBEDDING,
    RIGHT_TO_LEFT_EMBEDDING,
    clean,
    columns,
    direction,
    graphemes,
    has_right_to_left,
    isolate,
    main_direction,
)
from shared.domain.scripts import is_written_together
from shared.domain.subtitle_tokens import Token, tokens_of
from shared.domain.transcripts import Segment

FLOOR_MILLISECONDS = 500  # two cues never start closer together; talk over one another is shown one after the other
GAP_MILLISECONDS = 80  # two frames of black, so that the eye sees the change; given up where time is short


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtitleStyle:
    """What a reader can follow. Widths are in columns (an ideograph takes two)."""

    max_columns: int = 42
    max_lines: int = 2
    columns_per_second: float = 17.0
    min_seconds: float = 1.0
    max_seconds: float = 7.0
    max_pause_seconds: float = 1.5  # a longer silence always ends a cue


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """Lines shown from ``start_milliseconds`` until (not at) ``end_milliseconds``."""

    start_milliseconds: int
    end_milliseconds: int
    lines: tuple[str, ...]
    speaker_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Draft:
    """Words that will be one cue."""

    tokens: Sequence[Token]
    speaker_id: str | None

    @property
    def start_seconds(self) -> float:
        return self.tokens[0].start_seconds


def cut(segments: Iterable[Segment], style: SubtitleStyle, labels: Mapping[str, str] | None = None) -> list[Cue]:
    """The cues of ``segments``, in order of time, without overlap.

    With ``labels`` (speaker id → name) the first cue after each change of speaker begins with the name; room for it is
    kept. Every word of the segments is in exactly one cue.
    """
    prefixes = {speaker: _prefix(label, style) for speaker, label in (labels or {}).items()}
    drafts: list[_Draft] = []
    for run in _runs(segments, style):
        changed = not drafts or drafts[-1].speaker_id != run.speaker_id
        reserved = columns(prefixes.get(run.speaker_id or "", "")) + 1 if changed and prefixes else 0
        drafts.extend(_cut_run(run, style, reserved))
    drafts.sort(key=lambda draft: draft.start_seconds)
    times = _times([(draft, _reading_columns(draft.tokens)) for draft in drafts], style)
    cues: list[Cue] = []
    for draft, (start, end) in zip(drafts, times, strict=True):
        prefix = prefixes.get(draft.speaker_id or "", "")
        if cues and cues[-1].speaker_id == draft.speaker_id:
            prefix = ""
        cues.append(
            Cue(
                start_milliseconds=start,
                end_milliseconds=end,
                lines=_lines(draft.tokens, prefix, style),
                speaker_id=draft.speaker_id,
            )
        )
    return cues


# ---- which words may stand together ----------------------------------------------------------------------------------


def _runs(segments: Iterable[Segment], style: SubtitleStyle) -> Iterator[_Draft]:
    """Stretches of talk by one speaker without a long pause."""
    # One line must hold a name and at least half a line of text.
    limit = style.max_columns if style.max_lines > 1 else max(1, style.max_columns // 2)
    current: list[Token] = []
    for token in _all_tokens(segments, limit):
        if current and (
            token.speaker_id != current[-1].speaker_id
            or token.start_seconds - current[-1].end_seconds > style.max_pause_seconds
            or token.start_seconds < current[-1].start_seconds
        ):
            yield _Draft(tokens=current, speaker_id=current[0].speaker_id)
            current = []
        current.append(token)
    if current:
        yield _Draft(tokens=current, speaker_id=current[0].speaker_id)


def _all_tokens(segments: Iterable[Segment], limit_columns: int) -> Iterator[Token]:
    """The tokens of all segments, in order of time."""
    before = ""
    for segment in sorted(segments, key=lambda segment: segment.start_seconds):
        together = is_written_together(before, segment.text)
        for index, token in enumerate(tokens_of(segment, limit_columns)):
            yield replace(token, space_before=False) if together and index == 0 else token
        before = segment.text


def _cut_run(run: _Draft, style: SubtitleStyle, reserved_columns: int) -> Iterator[_Draft]:
    """The cheapest way to cut a run into cues: shortest path over its words, looking one cue ahead at a time."""
    tokens = run.tokens
    count = len(tokens)
    best = [0.0] + [float("inf")] * count
    came_from = [0] * (count + 1)
    for first in range(count):
        fit = _Fit(style, reserved_columns if first == 0 else 0)
        read = 0
        for last in range(first, count):
            token = tokens[last]
            seconds = token.end_seconds - tokens[first].start_seconds
            alone = last == first
            if not fit.add(token, first_of_cue=alone) and not alone:
                break
            if seconds > style.max_seconds and not alone:
                break
            read += token.columns + (token.space_before and not alone)
            cost = best[first] + _cue_cost(tokens, first, last, read, style)
            if cost < best[last + 1]:
                best[last + 1], came_from[last + 1] = cost, first
    ends = [count]
    while ends[-1]:
        ends.append(came_from[ends[-1]])
    for start, end in pairwise(reversed(ends)):
        yield _Draft(tokens=tokens[start:end], speaker_id=run.speaker_id)


class _Fit:
    """Fills lines word by word; first fit is optimal for the question whether a text fits at all."""

    def __init__(self, style: SubtitleStyle, reserved_columns: int) -> None:
        self._style = style
        self._line = 1
        self._used = reserved_columns

    def add(self, token: Token, *, first_of_cue: bool) -> bool:
        """Take one more word; False when it finds no room."""
        space = 1 if token.space_before and not first_of_cue else 0
        if self._used + space + token.columns <= self._style.max_columns:
            self._used += space + token.columns
            return True
        self._line += 1
        self._used = token.columns
        return self._line <= self._style.max_lines


def _cue_cost(tokens: Sequence[Token], first: int, last: int, read_columns: int, style: SubtitleStyle) -> float:
    """How bad a cue of these words is; 1 is a good one."""
    token = tokens[last]
    following = tokens[last + 1] if last + 1 < len(tokens) else None
    pause = following.start_seconds - token.end_seconds if following else style.max_pause_seconds
    cost = 1.0 + _break_cost(token, pause, is_end=following is None)
    # The cue may stand until the next one begins.
    until = following.start_seconds if following else token.end_seconds + style.max_pause_seconds
    seconds = min(max(until - tokens[first].start_seconds, 0.001), style.max_seconds)
    if seconds < style.min_seconds:
        cost += 6.0 * (1 - seconds / style.min_seconds)
    excess = read_columns / (seconds * style.columns_per_second) - 1
    if excess > 0:
        cost += 2.0 * min(excess, 5.0)
    return cost


def _break_cost(token: Token, pause_seconds: float, *, is_end: bool) -> float:
    if is_end or token.ends_sentence:
        return 0.0
    cost = 0.7 if token.ends_clause else 2.5
    if token.columns <= 3 and not token.ends_clause:
        cost += 1.0  # an article or a preposition belongs to what follows, in most languages that have them
    return max(0.0, cost - 2.0 * min(max(pause_seconds, 0.0), 1.0))


# ---- when they are shown ---------------------------------------------------------------------------------------------


def _times(drafts: Sequence[tuple[_Draft, int]], style: SubtitleStyle) -> list[tuple[int, int]]:
    """Start and end of each cue in milliseconds: long enough to read where there is room, never overlapping."""
    starts: list[int] = []
    for draft, _ in drafts:
        start = round(draft.start_seconds * 1000)
        starts.append(max(start, starts[-1] + FLOOR_MILLISECONDS) if starts else start)
    times = []
    for index, (draft, read_columns) in enumerate(drafts):
        start = starts[index]
        spoken = round(draft.tokens[-1].end_seconds * 1000)
        readable = start + round(1000 * max(style.min_seconds, read_columns / style.columns_per_second))
        end = min(max(spoken, readable), start + round(1000 * style.max_seconds))
        if index + 1 < len(starts):
            room = starts[index + 1] - start
            gap = GAP_MILLISECONDS if room > 1000 * style.min_seconds + GAP_MILLISECONDS else 0
            end = min(end, starts[index + 1] - gap)
        times.append((start, end))
    return times


def _reading_columns(tokens: Sequence[Token]) -> int:
    return sum(token.columns + token.space_before for token in tokens)


# ---- how they are laid out -------------------------------------------------------------------------------------------


def _prefix(label: str, style: SubtitleStyle) -> str:
    """A speaker's name as it stands before the text, at most half a line long."""
    room = style.max_columns // 2 - 2
    name, used = "", 0
    for cluster in graphemes(clean(label)):
        used += columns(cluster)
        if used > room:
            return name[:-1].rstrip() + "…:"
        name += cluster
    return name + ":"


def _lines(tokens: Sequence[Token], prefix: str, style: SubtitleStyle) -> tuple[str, ...]:
    if prefix:
        fit = _Fit(style, columns(prefix) + 1)
        if all(fit.add(token, first_of_cue=index == 0) for index, token in enumerate(tokens)):
            name = replace(tokens[0], text=prefix, columns=columns(prefix), ends_clause=False, ends_sentence=False)
            tokens = [name, replace(tokens[0], space_before=True), *tokens[1:]]
        else:
            prefix = ""  # only where people talk over one another: no room was kept for the name
    rows = [join(tokens[start:end]) for start, end in _wrap(tokens, style)]
    return _with_directions(rows, prefix)


def join(tokens: Sequence[Token]) -> str:
    """The words as text, with spaces where the transcript has them."""
    return "".join((" " if token.space_before and index else "") + token.text for index, token in enumerate(tokens))


def _wrap(tokens: Sequence[Token], style: SubtitleStyle) -> list[tuple[int, int]]:
    """The fewest lines that hold the words, as even as they can be, breaking after punctuation where that is near."""
    count = len(tokens)
    # best[end] = (lines, unevenness) of the best layout of tokens[:end]
    best: list[tuple[int, float]] = [(0, 0.0)] + [(count + 1, float("inf"))] * count
    came_from = [0] * (count + 1)
    for start in range(count):
        used = 0
        for end in range(start + 1, count + 1):
            token = tokens[end - 1]
            used += token.columns + (1 if token.space_before and end - 1 > start else 0)
            if used > style.max_columns and end - 1 > start:
                break
            lines, cost = best[start]
            slack = (style.max_columns - used) ** 2
            ragged = 0.0 if end == count or token.ends_clause or token.ends_sentence else 60.0
            candidate = (lines + 1, cost + slack + ragged)
            if candidate < best[end]:
                best[end], came_from[end] = candidate, start
    ends = [count]
    while ends[-1]:
        ends.append(came_from[ends[-1]])
    return list(pairwise(reversed(ends)))


def _with_directions(rows: list[str], prefix: str) -> tuple[str, ...]:
    """Lines that players lay out in the direction of the cue, whatever each of them begins with.

    Some players take each line's direction from its first strong character, others (libass, so VLC and ffmpeg) start
    every line from the left. An embedding around a right-to-left line is right in both; a mark (no width, no glyph)
    before a left-to-right line that begins with a Hebrew word is too. Text of one direction only stays untouched.
    """
    text = " ".join(rows)
    if not has_right_to_left(text):
        return tuple(rows)
    if prefix:
        rows = [f"{isolate(prefix[:-1])}:{rows[0][len(prefix) :]}", *rows[1:]]
    if main_direction(" ".join(rows)) == "rtl":
        return tuple(f"{RIGHT_TO_LEFT_EMBEDDING}{row}{POP_EMBEDDING}" for row in rows)
    return tuple(LEFT_TO_RIGHT_MARK + row if direction(row) == "rtl" else row for row in rows)
