"""Audits: every account's ledger is re-computed once a day, a slice of the accounts each hour."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from shared.domain.credits import LedgerMismatch
from shared.domain.ids import AccountId
from shared.services.accounts import Accounts
from shared.services.credits import Credits

logger = logging.getLogger(__name__)

SLICES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What one audit found. ``unfinished`` accounts were left out because time ran out."""

    verified: int
    mismatched: tuple[AccountId, ...]
    unfinished: int


class Audits:
    """Re-computes ledgers."""

    def __init__(self, accounts: Accounts, credits_service: Credits) -> None:
        self._accounts = accounts
        self._credits = credits_service

    def run(self, hour: int, *, has_time: Callable[[], bool]) -> AuditReport:
        """Verify the accounts whose turn it is at this hour of the day (0 to 23), while there is time.

        Each mismatch is logged as ``ledger_mismatch``, which raises an alarm; the others are still looked at.
        """
        due = [account.account_id for account in self._accounts.every() if slice_of(account.account_id) == hour]
        mismatched: list[AccountId] = []
        verified = 0
        for account_id in due:
            if not has_time():
                break
            try:
                self._credits.verify(account_id)
            except LedgerMismatch as mismatch:
                # TRY400: the trace would say nothing that the reason does not
                logger.error("ledger_mismatch", extra={"account_id": account_id, "reason": str(mismatch)})  # noqa: TRY400
                mismatched.append(account_id)
            verified += 1
        if verified < len(due):
            logger.warning("audit_unfinished", extra={"accounts": len(due) - verified})
        return AuditReport(verified=verified, mismatched=tuple(mismatched), unfinished=len(due) - verified)


def slice_of(account_id: AccountId) -> int:
    """The hour at which this account's turn is: the same every day, and evenly spread."""
    return int.from_bytes(hashlib.sha256(account_id.encode()).digest()[:4]) % SLICES
