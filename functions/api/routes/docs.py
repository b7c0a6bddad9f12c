"""GET /docs/ and /openapi.json: the reference for people and for machines, with nothing loaded from elsewhere."""

from __future__ import annotations

from functools import cache

from fastapi import APIRouter
from starlette.responses import HTMLResponse, JSONResponse

router = APIRouter(include_in_schema=False)

_PUBLIC = {"Cache-Control": "public, max-age=300"}
# Everything is in the page itself; nothing may be loaded, run or framed.
_POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}


@router.get("/docs/")
def reference() -> HTMLResponse:
    """The reference. No key is needed: it says nothing about any account."""
    return HTMLResponse(_page(), headers=_PUBLIC | _POLICY)


@router.get("/openapi.json/")
def openapi() -> JSONResponse:
    """The OpenAPI document."""
    from functions.api.openapi import document

    return JSONResponse(document(), headers=_PUBLIC)


@cache
def _page() -> str:
    # Imported here: the document is made from the app, which imports this module.
    from functions.api.openapi import document
    from functions.api.reference import to_html

    return to_html(document())
