"""Every container, probed beside the truth: ``python -m tests.benchmarks.probing_table [SECONDS,SECONDS,…]``"""

from __future__ import annotations

import sys
import time

from shared.adapters.probing.probe import probe
from shared.adapters.probing.source import ByteSource
from tests.media_files import RECIPES, decoded_seconds, make

HEADS = {"length s": 10, "file bytes": 12, "decoded s": 11, "probed s": 11, "off %": 7, "read": 10, "ms": 7}


def main() -> int:
    """Print the table; 1 when anything is more than 1 % off."""
    lengths = [float(text) for text in (sys.argv[1] if len(sys.argv) > 1 else "5,60,600").split(",")]
    worst = 0.0
    heads = "".join(f"{head:>{width}}" for head, width in HEADS.items())
    print(f"{'container':20}{heads}")
    for name, recipe in RECIPES.items():
        for seconds in lengths:
            data = make(recipe, seconds)
            truth = decoded_seconds(data)
            source = ByteSource.of_bytes(data)
            began = time.perf_counter()
            found = probe(source).duration_seconds
            milliseconds = 1000 * (time.perf_counter() - began)
            off = 100.0 if found is None else 100 * abs(found - truth) / truth
            worst = max(worst, off)
            shown = "unknown" if found is None else f"{found:.3f}"
            print(
                f"{name:20} {seconds:9g} {len(data):11,} {truth:10.3f} {shown:>10} {off:6.2f} "
                f"{source.fetched_bytes:9,} {milliseconds:6.1f}"
            )
    return 0 if worst <= 1.0 else 1


if __name__ == "__main__":
    sys.exit(main())
