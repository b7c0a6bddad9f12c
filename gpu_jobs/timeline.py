"""Keeps a recording in step with its player: what the times of its frames leave out is silence.

Calls leave out what was muted or lost on the way, damage leaves a hole, and a video's sound may begin after its
pictures. Only decoded samples count otherwise: times that run backwards, or overlap, change nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

AV_TIME_BASE = 1_000_000  # FFmpeg's: a container's own times are in microseconds

GAP_SECONDS = 0.1
"""Less is how exactly containers keep time; nobody sees a subtitle come so much too early."""

DISCONTINUITY_SECONDS = 10.0
"""Where a format's times may begin anew, as in broadcasts, a longer jump is that. Source: ffmpeg's own threshold."""


@dataclass(slots=True, kw_only=True)
class Timeline:
    """Where in the recording its next frame belongs.

    No gap is filled that is longer than ``longest_gap_seconds``, or with which there would be more than
    ``lasts_seconds`` in all.
    """

    begins_seconds: float
    lasts_seconds: float
    longest_gap_seconds: float
    _passed_seconds: float = 0.0
    _frame_ends_seconds: float | None = None

    @classmethod
    def of(cls, container: Any, lasts_seconds: float) -> Timeline:
        """The one of an open container."""
        from av.format import Flags

        may_begin_anew = container.format.flags & Flags.ts_discont.value
        return cls(
            begins_seconds=(container.start_time or 0) / AV_TIME_BASE,
            lasts_seconds=lasts_seconds,
            longest_gap_seconds=DISCONTINUITY_SECONDS if may_begin_anew else math.inf,
        )

    def gap_before(self, frame: Any) -> float:
        """Seconds of silence between the frame before and this one, frames given in order; nearly always 0."""
        length = frame.samples / frame.sample_rate
        gap = 0.0
        if frame.time is not None:
            at = frame.time - self.begins_seconds
            jump = at if self._frame_ends_seconds is None else at - self._frame_ends_seconds
            gap = min(jump, at - self._passed_seconds)  # not for jitter: it comes back
            is_gap = GAP_SECONDS <= gap <= self.longest_gap_seconds
            if not is_gap or self._passed_seconds + gap + length > self.lasts_seconds + GAP_SECONDS:
                gap = 0.0
            self._frame_ends_seconds = at
        self._frame_ends_seconds = (self._frame_ends_seconds or 0.0) + length
        self._passed_seconds += gap + length
        return gap
