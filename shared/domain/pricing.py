"""What a transcription costs, from one small table that is data, not code (shared/pricing.toml)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

from shared.domain.options import Model, TranscriptionOptions
from shared.domain.reruns import RerunStage

SECONDS_PER_MINUTE = 60
NANODOLLARS = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of one job, copied into it at submit so that a later change of the table never alters it.

    ``per_minute_millicredits`` already holds the surcharges of the options chosen; the other two say how much of it
    they are.
    """

    per_minute_millicredits: int
    minimum_millicredits: int
    step_millicredits: int
    version: str
    diarization_per_minute_millicredits: int = 0
    summary_per_minute_millicredits: int = 0

    def charge(self, duration_seconds: float) -> int:
        """Milli-credits for so much audio: per minute pro rata, rounded up to the step, at least the minimum."""
        if duration_seconds <= 0:
            return 0
        exact = _pro_rata(self.per_minute_millicredits, duration_seconds)
        stepped = ceil(exact / self.step_millicredits) * self.step_millicredits
        return max(stepped, self.minimum_millicredits)

    def parts(self, duration_seconds: float, charged_millicredits: int) -> dict[str, int]:
        """What a charge is made of, in milli-credits; the parts add up to it.

        ``rounding`` is what the step and the minimum add (or what a short hold left unpaid, negative).
        """
        if charged_millicredits == 0:
            return {}
        surcharges = {
            "diarization": self.diarization_per_minute_millicredits,
            "summary": self.summary_per_minute_millicredits,
        }
        rates = {"transcription": self.per_minute_millicredits - sum(surcharges.values())} | surcharges
        parts = {name: int(_pro_rata(rate, duration_seconds)) for name, rate in rates.items() if rate}
        rounding = charged_millicredits - sum(parts.values())
        return parts | ({"rounding": rounding} if rounding else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """All prices, in milli-credits."""

    version: str
    models_per_minute_millicredits: Mapping[Model, int]
    diarization_per_minute_millicredits: int
    summary_per_minute_millicredits: int
    minimum_millicredits: int
    step_millicredits: int
    compute_nanodollars_per_second: Mapping[str, int] = field(default_factory=dict)  # by device

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> PriceTable:
        """Read the table as it stands in pricing.toml. Raises ValueError naming what is missing or wrong."""
        try:
            table = cls(
                version=str(data["version"]),
                models_per_minute_millicredits={model: int(data["models"][model.value]) for model in Model},
                diarization_per_minute_millicredits=int(data["surcharges"]["diarization"]),
                summary_per_minute_millicredits=int(data["surcharges"]["summary"]),
                minimum_millicredits=int(data["minimum"]),
                step_millicredits=int(data["step"]),
                compute_nanodollars_per_second={
                    device: round(float(dollars) * NANODOLLARS) for device, dollars in data.get("compute", {}).items()
                },
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the price table lacks or misspells {error}") from error
        amounts = [*table.models_per_minute_millicredits.values(), table.minimum_millicredits, table.step_millicredits]
        surcharges = [table.diarization_per_minute_millicredits, table.summary_per_minute_millicredits]
        surcharges += table.compute_nanodollars_per_second.values()
        if min(surcharges) < 0 or min(amounts) < 0 or table.step_millicredits < 1:
            raise ValueError("a price cannot be negative and the step must be at least 1 milli-credit")
        return table

    def price_of(self, options: TranscriptionOptions) -> Price:
        """The price of a job with these options."""
        per_minute = self.models_per_minute_millicredits[options.model]
        per_minute += self.diarization_per_minute_millicredits if options.diarization else 0
        per_minute += self.summary_per_minute_millicredits if options.summary else 0
        return Price(
            per_minute_millicredits=per_minute,
            minimum_millicredits=self.minimum_millicredits,
            step_millicredits=self.step_millicredits,
            version=self.version,
            diarization_per_minute_millicredits=self.diarization_per_minute_millicredits if options.diarization else 0,
            summary_per_minute_millicredits=self.summary_per_minute_millicredits if options.summary else 0,
        )

    def price_of_stage(self, stage: RerunStage) -> Price:
        """The price of a job that runs only this stage again: its surcharge, and nothing for the words."""
        diarization = self.diarization_per_minute_millicredits if stage is RerunStage.DIARIZATION else 0
        summary = self.summary_per_minute_millicredits if stage is RerunStage.SUMMARY else 0
        return Price(
            per_minute_millicredits=diarization + summary,
            minimum_millicredits=self.minimum_millicredits,
            step_millicredits=self.step_millicredits,
            version=self.version,
            diarization_per_minute_millicredits=diarization,
            summary_per_minute_millicredits=summary,
        )


def _pro_rata(per_minute_millicredits: int, duration_seconds: float) -> Fraction:
    # Fractions, not floats: 0.1 credits must never come from a rounding error.
    return Fraction(str(round(duration_seconds, 3))) * per_minute_millicredits / SECONDS_PER_MINUTE
