"""Credits: an append-only, hash-chained ledger in integer milli-credits.

    grant  +a available                      expire  -a available
    hold   available → held                  settle  held → spent (≤ hold), the rest back to available
                                             release held → available

Each function takes the balance before and returns the balance after with the entry that explains it; nothing here
reads a clock or a table. For every account, always: ``available + held == Σ entry.amount_millicredits``.
The shape (pending, then post or void, as new entries that name the pending one) follows TigerBeetle's two-phase
transfers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from shared.domain.amounts import format_credits
from shared.domain.errors import InsufficientCredits
from shared.domain.ids import AccountId, EntryId, JobId

GENESIS_HASH = "0" * 64
LIMIT_MILLICREDITS = 10**15  # a thousand billion credits: anything above is a mistake


class EntryKind(StrEnum):
    """What an entry does."""

    GRANT = "grant"
    EXPIRE = "expire"
    HOLD = "hold"
    SETTLE = "settle"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What an account has. ``sequence`` counts its entries; ``last_hash`` is the hash of the newest one."""

    account_id: AccountId
    available_millicredits: int = 0
    held_millicredits: int = 0
    sequence: int = 0
    last_hash: str = GENESIS_HASH


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One immutable line of the ledger.

    ``amount_millicredits`` is the change of available + held (0 for hold and release). ``resolves`` names the holds
    that a settle or a release ends. ``entry_hash`` covers every other field, ``previous_hash`` included.
    """

    account_id: AccountId
    entry_id: EntryId
    sequence: int
    kind: EntryKind
    amount_millicredits: int
    available_before_millicredits: int
    held_before_millicredits: int
    available_after_millicredits: int
    held_after_millicredits: int
    at: datetime
    previous_hash: str
    job_id: JobId | None = None
    key_id: str | None = None
    resolves: tuple[EntryId, ...] = ()
    note: str = ""
    entry_hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """What an entry is called and what it is about; the id makes a replay recognisable."""

    entry_id: EntryId
    at: datetime
    job_id: JobId | None = None
    key_id: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerChange:
    """A balance, the next balance and the entry between them: to be written in one transaction."""

    before: Balance
    after: Balance
    entry: Entry


class Overdrawn(Exception):
    """A change would make a balance negative: what it resolves was resolved before, or the balance is out of date."""


class LedgerMismatch(Exception):
    """The ledger does not add up; the message says where."""


def grant(balance: Balance, amount_millicredits: int, posting: Posting) -> LedgerChange:
    """Add credits. Raises ValueError for an amount that is not positive, or that makes the account absurdly rich."""
    _check_positive(amount_millicredits)
    if balance.available_millicredits + balance.held_millicredits + amount_millicredits > LIMIT_MILLICREDITS:
        raise ValueError(f"an account has at most {format_credits(LIMIT_MILLICREDITS)} credits")
    return _post(balance, EntryKind.GRANT, (amount_millicredits, 0), posting)


def expire(balance: Balance, amount_millicredits: int, posting: Posting) -> LedgerChange:
    """Take unused credits back, at most what is available."""
    _check_positive(amount_millicredits)
    taken = min(amount_millicredits, balance.available_millicredits)
    return _post(balance, EntryKind.EXPIRE, (-taken, 0), posting)


def hold(balance: Balance, amount_millicredits: int, posting: Posting) -> LedgerChange:
    """Set credits aside for a job. Raises InsufficientCredits when the account has less."""
    if amount_millicredits < 0:
        raise ValueError("a hold cannot be negative")
    if amount_millicredits > balance.available_millicredits:
        raise InsufficientCredits(
            available_millicredits=balance.available_millicredits, required_millicredits=amount_millicredits
        )
    return _post(balance, EntryKind.HOLD, (-amount_millicredits, amount_millicredits), posting)


def settle(
    balance: Balance, *, held_millicredits: int, used_millicredits: int, resolves: tuple[EntryId, ...], posting: Posting
) -> LedgerChange:
    """Spend ``used`` (≤ ``held``) of the holds named and give the rest back."""
    if not 0 <= used_millicredits <= held_millicredits:
        raise ValueError(f"cannot settle {used_millicredits} of a hold of {held_millicredits} milli-credits")
    delta = (held_millicredits - used_millicredits, -held_millicredits)
    return _post(balance, EntryKind.SETTLE, delta, posting, resolves)


def release(
    balance: Balance, *, held_millicredits: int, resolves: tuple[EntryId, ...], posting: Posting
) -> LedgerChange:
    """Give the holds named back whole."""
    return _post(balance, EntryKind.RELEASE, (held_millicredits, -held_millicredits), posting, resolves)


def hash_of(entry: Entry) -> str:
    """SHA-256 over every field of the entry but the hash itself, as canonical JSON."""
    content = [
        entry.account_id,
        entry.entry_id,
        entry.sequence,
        entry.kind.value,
        entry.amount_millicredits,
        entry.available_before_millicredits,
        entry.held_before_millicredits,
        entry.available_after_millicredits,
        entry.held_after_millicredits,
        entry.at.isoformat(),
        entry.previous_hash,
        entry.job_id,
        entry.key_id,
        list(entry.resolves),
        entry.note,
    ]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A ledger that adds up: how many entries it has and which holds are open, as entry id → milli-credits."""

    entries: int
    open_holds: dict[EntryId, int]


