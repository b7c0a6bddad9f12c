"""Runs a command and tells what it left running: ``python leaves_nothing.py command...`` (Linux).

It adopts the orphans among the command's descendants, so none gets away. Exit status: the command's own, or 99 with
the command lines of what was left. SIGINT and SIGTERM are passed on to the command.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

LEFT_SOMETHING = 99
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_ENDING_SECONDS = 5.0  # a process that is being killed may still be seen for a moment


def main() -> int:
    """Run the command; the exit status."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    command = subprocess.Popen(sys.argv[1:])
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: command.send_signal(number))
    status = command.wait()
    deadline = time.monotonic() + _ENDING_SECONDS
    while (left := _children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        sys.stderr.write(f"left running: {Path(f'/proc/{pid}/cmdline').read_text()}\n".replace("\0", " "))
        os.kill(pid, signal.SIGKILL)
    return LEFT_SOMETHING if left else status


def _children() -> list[int]:
    """Ours that still run; those that ended are reaped on the way."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if pid == 0:
            tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
            return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


if __name__ == "__main__":
    sys.exit(main())
