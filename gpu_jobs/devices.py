"""What this process computes on, by its name in the price table."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache

NAMES = {"A100-SXM4-80GB": "A100-80GB", "A100 80GB": "A100-80GB", "H100": "H100", "H200": "H200"}
NAMES |= {"L40S": "L40S", "L4": "L4", "A10": "A10", "T4": "T4"}


@cache
def compute_device() -> str:
    """The first GPU's name in the price table, or "cpu"."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "cpu"
    asked = [program, "--query-gpu=name", "--format=csv,noheader"]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - fixed words
    return device_of(answer.stdout)


def device_of(name: str) -> str:
    """The price table's name for what the driver calls the device; "cpu" for none it knows."""
    return next((ours for theirs, ours in NAMES.items() if theirs in name), "cpu")
