"""Sweeps: every minute, mend what a crash left - unsent messages, lost leases, unpublished events."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest

from shared.adapters.dynamodb.jobs import JobMoved
from shared.adapters.dynamodb.transactions import TooMuchContention
from shared.adapters.eventbridge import EventRefused
from shared.adapters.failures import AWS_FAILURES
from shared.domain.errors import Stale
from shared.domain.ids import JobId
from shared.domain.jobs import SWEEP_SHARDS
from shared.services.jobs import Jobs

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """How many jobs were mended, by what was done."""

    repairs: Counter[str] = field(default_factory=Counter)


class Sweeps:
    """The repair crew."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    def run(self, *, has_time: Callable[[], bool] = lambda: True) -> SweepReport:
        """Look once at every job that is due, while there is time; what is left is found by the next sweep.

        One job's trouble never keeps the others waiting, nor do a thousand jobs' that no sweep can mend.
        """
        report = SweepReport()
        for turn in zip_longest(*(self._jobs.due(str(shard)) for shard in range(SWEEP_SHARDS))):
            for job_id in filter(None, turn):
                if not has_time():
                    return report
                done = self._repair(job_id)
                report.repairs[done] += 1
                if done != "nothing":
                    logger.info("job_repaired", extra={"job_id": job_id, "repair": done})
        return report

    def _repair(self, job_id: JobId) -> str:
        try:
            return self._jobs.repair(job_id)
        except (Stale, JobMoved):
            return "nothing"  # somebody else was faster
        except (*AWS_FAILURES, EventRefused, TooMuchContention) as error:
            logger.warning("repair_failed", extra={"job_id": job_id, "error": type(error).__name__})
            return "failed_to_repair"
        except Exception:
            # A job that this version cannot read, written by a newer one, must not keep all others waiting.
            logger.exception("repair_broke_down", extra={"job_id": job_id})
            return "failed_to_repair"
