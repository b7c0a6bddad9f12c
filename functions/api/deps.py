"""What routes ask for: the services, and who is asking."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request

from functions.api.once import Asker
from shared.bootstrap import Services
from shared.domain.accounts import Principal, Scope
from shared.domain.errors import InvalidRequest, Unauthorized
from shared.domain.idempotency import HEADER


def services(request: Request) -> Services:
    """The process's services."""
    found: Services = request.app.state.services()
    return found


async def _services(request: Request) -> Services:
    return services(request)


def authenticate(request: Request, services: Annotated[Services, Depends(_services)]) -> Principal:
    """Who is asking. Raises Unauthorized. Routes put it before everything else they look at."""
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise Unauthorized
    principal = services.keys.authenticate(headers[0] if headers else None)
    request.state.account_id = principal.account_id
    return principal


def needs(*scopes: Scope) -> Callable[..., Awaitable[Principal]]:
    """A dependency: who is asking, if the key has all of ``scopes``. Raises Unauthorized or Forbidden.

    What gives out the words of a transcription that is there already needs READ, whatever else it does.
    """

    async def check(principal: Annotated[Principal, Depends(authenticate)]) -> Principal:
        for scope in scopes:
            principal.require(scope)
        return principal

    return check


ServicesDep = Annotated[Services, Depends(_services)]
AnyKey = Annotated[Principal, Depends(authenticate)]
MayTranscribe = Annotated[Principal, Depends(needs(Scope.TRANSCRIBE))]
MayRead = Annotated[Principal, Depends(needs(Scope.READ))]
MayRework = Annotated[Principal, Depends(needs(Scope.TRANSCRIBE, Scope.READ))]
MayManage = Annotated[Principal, Depends(needs(Scope.MANAGE))]


async def _idempotency_key(request: Request) -> str | None:
    keys = request.headers.getlist(HEADER)
    if len(keys) > 1:
        raise InvalidRequest(f"The header '{HEADER}' was given {len(keys)} times; give it once.", field=HEADER)
    return keys[0] if keys else None


IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]


async def _maker(principal: MayManage, services: ServicesDep, idempotency_key: IdempotencyKey) -> Asker:
    return Asker(services, principal, idempotency_key)


async def _sender(principal: MayTranscribe, services: ServicesDep, idempotency_key: IdempotencyKey) -> Asker:
    return Asker(services, principal, idempotency_key)


MayManageOnce = Annotated[Asker, Depends(_maker)]
MayTranscribeOnce = Annotated[Asker, Depends(_sender)]
