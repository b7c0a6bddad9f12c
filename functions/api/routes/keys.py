"""API keys: GET and POST /api/v1/keys/, POST /api/v1/keys/{id}/rotate/, DELETE /api/v1/keys/{id}/"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import JSONResponse, Response

from functions.api import once, schemas_account
from functions.api.bodies import REFUSALS, JsonBody
from functions.api.deps import IdempotencyKey, MayManage, ServicesDep
from functions.api.fields import quote
from functions.api.schemas import IDEMPOTENCY_PARAMETER, answers
from functions.times import time_view
from shared.domain.accounts import ALL_SCOPES, ApiKey, KeyWish, Principal, Scope
from shared.domain.amounts import to_credits
from shared.domain.errors import InvalidRequest
from shared.domain.idempotency import Answer
from shared.services.keys import DEFAULT_GRACE, MAX_GRACE, Caller, MadeKey, bearer_secret

router = APIRouter(tags=["API keys"])
KeyIdInPath = Annotated[str, Path(alias="id", description="The key's id (not its secret).")]


@router.get("/keys/", summary="List API keys", responses=answers(200, "Keys"))
def list_keys(principal: MayManage, services: ServicesDep) -> JSONResponse:
    """Every key of the account, revoked ones too, never their secrets."""
    return JSONResponse({"keys": [_view(key) for key in services.keys.of_account(principal.account_id)]})


@router.post(
    "/keys/",
    summary="Make an API key",
    status_code=201,
    responses=answers(201, "NewKey", *REFUSALS, *once.REFUSALS),
    openapi_extra={"requestBody": schemas_account.KEY_BODY, "parameters": [IDEMPOTENCY_PARAMETER]},
)
def create(
    request: Request, principal: MayManage, services: ServicesDep, idempotency_key: IdempotencyKey, body: JsonBody
) -> JSONResponse:
    """A new key. Its secret is in this answer and nowhere else."""
    body.only("name", "scopes", "expires_at", "daily_limit_credits")
    wish = KeyWish(
        name=body.text("name"),
        scopes=_scopes(body.texts("scopes")),
        expires_at=body.optional_time("expires_at"),
        daily_limit_millicredits=body.credits("daily_limit_credits"),
    )
    made = services.keys.create_for(_caller(request, principal, idempotency_key), wish, _created)
    return _shown_once(made)


@router.post(
    "/keys/{id}/rotate/",
    summary="Replace an API key",
    status_code=201,
    responses=answers(201, "NewKey", 404, *REFUSALS, *once.REFUSALS),
    openapi_extra={"requestBody": schemas_account.ROTATE_BODY, "parameters": [IDEMPOTENCY_PARAMETER]},
)
def rotate(
    request: Request,
    principal: MayManage,
    services: ServicesDep,
    idempotency_key: IdempotencyKey,
    body: JsonBody,
    key_id: KeyIdInPath,
) -> JSONResponse:
    """A new key like the old one, which goes on working for a grace period."""
    body.only("grace_seconds")
    grace_seconds = body.whole_number(
        "grace_seconds", default=int(DEFAULT_GRACE.total_seconds()), most=int(MAX_GRACE.total_seconds())
    )
    caller = _caller(request, principal, idempotency_key)
    return _shown_once(services.keys.rotate(caller, key_id, timedelta(seconds=grace_seconds), _created))


@router.delete("/keys/{id}/", summary="Revoke an API key", status_code=204, responses=answers(204, None, 404))
def revoke(principal: MayManage, services: ServicesDep, key_id: KeyIdInPath) -> Response:
    """The key stops working, within 30 seconds everywhere. Revoking it again changes nothing."""
    services.keys.revoke(services.keys.find(principal.account_id, key_id))
    return Response(status_code=204)


def _caller(request: Request, principal: Principal, idempotency_key: str | None) -> Caller:
    secret = bearer_secret(request.headers.get("authorization"))
    assert secret is not None, "the principal was read from it"
    return Caller(principal=principal, secret=secret, idempotency_key=idempotency_key)


def _shown_once(made: MadeKey) -> JSONResponse:
    headers = {"Idempotent-Replayed": "true"} if made.replayed else {}
    return JSONResponse({**made.answer.body, "key": made.secret}, status_code=made.answer.status, headers=headers)


def _scopes(names: list[str] | None) -> frozenset[Scope]:
    if names is None:
        return ALL_SCOPES
    try:
        return frozenset(Scope(name) for name in names)
    except ValueError:
        unknown = next(name for name in names if name not in set(Scope))
        allowed = ", ".join(Scope)
        raise InvalidRequest(f"Unknown scope {quote(unknown)}. Use {allowed}.", field="scopes") from None


def _created(key: ApiKey) -> Answer:
    return Answer(status=201, body=_view(key))


def _view(key: ApiKey) -> dict[str, Any]:
    limit = key.daily_limit_millicredits
    return {
        "id": key.key_id,
        "name": key.name,
        "scopes": sorted(scope.value for scope in key.scopes),
        "created_at": time_view(key.created_at),
        "expires_at": time_view(key.expires_at),
        "revoked_at": time_view(key.revoked_at),
        "last_used_at": time_view(key.last_used_at),
        "daily_limit_credits": None if limit is None else to_credits(limit),
        "rotated_to": key.rotated_to,
        "live": key.is_live(datetime.now(UTC)),
    }
