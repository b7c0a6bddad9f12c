"""Keeps a recording in step with its player: what the times of its frames leave out is silence.

Calls leave out what was muted or lost on the way, damage leaves a hole, and a video's sound may begin after its
pictures. Only decoded samples count otherwise: times that run backwards, or overlap, change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GAP_SECONDS = 0.1
"""Less is how exactly containers keep time; nobody sees a subtitle come so much too early."""


@dataclass(slots=True, kw_only=True)
class Timeline:
    """Where in the recording its next frame belongs. No gap is filled beyond ``lasts_seconds`` in all."""

    begins_seconds: float
    lasts_seconds: float
    _passed_seconds: float = 0.0
    _frame_ends_seconds: float | None = None

    def gap_before(self, frame: Any) -> float:
        """Seconds of silence between the frame before and this one, frames given in order; nearly always 0."""
        length = frame.samples / frame.sample_rate
        gap = 0.0
        if frame.time is not None:
            at = frame.time - self.begins_seconds
            jump = at if self._frame_ends_seconds is None else at - self._frame_ends_seconds
            gap = min(jump, at - self._passed_seconds)  # not for jitter: it comes back
            if gap < GAP_SECONDS or self._passed_seconds + gap + length > self.lasts_seconds + GAP_SECONDS:
                gap = 0.0
            self._frame_ends_seconds = at
        self._frame_ends_seconds = (self._frame_ends_seconds or 0.0) + length
        self._passed_seconds += gap + length
        return gap
