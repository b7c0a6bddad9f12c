"""A lid on what this process may allocate while it takes a stranger's file apart.

A few kilobytes can ask a decoder for gigabytes: an MP4's index is as long as its header says. What goes over the lid
fails like any allocation that fails, and everything else in the process goes on.
"""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def memory_lid(more_bytes: int) -> Iterator[None]:
    """Within the block this process may allocate so much more than it has; mapped files do not count. Linux only."""
    if sys.platform != "linux":
        yield
        return
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    lid = _allocated_bytes() + more_bytes
    if before != resource.RLIM_INFINITY:
        lid = min(lid, before)
    resource.setrlimit(resource.RLIMIT_DATA, (lid, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


def _allocated_bytes() -> int:
    """What the kernel counts against RLIMIT_DATA."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise OSError("the kernel does not say how much is allocated")
