"""Settings of the whole suite."""

from __future__ import annotations

from hypothesis import settings

# No test fails for the clock: the suite runs on whatever machine is at hand, next to whatever runs there.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
