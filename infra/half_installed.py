"""Names installed packages of which a file is missing, as pip takes them: ``python half_installed.py [SITE_PACKAGES]``.

An installation that was cut off (Ctrl-C, a full disk) leaves such packages, and pip takes them for whole ever after.
"""

from __future__ import annotations

import sys
import sysconfig
from importlib.metadata import Distribution
from pathlib import Path


def half_installed(site_packages: Path) -> list[str]:
    """``name==version`` of each, in order. Its list of files (RECORD) is the last thing that pip writes."""
    found = []
    for folder in sorted(site_packages.glob("*.dist-info")):
        files = Distribution.at(folder).files
        if not files or not all(Path(file.locate()).exists() for file in files):
            found.append(folder.name.removesuffix(".dist-info").replace("-", "==", 1))
    return found


if __name__ == "__main__":
    print(*half_installed(Path(sys.argv[1] if len(sys.argv) > 1 else sysconfig.get_path("purelib"))), sep="\n")
