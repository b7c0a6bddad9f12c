"""What each command does. Each takes the services and the parsed arguments and returns what is to be shown."""

from __future__ import annotations

import argparse
import uuid
from datetime import datetime
from typing import Any

from infra.admin.show import Shown
from shared.adapters import system
from shared.adapters.dynamodb.credits import AlreadyPosted
from shared.bootstrap import Services
from shared.domain.accounts import ALL_SCOPES, Account, ApiKey, Scope
from shared.domain.amounts import to_credits
from shared.domain.credits import Balance, Entry

KEPT_NOWHERE = "This key is shown once and stored nowhere: copy it now."


def create_account(services: Services, arguments: argparse.Namespace) -> Shown:
    """Open an account."""
    account = services.accounts.create(arguments.name)
    data = {"account_id": account.account_id, "name": account.name}
    return Shown(data=data, title="Account opened", rows=[data])


def list_accounts(services: Services, _arguments: argparse.Namespace) -> Shown:
    """Every account with its balance."""
    rows = [
        _account_row(account, services.credits.balance(account.account_id)) for account in services.accounts.every()
    ]
    return Shown(data=rows, title=_counted(len(rows), "account"), rows=rows)


def show_account(services: Services, arguments: argparse.Namespace) -> Shown:
    """One account with its balance."""
    account = services.accounts.get(arguments.account_id)
    row = _account_row(account, services.credits.balance(account.account_id))
    row["submits_per_minute"] = account.submits_per_minute or services.settings.submits_per_minute
    return Shown(data=row, title="Account", rows=[row])


def set_rate(services: Services, arguments: argparse.Namespace) -> Shown:
    """Give an account a submit rate of its own."""
    services.accounts.set_submit_rate(arguments.account_id, arguments.per_minute)
    return show_account(services, arguments)


def grant(services: Services, arguments: argparse.Namespace) -> Shown:
    """Add credits. The same --id again changes nothing."""
    return _post(services, arguments, "grant")


def expire(services: Services, arguments: argparse.Namespace) -> Shown:
    """Take unused credits back, at most what is available."""
    return _post(services, arguments, "expire")


def create_key(services: Services, arguments: argparse.Namespace) -> Shown:
    """Make a key and show its secret, once."""
    account = services.accounts.get(arguments.account_id)
    key, secret = services.keys.create(
        account.account_id,
        arguments.name,
        scopes=frozenset(arguments.scope or ALL_SCOPES),
        expires_at=arguments.expires,
        daily_limit_millicredits=arguments.daily_limit,
    )
    data = _key_row(key, key.created_at) | {"key": secret}
    return Shown(data=data, title="API key", rows=[_key_line(key, key.created_at)], line=secret, note=KEPT_NOWHERE)


def list_keys(services: Services, arguments: argparse.Namespace) -> Shown:
    """The keys of an account, never their secrets."""
    account = services.accounts.get(arguments.account_id)
    keys, now = services.keys.of_account(account.account_id), system.utc_now()
    return Shown(
        data=[_key_row(key, now) for key in keys],
        title=f"{_counted(len(keys), 'key')} of {account.name}",
        rows=[_key_line(key, now) for key in keys],
    )


def revoke_key(services: Services, arguments: argparse.Namespace) -> Shown:
    """Revoke a key; it dies within 30 seconds everywhere."""
    key = services.keys.find(arguments.account_id, arguments.key_id)
    services.keys.revoke(key)
    row = {"key_id": key.key_id, "name": key.name, "state": "revoked"}
    return Shown(data=row, title="Key revoked", rows=[row], note="It stops working within 30 seconds.")


def show_ledger(services: Services, arguments: argparse.Namespace) -> Shown:
    """The newest entries of an account's ledger."""
    account = services.accounts.get(arguments.account_id)
    entries = services.credits.page(account.account_id, below=None, limit=arguments.limit)
    title = f"Ledger of {account.name}, newest first" if entries else f"The ledger of {account.name} is empty."
    return Shown(data=[_entry_row(entry) for entry in entries], title=title, rows=[_entry_line(e) for e in entries])


