"""Plans: how the work on a long recording is shared out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkPlan:
    """How the transcription was shared out, what that was expected to take and cost the operator, and what it took."""

    gpu: str
    gpus: int
    chunk_seconds: float
    expected_wall_seconds: float
    expected_cost_usd: float
    wall_seconds: float | None = None  # None: made before it was measured
