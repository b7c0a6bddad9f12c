"""GET /api/v1/languages/"""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse

from functions.api import schemas
from functions.api.deps import AnyKey
from shared.domain.languages import languages

router = APIRouter(tags=["Languages"])


@router.get("/languages/", summary="List supported languages", responses=schemas.answers(200, "Languages"))
async def list_languages(_principal: AnyKey) -> JSONResponse:
    """Every language that can be transcribed. The empty code stands for auto-detection."""
    return JSONResponse({"languages": [{"code": code, "name": name} for code, name in languages()]})
