"""The folder through which a rehearsal tells every process what the weather is: faults, seed and time of day.

It is also the folder the stack takes its code from: links into the checkout, and a ``sitecustomize`` that Python
imports when a process starts, before any code of the product.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LINKED = ("functions", "gpu_jobs", "infra", "shared", "tests")
SITECUSTOMIZE = """\
from pathlib import Path

from tests.rehearsal import faults
from tests.rehearsal.weather import Weather

faults.install(Weather(Path(__file__).parent))
"""


@dataclass(frozen=True, slots=True)
class Weather:
    """What a process needs to know of it."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *, seed: int) -> Weather:
        """Lay out the folder."""
        for name in LINKED:
            (folder / name).symlink_to(REPOSITORY / name, target_is_directory=True)
        (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
        (folder / "seed").write_text(str(seed))
        (folder / "clock").write_text("0")
        (folder / "counts").touch()
        return cls(folder)

    def chance(self, name: str) -> random.Random:
        """Luck that is the same in every rehearsal of this seed, for the n-th process of this name."""
        number = 0
        while True:
            try:
                os.close(os.open(self.folder / f".{name}-{number}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                number += 1
            else:
                return random.Random(f"{(self.folder / 'seed').read_text()}:{name}:{number}")

    # ---- faults ----------------------------------------------------------------------------------------------------

    @property
    def is_calm(self) -> bool:
        """Whether nothing fails: before the storm and after it."""
        return not (self.folder / "storm").exists()

    def break_loose(self) -> None:
        """Let everything fail that can."""
        (self.folder / "storm").touch()

    def calm_down(self) -> None:
        """No more faults."""
        (self.folder / "storm").unlink()

    def count(self, what: str) -> None:
        """Note that something bad was done. One short write: the lines of many processes do not mix."""
        file = os.open(self.folder / "counts", os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, f"{what}\n".encode())
        finally:
            os.close(file)

    def counts(self) -> Counter[str]:
        """What was done, how often."""
        return Counter((self.folder / "counts").read_text().splitlines())

    # ---- time ------------------------------------------------------------------------------------------------------

    @property
    def offset_seconds(self) -> float:
        """How far the clocks of the stack are ahead of this machine's."""
        return float((self.folder / "clock").read_text())

    def now(self) -> datetime:
        """The time that the stack's processes see."""
        return datetime.now(UTC) + timedelta(seconds=self.offset_seconds)

    def jump(self, seconds: float) -> None:
        """Move every clock forward."""
        partial = self.folder / ".clock"
        partial.write_text(str(self.offset_seconds + seconds))
        partial.replace(self.folder / "clock")
