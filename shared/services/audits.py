"""Audits: every account's ledger is re-computed once a day, a slice of the accounts each hour."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

from shared.domain.credits import LedgerMismatch
from shared.domain.ids import AccountId, EntryId, JobId
from shared.services.accounts import Accounts
from shared.services.credits import Credits
from shared.services.jobs import Jobs

logger = logging.getLogger(__name__)

SLICES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What one audit found. ``unfinished`` accounts were left out because time ran out."""

    verified: int
    mismatched: tuple[AccountId, ...]
    unfinished: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a look at one account's ledger found. ``problem`` is empty when it adds up."""

    account_id: AccountId
    entries: int = 0
    open_holds: int = 0
    problem: str = ""


class Audits:
    """Re-computes ledgers."""

    def __init__(self, accounts: Accounts, credits_service: Credits, jobs: Jobs) -> None:
        self._accounts = accounts
        self._credits = credits_service
        self._jobs = jobs

    def verify(self, account_id: AccountId) -> Finding:
        """Re-compute the account's balance and chain, and look for credits held for jobs that have ended."""
        try:
            verified = self._credits.verify(account_id)
            forgotten = [entry_id for entry_id in verified.open_holds if not self._is_needed(entry_id)]
            if forgotten:
                # Read again: a job may have ended between the two reads, which is no mismatch.
                still_open = self._credits.verify(account_id).open_holds
                forgotten = [entry_id for entry_id in forgotten if entry_id in still_open]
        except LedgerMismatch as mismatch:
            return Finding(account_id=account_id, problem=str(mismatch))
        return Finding(
            account_id=account_id,
            entries=verified.entries,
            open_holds=len(verified.open_holds),
            problem=f"{forgotten[0]} is held for a job that no longer needs it" if forgotten else "",
        )

    def strays(self) -> list[Finding]:
        """Ledgers whose account is gone. It reads the whole ledger table."""
        missing = self._credits.account_ids() - {account.account_id for account in self._accounts.every()}
        # An account opened and funded while we looked is none of them.
        return [
            Finding(account_id=account_id, problem="there are entries but no account")
            for account_id in sorted(missing)
            if not self._accounts.exists(account_id)
        ]

    def _is_needed(self, entry_id: EntryId) -> bool:
        job_id, _, _ = entry_id.partition("#")
        job = self._jobs.look_up(JobId(job_id))
        return job is not None and entry_id in job.hold.entry_ids

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
            finding = self.verify(account_id)
            if finding.problem:
                logger.error("ledger_mismatch", extra={"account_id": account_id, "reason": finding.problem})
                mismatched.append(account_id)
            verified += 1
        if verified < len(due):
            logger.warning("audit_unfinished", extra={"accounts": len(due) - verified})
        return AuditReport(verified=verified, mismatched=tuple(mismatched), unfinished=len(due) - verified)


def slice_of(account_id: AccountId) -> int:
    """The hour at which this account's turn is: the same every day, and evenly spread."""
    return int.from_bytes(hashlib.sha256(account_id.encode()).digest()[:4]) % SLICES
