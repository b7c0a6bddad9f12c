"""Errors on the wire: one table from codes to statuses, one shape for every error there is.

{"error": code, "message": text, "request_id": id[, "field": name]}
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from shared.adapters.dynamodb.transactions import TooMuchContention
from shared.domain import errors
from shared.services.holds import TOO_BUSY

logger = logging.getLogger(__name__)

SERVER_ERROR = "server_error"
OPENAI_PATHS = "/v1/audio/"  # here errors have the shape that OpenAI's SDK reads
SERVER_ERROR_MESSAGE = "Something went wrong on our end. Please try again; if it happens again, tell us the request_id."

STATUS_BY_CODE: Mapping[str, int] = {
    errors.InvalidRequest.code: 400,
    errors.Unauthorized.code: 401,
    errors.InsufficientCredits.code: 402,
    errors.Forbidden.code: 403,
    errors.NotFound.code: 404,
    "method_not_allowed": 405,
    errors.RequestInProgress.code: 409,
    errors.Conflict.code: 409,
    errors.RequestTimedOut.code: 408,
    errors.PayloadTooLarge.code: 413,
    errors.UnsupportedMediaType.code: 415,
    errors.IdempotencyKeyReused.code: 422,
    errors.SpendLimitReached.code: 429,
    errors.RateLimited.code: 429,
    "transcription_failed": 422,
    SERVER_ERROR: 500,
    "still_processing": 504,
}
_CODE_BY_STATUS = {status: code for code, status in STATUS_BY_CODE.items()}


def error_body(code: str, message: str, request_id: str, field: str | None = None) -> dict[str, Any]:
    """The one shape of an error."""
    body = {"error": code, "message": message, "request_id": request_id}
    return body if field is None else body | {"field": field}


def server_error_response(request_id: str) -> JSONResponse:
    """The answer to what nobody foresaw. Says nothing of what it was."""
    return JSONResponse(error_body(SERVER_ERROR, SERVER_ERROR_MESSAGE, request_id), status_code=500)


def install(app: FastAPI) -> None:
    """Make every error of ``app``, the framework's own included, leave in our shape."""
    app.add_exception_handler(errors.RequestError, _on_request_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(TooMuchContention, _on_contention)


def rate_limit_headers(*, limit: int, remaining: int, reset_seconds: int) -> dict[str, str]:
    """How many submissions are left, in both dialects: the IETF draft's fields and the three that came before them."""
    return {
        "RateLimit-Policy": f'"submit";q={limit};w=60',
        "RateLimit": f'"submit";r={remaining};t={reset_seconds}',
        "RateLimit-Limit": str(limit),
        "RateLimit-Remaining": str(remaining),
        "RateLimit-Reset": str(reset_seconds),
    }


def _response(
    request: Request, code: str, message: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    body = error_body(code, message, request.state.request_id, field)
    request.state.error_code = code
    status = STATUS_BY_CODE[code]
    if request.url.path.startswith(OPENAI_PATHS):
        kind = "server_error" if status >= 500 else "invalid_request_error"
        body["error"] = {"message": message, "type": kind, "param": field, "code": code}
        # Its SDK sends a request again after many a status; only these want that.
        again = status in {429, 500} or code == errors.RequestInProgress.code
        headers = {**(headers or {}), "x-should-retry": "true" if again else "false"}
    return JSONResponse(body, status_code=status, headers=headers)


async def _on_request_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.RequestError)
    headers: dict[str, str] = {}
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    waits = errors.RateLimited | errors.SpendLimitReached | errors.RequestInProgress
    if isinstance(error, waits) and error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, errors.RateLimited) and error.limit is not None:
        headers |= rate_limit_headers(limit=error.limit, remaining=0, reset_seconds=error.retry_after_seconds)
    field = error.field if isinstance(error, errors.InvalidRequest) else None
    return _response(request, error.code, error.message, field=field, headers=headers)


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    """What Starlette raises: no such route, no such method."""
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return _response(request, errors.NotFound.code, "There is nothing at this address.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        message = f"{request.method} is not possible at this address."
        return _response(request, "method_not_allowed", message, headers={"Allow": _allowed_methods(request)})
    code = _CODE_BY_STATUS.get(error.status_code, SERVER_ERROR)
    if code == SERVER_ERROR:
        logger.error("unexpected_http_exception", extra={"status": error.status_code})
        return _response(request, code, SERVER_ERROR_MESSAGE)
    return _response(request, code, str(error.detail), headers=error.headers)


def _allowed_methods(request: Request) -> str:
    """Every method of the address: each is a route of its own, and the framework names only the first one's."""
    path, paths = request.scope["path"], request.app.openapi()["paths"]
    matching = [known for known in paths if re.fullmatch(re.sub(r"{[^}]*}", "[^/]+", known), path)]
    operations = paths[path] if path in paths else {method for known in matching for method in paths[known]}
    return ", ".join(sorted(method.upper() for method in operations))


async def _on_contention(request: Request, _error: Exception) -> JSONResponse:
    """Too many changes of one account at the same moment: nothing was stored, and a second later it works."""
    return await _on_request_error(request, errors.RateLimited(TOO_BUSY, retry_after_seconds=1))
