"""Amounts of credits: integer milli-credits inside, credits on the wire and for people."""

from __future__ import annotations

MILLICREDITS_PER_CREDIT = 1_000


def to_credits(amount_millicredits: int) -> float:
    """Credits as the wire shows them: 5500 → 5.5."""
    return amount_millicredits / MILLICREDITS_PER_CREDIT


def format_credits(amount_millicredits: int) -> str:
    """Credits in a sentence, without needless zeros: 10000 → '10', 5500 → '5.5'."""
    return f"{to_credits(amount_millicredits):.3f}".rstrip("0").rstrip(".")
