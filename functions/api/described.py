"""Models that describe answers and are never used to make one.

FastAPI would build a validator for each answer of each route as it is declared, tens of milliseconds of every cold
start. Routes only name these models, and openapi.py writes them out: no start has to make them.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

REFERENCE = "#/components/schemas/{model}"
MODELS: dict[str, type[BaseModel]] = {}  # all there are by now


class Described(BaseModel):
    """A model for the OpenAPI document. Its validator is not built before somebody asks for it."""

    model_config = ConfigDict(defer_build=True)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        MODELS[cls.__name__] = cls


def json_content(*models: str, example: Any = None) -> dict[str, Any]:
    """The `content` of an answer that is one of ``models``, by their names."""
    references = [{"$ref": REFERENCE.format(model=model)} for model in models]
    described: dict[str, Any] = {"schema": references[0] if len(references) == 1 else {"anyOf": references}}
    if example is not None:
        described["example"] = example
    return {"application/json": described}


def or_empty(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a query parameter that counts as left out when it is blank: HTML forms send all that they have."""
    return {"anyOf": [schema, {"type": "string", "pattern": r"^\s*$"}]}
