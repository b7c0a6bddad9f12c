"""Receipts: what a completed job cost its payer, and what its machine time cost the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.domain.amounts import to_credits
from shared.domain.jobs import ComputeUse, Job
from shared.domain.pricing import NANODOLLARS

if TYPE_CHECKING:
    from shared.domain.transcripts import Engines

DOLLAR_DIGITS = 9


def receipt_view(job: Job, engines: Engines) -> dict[str, Any]:
    """The receipt as the wire shows it: credits by part, audio seconds, price list, engine, compute at its price."""
    outcome = job.outcome
    used = outcome.used_millicredits if outcome else 0
    seconds = (outcome.duration_seconds if outcome else None) or 0.0
    compute = outcome.compute if outcome else ()
    return {
        "credits": to_credits(used),
        "credits_by_part": {part: to_credits(amount) for part, amount in job.price.parts(seconds, used).items()},
        "audio_seconds": round(seconds, 3),
        "price_version": job.price.version,
        "engine": engines.transcriber,
        "compute": [_compute_view(use) for use in compute],
        "compute_seconds": round(sum(use.seconds for use in compute), 3),
        "compute_cost_usd": round(sum(_cost(use) for use in compute), DOLLAR_DIGITS),
        "reused_from": job.reused_from,
        "rerun_of": job.rerun.of if job.rerun else None,
    }


def _compute_view(use: ComputeUse) -> dict[str, Any]:
    return {
        "part": use.part,
        "device": use.device,
        "seconds": round(use.seconds, 3),
        "usd_per_second": use.nanodollars_per_second / NANODOLLARS,
        "cost_usd": round(_cost(use), DOLLAR_DIGITS),
    }


def _cost(use: ComputeUse) -> float:
    return use.seconds * use.nanodollars_per_second / NANODOLLARS
