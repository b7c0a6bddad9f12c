"""The product's worker with the stand-in engine: ``--worker-module tests.rehearsal.worker``."""

from __future__ import annotations

import sys

from gpu_jobs.pipeline import SpeechPipeline
from gpu_jobs.worker import main
from tests.rehearsal.engine import checksum_engines

LONGEST_PAUSE_SECONDS = 0.8

if __name__ == "__main__":
    sys.exit(main(lambda: SpeechPipeline(checksum_engines(longest_pause_seconds=LONGEST_PAUSE_SECONDS))))
