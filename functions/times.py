"""Times on the wire: RFC 3339, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo


def time_view(at: datetime | None) -> str | None:
    """A time as answers show it, to the millisecond."""
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_time(text: str, zone: tzinfo | None = None) -> datetime:
    """A time in UTC; where it names no zone, it is of ``zone``. Raises ValueError.

    The calendar has edges: 9999-12-31T23:59-10:00 is a time, but not one that UTC can write.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        if zone is None:
            raise ValueError("no time zone")
        at = at.replace(tzinfo=zone)
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("outside the calendar") from error
