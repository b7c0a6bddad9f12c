"""A GPU's driver, played by a script in the path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gpu_jobs.devices import compute_device


@contextmanager
def driver(folder: Path, script: str) -> Iterator[None]:
    """Inside, this process asks the ``script`` what it computes on, as if for the first time."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    compute_device.cache_clear()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PATH", str(folder), prepend=os.pathsep)
        try:
            yield
        finally:
            compute_device.cache_clear()
