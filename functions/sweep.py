"""SweepFunction: every minute, mends what a crash left; once an hour, audits a part of the ledgers."""

from __future__ import annotations

from functions import startup  # isort: skip - before everything else

import logging
from typing import Any

from functions import runtime
from functions.tracing import traced
from shared import logs
from shared.adapters.system import utc_now

logs.configure("sweep")
logger = logging.getLogger(__name__)

AUDIT_MINUTE = 17  # the sweep of this minute also audits; not the full hour, at which everybody does everything
# Both stop early enough not to be cut off: one long ledger takes seconds. The sweep leaves time for the audit.
SWEEP_LEAVES_MS = 30_000
AUDIT_LEAVES_MS = 15_000


@traced
def handler(_event: object, context: Any) -> dict[str, Any]:
    """One sweep; the answer counts what was mended and, in its minute, audited."""
    services = runtime.services()
    left_ms = context.get_remaining_time_in_millis
    repairs = dict(services.sweeps.run(has_time=lambda: left_ms() > SWEEP_LEAVES_MS).repairs)
    if repairs.keys() - {"nothing"}:
        logger.info("swept", extra={"repairs": repairs})
    answer: dict[str, Any] = {"repairs": repairs}
    now = utc_now()
    if now.minute == AUDIT_MINUTE:
        report = services.audits.run(now.hour, has_time=lambda: left_ms() > AUDIT_LEAVES_MS)
        logger.info("audited", extra={"accounts": report.verified, "mismatches": len(report.mismatched)})
        answer["audited"] = report.verified
    return answer


startup.finished()
