"""Models that describe answers and are never used to make one.

FastAPI would build a validator for each answer of each route as it is declared, tens of milliseconds of every cold
start. Routes name these models by reference instead, and openapi.py writes them out.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

REFERENCE = "#/components/schemas/{model}"
_named: dict[str, type[BaseModel]] = {}


class Described(BaseModel):
    """A model for the OpenAPI document. Its validator is not built before somebody asks for it."""

    model_config = ConfigDict(defer_build=True)


def json_content(*models: type[BaseModel], example: Any = None) -> dict[str, Any]:
    """The `content` of an answer that is one of ``models``."""
    _named.update({model.__name__: model for model in models})
    references = [{"$ref": REFERENCE.format(model=model.__name__)} for model in models]
    described: dict[str, Any] = {"schema": references[0] if len(references) == 1 else {"anyOf": references}}
    if example is not None:
        described["example"] = example
    return {"application/json": described}


def named_models() -> list[type[BaseModel]]:
    """Every model that an answer names."""
    return list(_named.values())
