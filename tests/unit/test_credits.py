"""The ledger's rules."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain import credits as ledger
from shared.domain.amounts import format_credits, to_credits
from shared.domain.credits import Balance, Entry, LedgerMismatch, Overdrawn, Posting
from shared.domain.errors import InsufficientCredits
from shared.domain.ids import AccountId, EntryId, JobId

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
EMPTY = Balance(account_id=AccountId("a"))


def posting(entry_id: str) -> Posting:
    return Posting(entry_id=EntryId(entry_id), at=AT, job_id=JobId("j"))


def a_worked_account() -> tuple[Balance, list[Entry]]:
    """Granted 10 credits, held 3, settled 2 of them, held 1 and released it."""
    granted = ledger.grant(EMPTY, 10_000, posting("g"))
    held = ledger.hold(granted.after, 3_000, posting("h1"))
    settled = ledger.settle(
        held.after,
        held_millicredits=3_000,
        used_millicredits=2_000,
        resolves=(EntryId("h1"),),
        posting=posting("s1"),
    )
    held_again = ledger.hold(settled.after, 1_000, posting("h2"))
    released = ledger.release(
        held_again.after, held_millicredits=1_000, resolves=(EntryId("h2"),), posting=posting("r2")
    )
    changes = [granted, held, settled, held_again, released]
    return released.after, [change.entry for change in changes]


def test_credits_held_settled_and_released_add_up() -> None:
    balance, entries = a_worked_account()

    assert (balance.available_millicredits, balance.held_millicredits) == (8_000, 0)
    assert sum(entry.amount_millicredits for entry in entries) == 8_000
    assert ledger.verify(balance, entries).entries == 5


def test_verify_does_not_care_in_which_order_the_entries_come() -> None:
    balance, entries = a_worked_account()
    assert ledger.verify(balance, reversed(entries)).entries == 5


@pytest.mark.parametrize("index", range(5))
@pytest.mark.parametrize(
    "change",
    [
        {"amount_millicredits": 1},
        {"note": "forged"},
        {"available_after_millicredits": 99_999},
        {"held_before_millicredits": 7},
        {"job_id": JobId("another")},
        {"resolves": (EntryId("x"),)},
        {"at": datetime(2020, 1, 1, tzinfo=UTC)},
    ],
)
def test_verify_finds_any_change_to_any_entry(index: int, change: dict[str, object]) -> None:
    balance, entries = a_worked_account()
    entries[index] = replace(entries[index], **change)  # type: ignore[arg-type]
    with pytest.raises(LedgerMismatch):
        ledger.verify(balance, entries)


@pytest.mark.parametrize("index", range(5))
def test_verify_finds_a_missing_entry(index: int) -> None:
    balance, entries = a_worked_account()
    del entries[index]
    with pytest.raises(LedgerMismatch):
        ledger.verify(balance, entries)


def test_verify_finds_a_balance_that_its_entries_do_not_explain() -> None:
    balance, entries = a_worked_account()
    with pytest.raises(LedgerMismatch, match="balance"):
        ledger.verify(replace(balance, available_millicredits=1_000_000), entries)


def test_verify_finds_a_hold_resolved_twice_even_when_every_hash_is_right() -> None:
    granted = ledger.grant(EMPTY, 10_000, posting("g"))
    first = ledger.hold(granted.after, 1_000, posting("h1"))
    second = ledger.hold(first.after, 1_000, posting("h2"))
    once = ledger.release(second.after, held_millicredits=1_000, resolves=(EntryId("h1"),), posting=posting("r1"))
    twice = ledger.release(once.after, held_millicredits=1_000, resolves=(EntryId("h1"),), posting=posting("r2"))
    entries = [change.entry for change in (granted, first, second, once, twice)]
    with pytest.raises(LedgerMismatch, match="not open"):
        ledger.verify(twice.after, entries)


def test_a_hold_above_what_is_available_says_both_amounts_in_the_contract_s_words() -> None:
    balance = ledger.grant(EMPTY, 10_000, posting("g")).after
    with pytest.raises(InsufficientCredits) as caught:
        ledger.hold(balance, 30_000, posting("h"))
    assert caught.value.message == "You have 10 credits remaining but this transcription requires 30 credits."


def test_settling_more_than_was_held_is_refused() -> None:
    balance = ledger.hold(ledger.grant(EMPTY, 5_000, posting("g")).after, 1_000, posting("h")).after
    with pytest.raises(ValueError, match="cannot settle"):
        ledger.settle(balance, held_millicredits=1_000, used_millicredits=1_001, resolves=(), posting=posting("s"))


def test_releasing_what_is_not_held_is_refused() -> None:
    balance = ledger.grant(EMPTY, 5_000, posting("g")).after
    with pytest.raises(Overdrawn):
        ledger.release(balance, held_millicredits=1_000, resolves=(EntryId("h"),), posting=posting("r"))


@pytest.mark.parametrize("amount", [0, -1, ledger.LIMIT_MILLICREDITS + 1])
def test_a_grant_must_be_a_positive_sane_amount(amount: int) -> None:
    with pytest.raises(ValueError, match="milli-credits"):
        ledger.grant(EMPTY, amount, posting("g"))


def test_expiry_takes_at_most_what_is_available() -> None:
    balance = ledger.grant(EMPTY, 5_000, posting("g")).after
    assert ledger.expire(balance, 9_000, posting("e")).after.available_millicredits == 0


@given(st.integers(min_value=0, max_value=10**12))
def test_credits_read_back_as_the_amount_they_show(amount: int) -> None:
    assert round(float(format_credits(amount)) * 1_000) == amount
    assert to_credits(amount) == float(format_credits(amount))
