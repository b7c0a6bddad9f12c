"""GET /api/v1/account/, /api/v1/account/ledger/ and /api/v1/account/usage/"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse

from functions.api import cursors, schemas_account
from functions.api.bodies import REFUSALS, JsonBody, body_of
from functions.api.deps import MayManage, MayRead, ServicesDep
from functions.api.fields import Fields
from functions.api.schemas import answers
from functions.times import time_view
from shared.bootstrap import Services
from shared.domain.accounts import Principal
from shared.domain.amounts import to_credits
from shared.domain.credits import Entry
from shared.domain.errors import InvalidRequest
from shared.domain.usage import KeyDay, usage_day

LEDGER_PAGE = 50
LARGEST_LEDGER_PAGE = 200
USAGE_DAYS = 30
MOST_USAGE_DAYS = 366
MOST_USAGE_ROWS = 20_000  # 4 MB: what an answer of Lambda can hold

router = APIRouter(tags=["Account"])


@router.get("/account/", summary="Balance and limits", responses=answers(200, "AccountView"))
def show(principal: MayRead, services: ServicesDep) -> JSONResponse:
    """What the account has, what is held for its jobs, and its limits."""
    return JSONResponse(_account_view(principal, services))


@router.patch(
    "/account/",
    summary="Change the account",
    responses=answers(200, "AccountView", *REFUSALS),
    openapi_extra=body_of("AccountUpdate"),
)
def update(principal: MayManage, services: ServicesDep, body: JsonBody) -> JSONResponse:
    """Set for how long transcriptions are kept that don't say themselves; it holds half a minute later at the latest.

    What is there already is kept as it was to be.
    """
    body.only("retention_days")
    days = body.whole_number_or_null("retention_days", most=services.submissions.most_days)
    services.accounts.set_retention(principal.account_id, days)
    return JSONResponse(_account_view(principal, services))


def _account_view(principal: Principal, services: Services) -> dict[str, Any]:
    account = services.accounts.get(principal.account_id)
    balance = services.credits.balance(principal.account_id)
    pace = services.submissions.pace(principal.account_id)
    today = usage_day(datetime.now(UTC))
    used = [
        day.committed_millicredits
        for day in services.usage.between(principal.account_id, today, today)
        if day.key_id == principal.key_id
    ]
    limit = principal.daily_limit_millicredits
    return {
        "id": account.account_id,
        "name": account.name,
        "balance": to_credits(balance.available_millicredits),
        "held": to_credits(balance.held_millicredits),
        "retention_days": account.retention_days,
        "limits": {
            "submits_per_minute": pace.limit,
            "submits_remaining": pace.remaining,
            "key_daily_credits": None if limit is None else to_credits(limit),
            "key_daily_credits_used": to_credits(sum(used)),
        },
    }


@router.get(
    "/account/ledger/",
    summary="Every movement of credits",
    responses=answers(200, "LedgerPage"),
    openapi_extra={"parameters": schemas_account.LEDGER_PARAMETERS},
)
def ledger(request: Request, principal: MayRead, services: ServicesDep) -> JSONResponse:
    """The account's ledger, newest first, in pages."""
    query = _query(request)
    limit = query.whole_number("limit", default=LEDGER_PAGE, most=LARGEST_LEDGER_PAGE)
    cursor = query.text("cursor")
    below = cursors.read(cursor, principal.account_id) if cursor else None
    entries = services.credits.page(principal.account_id, below=below, limit=limit)
    more = len(entries) == limit and entries[-1].sequence > 1
    next_cursor = cursors.make(entries[-1].sequence, principal.account_id) if more else None
    return JSONResponse({"entries": [_entry_view(entry) for entry in entries], "next_cursor": next_cursor})


@router.get(
    "/account/usage/",
    summary="Usage by day and key",
    responses=answers(200, "Usage"),
    openapi_extra={"parameters": schemas_account.USAGE_PARAMETERS},
)
def usage(request: Request, principal: MayRead, services: ServicesDep) -> JSONResponse:
    """What each key used on each day (UTC). A job counts on the day it was submitted."""
    query = _query(request)
    last = query.day("to", default=usage_day(datetime.now(UTC)))
    try:
        first = query.day("from", default=last - timedelta(days=USAGE_DAYS - 1))
    except OverflowError:
        raise InvalidRequest("'to' is too long ago.", field="to") from None
    if not 0 <= (last - first).days < MOST_USAGE_DAYS:
        raise InvalidRequest(f"'from' must be 0 to {MOST_USAGE_DAYS - 1} days before 'to'.", field="from")
    days = services.usage.between(principal.account_id, first, last)
    if len(days) > MOST_USAGE_ROWS:
        message = f"That is more than {MOST_USAGE_ROWS} rows of a day and a key; ask for fewer days at once."
        raise InvalidRequest(message, field="from")
    return JSONResponse(
        {
            "from": first.isoformat(),
            "to": last.isoformat(),
            "credits_spent": to_credits(sum(day.spent_millicredits for day in days)),
            "audio_seconds": round(sum(day.duration_seconds for day in days), 3),
            "days": [_day_view(day) for day in days],
        }
    )


def _query(request: Request) -> Fields:
    query = request.query_params
    return Fields({name: query.getlist(name) for name in query})


def _entry_view(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.entry_id,
        "sequence": entry.sequence,
        "at": time_view(entry.at),
        "kind": entry.kind.value,
        "amount": to_credits(entry.amount_millicredits),
        "balance_before": to_credits(entry.available_before_millicredits),
        "balance_after": to_credits(entry.available_after_millicredits),
        "held_before": to_credits(entry.held_before_millicredits),
        "held_after": to_credits(entry.held_after_millicredits),
        "transcription_id": entry.job_id,
        "key_id": entry.key_id,
        "resolves": list(entry.resolves),
        "note": entry.note,
    }


def _day_view(day: KeyDay) -> dict[str, Any]:
    return {
        "day": day.day.isoformat(),
        "key_id": day.key_id,
        "submitted": day.submitted,
        "completed": day.completed,
        "failed": day.failed,
        "cancelled": day.cancelled,
        "audio_seconds": round(day.duration_seconds, 3),
        "credits_spent": to_credits(day.spent_millicredits),
        "credits_held": to_credits(day.held_millicredits),
    }
