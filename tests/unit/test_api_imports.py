"""What the API must not import when it starts: each costs every cold start, and most requests need none of it."""

from __future__ import annotations

import json
import subprocess
import sys

LATE = ("shared.adapters.probing.probe", "shared.adapters.downloads", "shared.services.drops", "yt_dlp", "av", "numpy")


def test_the_api_starts_without_probe_downloads_and_decoders() -> None:
    code = "import json, sys; import functions.api.app; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not set(LATE) & set(json.loads(done.stdout))
