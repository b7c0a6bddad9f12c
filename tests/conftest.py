"""Settings of the whole suite."""

from __future__ import annotations

import signal

from hypothesis import settings

# No test fails for the clock: the suite runs on whatever machine is at hand, next to whatever runs there.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

# A shell starts what runs in the background with SIGINT ignored, nohup with SIGHUP; whom the tests start inherits that,
# and the tests are about somebody at a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