def verify_ledger(services: Services, arguments: argparse.Namespace) -> Shown:
    """Re-compute balances and hash chains, and look for credits held for jobs that have ended."""
    if arguments.all:
        findings = [services.audits.verify(account.account_id) for account in services.accounts.every()]
        findings += services.audits.strays()
    else:
        findings = [services.audits.verify(services.accounts.get(arguments.account_id).account_id)]
    rows: list[dict[str, Any]] = [
        {
            "account_id": finding.account_id,
            "entries": finding.entries,
            "open_holds": finding.open_holds,
            "ok": "NO" if finding.problem else "yes",
            "problem": finding.problem,
        }
        for finding in findings
    ]
    wrong = sum(row["ok"] == "NO" for row in rows)
    note = f"{_counted(len(rows), 'ledger')} looked at: "
    note += f"{wrong} of them NOT adding up." if wrong else "all add up."
    return Shown(data=rows, title="Ledger check", rows=rows, note=note, failed=wrong > 0)


def _post(services: Services, arguments: argparse.Namespace, kind: str) -> Shown:
    account = services.accounts.get(arguments.account_id)
    entry_id = f"{kind}#{arguments.id or uuid.uuid4()}"
    post = services.credits.grant if kind == "grant" else services.credits.expire
    try:
        post(account.account_id, arguments.amount, entry_id=entry_id, note=arguments.note)
        note = ""
    except AlreadyPosted:
        note = "Nothing changed: this --id was posted before."
    row = _account_row(account, services.credits.balance(account.account_id))
    return Shown(data=row | {"entry_id": entry_id, "posted": not note}, title=kind.capitalize(), rows=[row], note=note)


def _account_row(account: Account, balance: Balance) -> dict[str, Any]:
    return {
        "account_id": account.account_id,
        "name": account.name,
        "available": to_credits(balance.available_millicredits),
        "held": to_credits(balance.held_millicredits),
        "entries": balance.sequence,
    }


def _key_row(key: ApiKey, now: datetime) -> dict[str, Any]:
    limit = key.daily_limit_millicredits
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": " ".join(sorted(Scope(scope).value for scope in key.scopes)),
        "created_at": _time(key.created_at),
        "expires_at": _time(key.expires_at),
        "revoked_at": _time(key.revoked_at),
        "last_used_at": _time(key.last_used_at),
        "daily_limit": None if limit is None else to_credits(limit),
        "live": "yes" if key.is_live(now) else "no",
    }


def _key_line(key: ApiKey, now: datetime) -> dict[str, Any]:
    """What fits on a terminal; --json has the rest."""
    ends_at = min((at for at in (key.expires_at, key.revoked_at) if at is not None), default=None)
    return {
        "key_id": key.key_id,
        "name": key.name,
        "scopes": " ".join(sorted(scope.value for scope in key.scopes)),
        "last used": None if key.last_used_at is None else f"{key.last_used_at:%Y-%m-%d %H:%M}",
        "ends": None if ends_at is None else f"{ends_at:%Y-%m-%d %H:%M}",
        "live": "yes" if key.is_live(now) else "no",
    }


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _entry_row(entry: Entry) -> dict[str, Any]:
    return {
        "sequence": entry.sequence,
        "at": _time(entry.at),
        "kind": entry.kind.value,
        "amount": to_credits(entry.amount_millicredits),
        "available": to_credits(entry.available_after_millicredits),
        "held": to_credits(entry.held_after_millicredits),
        "job_id": entry.job_id,
        "note": entry.note,
    }


def _entry_line(entry: Entry) -> dict[str, Any]:
    """What fits on a terminal; --json has the rest."""
    row = _entry_row(entry)
    return {
        "no": entry.sequence,
        "at": f"{entry.at:%Y-%m-%d %H:%M:%S}",
        **{name: row[name] for name in ("kind", "amount", "available", "held")},
        "job, note": " ".join(text for text in (entry.job_id, entry.note) if text),
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="seconds")
