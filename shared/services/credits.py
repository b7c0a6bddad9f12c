"""Credits: every change of a balance, posted with what it pays for in one transaction."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from shared.adapters.dynamodb.credits import BalanceMoved, LedgerStore, Standing
from shared.adapters.dynamodb.transactions import TooMuchContention, Write
from shared.domain import credits as ledger
from shared.domain.credits import Balance, Entry, LedgerChange, Overdrawn, Posting, Verified
from shared.domain.errors import InsufficientCredits, RateLimited
from shared.domain.ids import AccountId, EntryId
from shared.domain.limits import Pace

POST_SECONDS = 15.0  # half of what API Gateway gives a request
BACKOFF_SECONDS = 0.1
HINTS_SIZE = 10_000
RECENT_SECONDS = 30.0  # as long as a key may be remembered
LOCKS = 64

Plan = Callable[[Balance], LedgerChange]
Pacer = Callable[[Standing], Pace]


class Credits:
    """The one way to change a balance.

    The account as this process last saw it is kept as a hint: a change computed from it needs no read, and when it is
    out of date the refused transaction brings the current one back (ALL_OLD) for the next try. Threads of one process
    take turns on an account, so that they do not refuse each other's hints.
    """

    def __init__(self, store: LedgerStore, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._hints: dict[AccountId, Standing] = {}
        self._read_at: dict[AccountId, float] = {}
        self._locks = [threading.Lock() for _ in range(LOCKS)]

    def balance(self, account_id: AccountId) -> Balance:
        """The balance now. Raises NotFound."""
        return self.standing(account_id).balance

    def standing(self, account_id: AccountId) -> Standing:
        """The balance and the pace now. Raises NotFound."""
        return self._remember(self._store.standing(account_id), read=True)

    def recent(self, account_id: AccountId) -> Standing:
        """The account with settings no older than RECENT_SECONDS. Raises NotFound."""
        hint = self._hints.get(account_id)
        if hint is None or time.monotonic() - self._read_at.get(account_id, -math.inf) > RECENT_SECONDS:
            return self.standing(account_id)
        return hint

    def last_seen(self, account_id: AccountId) -> Standing:
        """The account as this process last saw it, read only if it never did; good enough to refuse early."""
        return self._hints.get(account_id) or self.standing(account_id)

    def grant(self, account_id: AccountId, amount_millicredits: int, *, entry_id: str, note: str = "") -> Balance:
        """Add credits. The same ``entry_id`` again raises AlreadyPosted and changes nothing."""
        posting = Posting(entry_id=EntryId(entry_id), at=self._now(), note=note)
        return self.post(account_id, lambda balance: ledger.grant(balance, amount_millicredits, posting)).balance

    def expire(self, account_id: AccountId, amount_millicredits: int, *, entry_id: str, note: str = "") -> Balance:
        """Take unused credits back, at most what is available. Like ``grant`` for the same ``entry_id`` again."""
        posting = Posting(entry_id=EntryId(entry_id), at=self._now(), note=note)
        return self.post(account_id, lambda balance: ledger.expire(balance, amount_millicredits, posting)).balance

    def post(
        self, account_id: AccountId, plan: Plan | None, also: tuple[Write, ...] = (), pacer: Pacer | None = None
    ) -> Standing:
        """Post what ``plan`` makes of the balance (None: nothing), together with ``also``; the account afterwards.

        ``pacer`` takes one submission out of the account's bucket in the same write. Raises what plan and pacer raise
        (InsufficientCredits, Overdrawn and RateLimited only about a fresh account), AlreadyPosted for a replay,
        Refused when a write of ``also`` is refused, TooMuchContention when the balance would not hold still.
        """
        give_up_at = time.monotonic() + POST_SECONDS
        with self._turn(account_id, give_up_at):
            hint = self._hints.get(account_id)
            before, moved_times = hint or self.standing(account_id), 0
            while True:
                try:
                    change = plan(before.balance) if plan else None
                    paced_until = pacer(before).paced_until if pacer else before.paced_until
                    balance = change.after if change else before.balance
                    after = replace(before, balance=balance, paced_until=paced_until)
                    self._store.post(before, change.entry if change else None, after, also)
                except (InsufficientCredits, Overdrawn, RateLimited):
                    if before is not hint:
                        raise
                    before = self.standing(account_id)  # the hint may be out of date
                except BalanceMoved as moved:
                    before, moved_times = self._remember(moved.current, read=True), moved_times + 1
                    _back_off(account_id, moved_times, give_up_at)
                else:
                    return self._remember(after)

    def verify(self, account_id: AccountId) -> Verified:
        """Re-compute the account's balance and chain. Raises LedgerMismatch.

        The balance is read first: every entry up to its sequence stood in the ledger by then and never changes, so
        entries of changes that went on meanwhile are simply left out.
        """
        balance = self._store.standing(account_id).balance
        return ledger.verify(
            balance, (entry for entry in self._store.entries(account_id) if entry.sequence <= balance.sequence)
        )

    def account_ids(self) -> set[AccountId]:
        """Every account that has a ledger. For the operator: it reads the whole table."""
        return self._store.account_ids()

    def page(self, account_id: AccountId, *, below: int | None, limit: int) -> list[Entry]:
        """Up to ``limit`` entries, newest first, with a sequence below ``below`` (None: from the newest)."""
        return self._store.page(account_id, below=below, limit=limit)

    @contextmanager
    def _turn(self, account_id: AccountId, give_up_at: float) -> Iterator[None]:
        lock = self._locks[hash(account_id) % LOCKS]
        if not lock.acquire(timeout=max(0.0, give_up_at - time.monotonic())):
            raise TooMuchContention(f"other changes of {account_id} in this process took longer than we wait")
        try:
            yield
        finally:
            lock.release()

    def _remember(self, standing: Standing, *, read: bool = False) -> Standing:
        if len(self._hints) >= HINTS_SIZE:
            self._hints.clear()
            self._read_at.clear()
        if read:
            self._read_at[standing.balance.account_id] = time.monotonic()
        self._hints[standing.balance.account_id] = standing
        return standing


def _back_off(account_id: AccountId, moved_times: int, give_up_at: float) -> None:
    """Wait a little (full jitter) before the next try; each lost try means that somebody else's change went through.

    The more often a change has lost the less it waits: with the growing waits of exponential backoff newcomers would
    overtake it for ever. Nothing can pile up, since of all that try at once one always wins.
    """
    if moved_times == 1:
        return  # an old hint, most likely
    pause = random.uniform(0, BACKOFF_SECONDS / moved_times)  # noqa: S311 - jitter, not a secret
    if time.monotonic() + pause > give_up_at:
        raise TooMuchContention(f"the balance of {account_id} changed {moved_times} times in a row under this change")
    time.sleep(pause)
