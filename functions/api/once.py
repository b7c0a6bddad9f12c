"""Requests that create something beside a job: done once per Idempotency-Key, and answered alike every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.responses import JSONResponse

from functions.api.schemas import IDEMPOTENCY_PARAMETER
from shared.bootstrap import Services
from shared.domain.accounts import Principal
from shared.domain.idempotency import Answer
from shared.services.requests import Answered, Once, Turn

DESCRIBED: dict[str, Any] = {"parameters": [IDEMPOTENCY_PARAMETER]}  # for a route's openapi_extra
REFUSALS = (409, 422)  # and for its answers


class Asker:
    """Who asks for something to be made, and under which Idempotency-Key."""

    def __init__(self, services: Services, principal: Principal, idempotency_key: str | None) -> None:
        self._services = services
        self._account_id = principal.account_id
        self._idempotency_key = idempotency_key

    def once(self, operation: str, content: Mapping[str, Any], effect: Callable[[Turn], Answer]) -> Answered:
        """Do it, or give the answer it was given before. ``content`` tells one request from another."""
        once = Once(
            account_id=self._account_id,
            idempotency_key=self._idempotency_key,
            operation=operation,
            content=content,
        )
        return self._services.requests.carry_out(once, effect)

    def settled(self, operation: str, content: Mapping[str, Any], effect: Callable[[], Answer]) -> Answered:
        """The same for an effect outside the database (a message, an object): its answer is noted right after it.

        A crash between the two means that the effect comes twice, three minutes apart at least: for what may.
        """

        def do_and_note(turn: Turn) -> Answer:
            answer = effect()
            turn.settle(answer)
            return answer

        return self.once(operation, content, do_and_note)


def respond(answered: Answered, more: Mapping[str, Any] | None = None) -> JSONResponse:
    """The answer on the wire. ``more`` is what is shown but not kept with the answer, a secret for example."""
    answer = answered.answer
    headers = {"Location": answer.location} if answer.location else {}
    if answered.replayed:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse({**answer.body, **(more or {})}, status_code=answer.status, headers=headers)
