"""Usage: what each key used on each day, counted in the same transactions that move the credits.

A job counts on the day it was submitted (UTC), even when it ends on another.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

from shared.domain.ids import KeyId


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDay:
    """One key on one day. ``committed_millicredits`` is spent plus still held: what a daily limit looks at."""

    day: date
    key_id: KeyId
    submitted: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    duration_seconds: float = 0.0
    spent_millicredits: int = 0
    committed_millicredits: int = 0

    @property
    def held_millicredits(self) -> int:
        """Set aside for jobs that have not ended."""
        return self.committed_millicredits - self.spent_millicredits


def usage_day(at: datetime) -> date:
    """The day a moment counts for."""
    return at.astimezone(UTC).date()
