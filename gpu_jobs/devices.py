"""What this process computes on, by its name in the price table."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from functools import cache

logger = logging.getLogger(__name__)

ASKING_SECONDS = 20.0
UNKNOWN = "unknown"
MODELS = {name: name for name in ("T4", "L4", "A10", "L40S", "H100", "H200", "B200")} | {"A10G": "A10"}
IN_TWO_SIZES = "A100"  # of memory, at two prices


@cache
def compute_device() -> str:
    """The first GPU's name in the price table, or "cpu". Asks the driver once; one that fails leaves it "unknown"."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return "cpu"
    asked = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(asked, capture_output=True, timeout=ASKING_SECONDS, check=True)  # noqa: S603 - fixed words
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("device_unknown", extra={"error": type(error).__name__})
        return UNKNOWN
    return device_of(answer.stdout.decode(errors="replace"))


def device_of(names: str) -> str:
    """The price table's name for the first device that the driver names, or the driver's own for one of no price."""
    first = names.strip().partition("\n")[0].strip()
    words = re.findall(r"\w+", first)
    if IN_TWO_SIZES in words:
        memory = next((word for word in words if word.endswith("GB")), None)
        return f"{IN_TWO_SIZES}-{memory}" if memory else IN_TWO_SIZES
    own_name = first.removeprefix("NVIDIA ")
    return next((MODELS[word] for word in words if word in MODELS), own_name or UNKNOWN)
