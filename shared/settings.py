"""Settings: one frozen value from the environment, built once per process."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from shared.domain.pricing import PriceTable

_REQUIRED = (
    *("ACCOUNTS_TABLE", "API_KEYS_TABLE", "LEDGER_TABLE", "USAGE_TABLE", "REQUESTS_TABLE", "JOBS_TABLE"),
    *("BUCKET", "JOBS_QUEUE_URL", "EVENT_BUS"),
)
_REQUIRED_FOR_WEBHOOKS = ("DELIVERIES_QUEUE_URL", "WEBHOOK_ENDPOINTS_TABLE", "WEBHOOK_DELIVERIES_TABLE")
_RUNNERS = ("queue", "modal")


class SettingsError(Exception):
    """The environment is incomplete or wrong; the message lists everything at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a process of ours must know; in CamelCase the same names are outputs of the stack."""

    stage: str  # STAGE
    accounts_table: str
    api_keys_table: str
    ledger_table: str
    usage_table: str
    requests_table: str
    jobs_table: str
    bucket: str
    jobs_queue_url: str
    work_queue_url: str | None  # None with the modal runner
    deliveries_queue_url: str
    webhook_endpoints_table: str
    webhook_deliveries_table: str
    ingest_queue_url: str | None  # only the ingest function has it
    drop_grace_seconds: int  # DROP_GRACE_SECONDS: how long a dropped recording waits for its options
    event_bus: str
    runner: str  # RUNNER: queue | modal
    modal_app: str
    modal_token_secret_arn: str | None
    lease: timedelta  # LEASE_SECONDS
    result_retention: timedelta  # RESULT_RETENTION_DAYS
    allow_loopback_webhooks: bool
    submits_per_minute: int  # SUBMITS_PER_MINUTE; an account may have its own
    compute_device: str  # COMPUTE_DEVICE: a name of the price table's [compute], for receipts
    prices: PriceTable  # PRICING_FILE, else shared/pricing.toml

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read every setting. Raises SettingsError naming all that is missing or malformed."""
        problems = [f"{name} is not set" for name in (*_REQUIRED, *_REQUIRED_FOR_WEBHOOKS) if not environment.get(name)]
        runner = environment.get("RUNNER", "queue")
        if runner not in _RUNNERS:
            problems.append(f"RUNNER must be one of {', '.join(_RUNNERS)}, not {runner!r}")
        if runner == "queue" and not environment.get("WORK_QUEUE_URL"):
            problems.append("WORK_QUEUE_URL is not set (RUNNER=queue needs it)")
        lease_seconds = _whole_number(environment, "LEASE_SECONDS", 120, problems)
        retention_days = _whole_number(environment, "RESULT_RETENTION_DAYS", 365, problems)
        submits_per_minute = _whole_number(environment, "SUBMITS_PER_MINUTE", 600, problems)
        prices = _read_prices(environment.get("PRICING_FILE"), problems)
        if problems or prices is None:
            raise SettingsError("Settings: " + "; ".join(problems) + ".")
        return cls(
            stage=environment.get("STAGE", "dev"),
            accounts_table=environment["ACCOUNTS_TABLE"],
            api_keys_table=environment["API_KEYS_TABLE"],
            ledger_table=environment["LEDGER_TABLE"],
            usage_table=environment["USAGE_TABLE"],
            requests_table=environment["REQUESTS_TABLE"],
            jobs_table=environment["JOBS_TABLE"],
            bucket=environment["BUCKET"],
            jobs_queue_url=environment["JOBS_QUEUE_URL"],
            work_queue_url=environment.get("WORK_QUEUE_URL") or None,
            deliveries_queue_url=environment["DELIVERIES_QUEUE_URL"],
            webhook_endpoints_table=environment["WEBHOOK_ENDPOINTS_TABLE"],
            webhook_deliveries_table=environment["WEBHOOK_DELIVERIES_TABLE"],
            ingest_queue_url=environment.get("INGEST_QUEUE_URL") or None,
            drop_grace_seconds=_whole_number(environment, "DROP_GRACE_SECONDS", 10, problems),
            event_bus=environment["EVENT_BUS"],
            runner=runner,
            modal_app=environment.get("MODAL_APP", "audiototext"),
            modal_token_secret_arn=environment.get("MODAL_TOKEN_SECRET_ARN") or None,
            lease=timedelta(seconds=lease_seconds),
            result_retention=timedelta(days=retention_days),
            allow_loopback_webhooks=environment.get("ALLOW_LOOPBACK_WEBHOOKS", "false") == "true",
            submits_per_minute=submits_per_minute,
            compute_device=environment.get("COMPUTE_DEVICE", "local"),
            prices=prices,
        )


def _whole_number(environment: Mapping[str, str], name: str, default: int, problems: list[str]) -> int:
    text = environment.get(name) or str(default)
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        problems.append(f"{name} must be a whole number of at least 1, not {text!r}")
        return default
    return int(text)


def _read_prices(path: str | None, problems: list[str]) -> PriceTable | None:
    file = Path(path) if path else Path(__file__).with_name("pricing.toml")
    try:
        return PriceTable.from_mapping(tomllib.loads(file.read_text("utf-8")))
    except (OSError, ValueError) as error:
        problems.append(f"the price table {file}: {error}")
        return None
