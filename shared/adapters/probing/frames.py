"""Streams of bare frames (MP3, ADTS AAC, AMR): counted where that is cheap, sampled where it is exact enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from shared.adapters.probing.source import BLOCK_BYTES, ByteSource

WHOLE_WALK_BYTES = 4 * 1024 * 1024  # up to this size every frame is counted
WINDOWS = 40
WINDOW_BYTES = BLOCK_BYTES
MAX_RELATIVE_ERROR = 0.0025  # of the mean over the windows; four of these are the 1 % we promise
LONGEST_FRAME_BYTES = 8 * 1024  # ADTS; others are shorter
RESYNC_FRAMES = 3  # so many headers in a row must agree before a position counts as a frame's start


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame's header: how long it is and how much it plays. ``stream`` must not change within a file."""

    size_bytes: int
    seconds: float
    stream: tuple[int, ...]


ParseFrame = Callable[[bytes, int], "Frame | None"]


def find_frame(
    data: bytes, parse: ParseFrame, start: int = 0, *, stream: tuple[int, ...] | None = None, within: int = 1 << 62
) -> int | None:
    """Where the first run of agreeing frames begins in the ``within`` bytes from ``start``, or None."""
    for position in range(start, min(len(data), start + within)):
        frame = parse(data, position)
        if frame is None or (stream is not None and frame.stream != stream):
            continue
        if _agrees(data, parse, position, frame):
            return position
    return None


def measure(source: ByteSource, start: int, end: int, parse: ParseFrame) -> float | None:
    """Seconds in the frames from ``start`` to ``end``; None where sampling cannot promise 1 %."""
    if end - start <= WHOLE_WALK_BYTES:
        seconds, _ = _walk(source, start, end, parse)
        return seconds
    first = parse(source.read(start, 16), 0)
    if first is None:
        return None
    rates = _sample(source, start, end, parse, first.stream)
    if len(rates) < WINDOWS // 2:
        return None
    mean = sum(rates) / len(rates)
    variance = sum((rate - mean) ** 2 for rate in rates) / (len(rates) - 1)
    if math.sqrt(variance / len(rates)) > MAX_RELATIVE_ERROR * mean:
        return None
    return (end - start) * mean


def _sample(source: ByteSource, start: int, end: int, parse: ParseFrame, stream: tuple[int, ...]) -> list[float]:
    """Seconds per byte in windows spread evenly over the file."""
    rates = []
    for number in range(WINDOWS):
        offset = start + (end - start - WINDOW_BYTES) * number // (WINDOWS - 1)
        data = source.read_up_to(offset, WINDOW_BYTES)
        position = find_frame(data, parse, stream=stream, within=LONGEST_FRAME_BYTES)
        if position is None:
            continue
        seconds, walked = 0.0, position
        while (frame := parse(data, walked)) is not None and walked + frame.size_bytes <= len(data):
            seconds += frame.seconds
            walked += frame.size_bytes
        if walked > position:
            rates.append(seconds / (walked - position))
    return rates


def _walk(source: ByteSource, start: int, end: int, parse: ParseFrame) -> tuple[float, int]:
    """Count every frame; damage is skipped by searching for the next run of agreeing frames."""
    data = source.read_up_to(start, end - start)
    seconds, position, frames = 0.0, 0, 0
    searches = 0
    while position < len(data):
        frame = parse(data, position)
        if frame is None:
            searches += 1
            found = find_frame(data, parse, position + 1) if searches <= 200 else None
            if found is None:
                break
            position = found
            continue
        if position + frame.size_bytes > len(data):
            break
        seconds += frame.seconds
        position += frame.size_bytes
        frames += 1
    return seconds, frames


def _agrees(data: bytes, parse: ParseFrame, position: int, frame: Frame) -> bool:
    following = position + frame.size_bytes
    for _ in range(RESYNC_FRAMES - 1):
        if following >= len(data):
            return following == len(data)
        after = parse(data, following)
        if after is None or after.stream != frame.stream:
            return False
        following += after.size_bytes
    return True
