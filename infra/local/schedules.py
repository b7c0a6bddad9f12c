"""EventBridge schedule expressions: ``rate(5 minutes)`` and ``cron(0 9 ? * MON-FRI *)``, in UTC. Pure.

Source: "Cron expressions reference" in the Amazon EventBridge user guide. ``L``, ``W`` and ``#`` are refused by name.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Final

_UNITS: Final = {"minute": 60, "hour": 3600, "day": 86400}
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_RANGES: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (1, 7), (1970, 2199))


class UnreadableSchedule(Exception):
    """The expression is not one EventBridge takes, or uses a letter not supported here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Every ``seconds`` from the moment the rule exists."""

    seconds: int

    def next_after(self, moment: dt.datetime) -> dt.datetime:
        """When it fires next."""
        return moment + dt.timedelta(seconds=self.seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """Fires at each minute whose parts are all in these sets."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 1 is Sunday
    years: frozenset[int]

    def next_after(self, moment: dt.datetime) -> dt.datetime:
        """The first whole minute after ``moment`` that matches. Raises UnreadableSchedule if there is none."""
        at = moment.replace(second=0, microsecond=0) + dt.timedelta(minutes=1)
        while at.year <= max(self.years):
            if not self._day_matches(at):
                at = at.replace(hour=0, minute=0) + dt.timedelta(days=1)
            elif at.hour not in self.hours:
                at = at.replace(minute=0) + dt.timedelta(hours=1)
            elif at.minute not in self.minutes:
                at += dt.timedelta(minutes=1)
            else:
                return at
        raise UnreadableSchedule("the schedule never fires again")

    def _day_matches(self, at: dt.datetime) -> bool:
        weekday = at.isoweekday() % 7 + 1
        return at.year in self.years and at.month in self.months and at.day in self.days and weekday in self.weekdays


def parse(expression: str) -> Rate | Cron:
    """The schedule for ``expression``. Raises UnreadableSchedule."""
    found = re.fullmatch(r"\s*(rate|cron)\((.*)\)\s*", expression)
    if found is None:
        raise UnreadableSchedule(f"{expression!r} is neither rate(...) nor cron(...)")
    return _rate(found[2]) if found[1] == "rate" else _cron(found[2])


def _rate(text: str) -> Rate:
    found = re.fullmatch(r"\s*(\d+)\s+(minute|hour|day)(s?)\s*", text)
    if found is None or int(found[1]) < 1 or (int(found[1]) == 1) == bool(found[3]):
        raise UnreadableSchedule(f"rate({text}): a positive number and minute, hour or day (plural above 1)")
    return Rate(seconds=int(found[1]) * _UNITS[found[2]])


def _cron(text: str) -> Cron:
    fields = text.upper().split()
    if len(fields) != 6:
        raise UnreadableSchedule(f"cron({text}): six fields are needed")
    if "?" not in (fields[2], fields[4]):
        raise UnreadableSchedule(f"cron({text}): day-of-month or day-of-week must be ?")
    for number, name in enumerate(_MONTHS, start=1):
        fields[3] = fields[3].replace(name, str(number))
    for number, name in enumerate(_DAYS, start=1):
        fields[4] = fields[4].replace(name, str(number))
    minutes, hours, days, months, weekdays, years = (
        _values(field, low, high) for field, (low, high) in zip(fields, _RANGES, strict=True)
    )
    return Cron(minutes=minutes, hours=hours, days=days, months=months, weekdays=weekdays, years=years)


def _values(field: str, low: int, high: int) -> frozenset[int]:
    values: set[int] = set()
    for part in field.split(","):
        found = re.fullmatch(r"(\*|\?|(\d+)(?:-(\d+))?)(?:/(\d+))?", part)
        if found is None:
            raise UnreadableSchedule(f"{part!r} in a cron expression is not supported here")
        step = int(found[4] or 1)
        start = low if found[2] is None else int(found[2])
        end = int(found[3]) if found[3] else high if found[2] is None or found[4] else start
        if step < 1 or not low <= start <= end <= high:
            raise UnreadableSchedule(f"{part!r} is outside {low}-{high}")
        values.update(range(start, end + 1, step))
    return frozenset(values)