def verify(balance: Balance, entries: Iterable[Entry]) -> Verified:
    """Re-compute an account's chain from its entries in any order.

    Raises LedgerMismatch at the first entry whose number, hash, arithmetic or resolution is wrong, or when the
    balance is not what the last entry says.
    """
    current = Balance(account_id=balance.account_id)
    open_holds: dict[EntryId, int] = {}
    count = 0
    for entry in sorted(entries, key=lambda e: e.sequence):
        _verify_entry(current, entry)
        _verify_kind(entry)
        _verify_holds(open_holds, entry)
        current = _after(current, entry)
        count += 1
    if current != balance:
        raise LedgerMismatch(f"{balance.account_id}: the balance {balance} is not what its entries add up to {current}")
    if sum(open_holds.values()) != balance.held_millicredits:
        raise LedgerMismatch(f"{balance.account_id}: open holds do not add up to what is held")
    return Verified(entries=count, open_holds=open_holds)


def _check_positive(amount_millicredits: int) -> None:
    if not 0 < amount_millicredits <= LIMIT_MILLICREDITS:
        raise ValueError(f"an amount of 1 to {LIMIT_MILLICREDITS} milli-credits, not {amount_millicredits}")


def _post(
    balance: Balance,
    kind: EntryKind,
    delta: tuple[int, int],
    posting: Posting,
    resolves: tuple[EntryId, ...] = (),
) -> LedgerChange:
    available = balance.available_millicredits + delta[0]
    held = balance.held_millicredits + delta[1]
    if available < 0 or held < 0:
        raise Overdrawn(f"{kind} would make a balance negative: available {available}, held {held}")
    unhashed = Entry(
        account_id=balance.account_id,
        entry_id=posting.entry_id,
        sequence=balance.sequence + 1,
        kind=kind,
        amount_millicredits=sum(delta),
        available_before_millicredits=balance.available_millicredits,
        held_before_millicredits=balance.held_millicredits,
        available_after_millicredits=available,
        held_after_millicredits=held,
        at=posting.at,
        previous_hash=balance.last_hash,
        job_id=posting.job_id,
        key_id=posting.key_id,
        resolves=resolves,
        note=posting.note,
    )
    entry = replace(unhashed, entry_hash=hash_of(unhashed))
    return LedgerChange(before=balance, after=_after(balance, entry), entry=entry)


def _after(balance: Balance, entry: Entry) -> Balance:
    return Balance(
        account_id=balance.account_id,
        available_millicredits=entry.available_after_millicredits,
        held_millicredits=entry.held_after_millicredits,
        sequence=entry.sequence,
        last_hash=entry.entry_hash,
    )


def _verify_entry(before: Balance, entry: Entry) -> None:
    name = f"{entry.account_id} entry {entry.sequence} ({entry.entry_id})"
    if entry.sequence != before.sequence + 1:
        raise LedgerMismatch(f"{name}: entry {before.sequence + 1} is missing")
    if entry.previous_hash != before.last_hash or entry.entry_hash != hash_of(entry):
        raise LedgerMismatch(f"{name}: the hash chain is broken")
    started = (entry.available_before_millicredits, entry.held_before_millicredits)
    if started != (before.available_millicredits, before.held_millicredits):
        raise LedgerMismatch(f"{name}: does not start from the balance before it")
    change = entry.available_after_millicredits + entry.held_after_millicredits - sum(started)
    if change != entry.amount_millicredits:
        raise LedgerMismatch(f"{name}: the amount is not the change of the balance")
    if entry.available_after_millicredits < 0 or entry.held_after_millicredits < 0:
        raise LedgerMismatch(f"{name}: a balance is negative")


def _verify_kind(entry: Entry) -> None:
    """An entry may only move credits the way its kind does, whoever computed its hash."""
    available = entry.available_after_millicredits - entry.available_before_millicredits
    held = entry.held_after_millicredits - entry.held_before_millicredits
    allowed = {
        EntryKind.GRANT: available > 0 and held == 0,
        EntryKind.EXPIRE: available <= 0 and held == 0,
        EntryKind.HOLD: held >= 0 and available == -held,
        EntryKind.SETTLE: held <= 0 and 0 <= available <= -held,
        EntryKind.RELEASE: held <= 0 and available == -held,
    }
    if not allowed[entry.kind]:
        raise LedgerMismatch(f"{entry.account_id} entry {entry.sequence}: not what a {entry.kind} may do")


def _verify_holds(open_holds: dict[EntryId, int], entry: Entry) -> None:
    if entry.kind is EntryKind.HOLD:
        open_holds[entry.entry_id] = entry.held_after_millicredits - entry.held_before_millicredits
    if entry.kind in {EntryKind.SETTLE, EntryKind.RELEASE}:
        missing = [entry_id for entry_id in entry.resolves if entry_id not in open_holds]
        resolved = sum(open_holds.pop(entry_id, 0) for entry_id in entry.resolves)
        if missing or resolved != entry.held_before_millicredits - entry.held_after_millicredits:
            raise LedgerMismatch(f"{entry.account_id} entry {entry.sequence}: resolves holds that are not open")
