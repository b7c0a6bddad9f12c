"""A lid on what this process may allocate while it takes a stranger's file apart.

A few kilobytes can ask a decoder for gigabytes: an MP4's index is as long as its header says. What goes over the lid
fails like any allocation that fails, and everything else in the process goes on.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

STATUS = Path("/proc/self/status")


@contextlib.contextmanager
def memory_lid(more_bytes: int) -> Iterator[None]:
    """Within the block this process may allocate so much more than it has; mapped files do not count.

    Where the kernel does not say how much that is (it is Linux's to say), there is no lid.
    """
    allocated = _allocated_bytes()
    if allocated is None:
        yield
        return
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    lid = min([allocated + more_bytes, *(limit for limit in (before, hard) if limit != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_DATA, (lid, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


def _allocated_bytes() -> int | None:
    """What the kernel counts against RLIMIT_DATA."""
    with contextlib.suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return None
