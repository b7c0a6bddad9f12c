"""GET /docs/ and /openapi.json: the reference for people and for machines, with nothing loaded from elsewhere."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import HTMLResponse, JSONResponse

router = APIRouter(include_in_schema=False)

_PUBLIC = {"Cache-Control": "public, max-age=300"}
# Everything is in the page itself; nothing may be loaded, run or framed.
_POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}


@router.get("/docs/")
def reference(request: Request) -> HTMLResponse:
    """The reference. No key is needed: it says nothing about any account."""
    from functions.api.reference import to_html

    return HTMLResponse(to_html(_document(request.app)), headers=_PUBLIC | _POLICY)


@router.get("/openapi.json/")
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document."""
    return JSONResponse(_document(request.app), headers=_PUBLIC)


@cache
def _document(app: FastAPI) -> dict[str, Any]:
    from functions.api.openapi import document  # not at start: few ask for it

    return document(app)
