"""A funded account to try the service with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from infra.local.aws import REGION, SECRET_KEY

CREDITS_MILLICREDITS: Final = 10_000_000  # 10,000 credits


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoAccount:
    """Who may call the local API. The key is shown to whoever started the stack, and is worth nothing elsewhere."""

    account_id: str
    api_key: str


def create(environment: Mapping[str, str], *, endpoint_url: str) -> DemoAccount | None:
    """Open the account through the product's own services; None for a template that has no accounts.

    ``environment`` are the stack's outputs as settings.
    """
    if "ACCOUNTS_TABLE" not in environment:
        return None
    # The product's AWS clients read the process environment; this process talks to nothing but its own stack.
    os.environ.update(
        AWS_ENDPOINT_URL=endpoint_url,
        AWS_DEFAULT_REGION=REGION,
        AWS_ACCESS_KEY_ID="demo-account",
        AWS_SECRET_ACCESS_KEY=SECRET_KEY,
    )
    from shared.bootstrap import bootstrap
    from shared.settings import Settings

    services = bootstrap(Settings.from_environment(environment))
    account = services.accounts.create("Demo")
    services.credits.grant(account.account_id, CREDITS_MILLICREDITS, entry_id="demo", note="local stack")
    _, secret = services.keys.create(account.account_id, "local stack")
    return DemoAccount(account_id=account.account_id, api_key=secret)
