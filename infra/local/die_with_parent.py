"""Runs a command that dies when its parent does, even by SIGKILL: ``python die_with_parent.py PARENT_PID command...``

A script, not a module: it must start fast and import nothing of ours. On Linux it asks the kernel (the wish survives
exec) and becomes the command. Elsewhere it stays, watches its parent, and ends the command's process group.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Become the command, or watch over it."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            return 1
        os.execv(command[0], command)  # noqa: S606 - the command is our own
    return _watch(parent, command)  # type: ignore[unreachable] # mypy runs on Linux


def _watch(parent: int, command: list[str]) -> int:
    child = subprocess.Popen(command)  # noqa: S603 - the command is our own
    while child.poll() is None:
        if os.getppid() != parent:
            os.killpg(0, signal.SIGKILL)  # we lead the group our parent started us in
        time.sleep(0.25)
    return child.returncode


if __name__ == "__main__":
    sys.exit(main())
