"""The OpenAPI document of the API."""

from __future__ import annotations

import json
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from functions.api import schemas_answers  # noqa: F401 - its models are in MODELS now
from functions.api.described import MODELS, REFERENCE
from functions.api.examples import EXAMPLES

DESCRIPTION = """\
Speech to text for recordings of any length. Send your API key with every request: `Authorization: Bearer YOUR_API_KEY`.

Paths work with and without their final slash. Every answer carries an `X-Request-Id`."""


def document(app: FastAPI) -> dict[str, Any]:
    """The document as plain values, made afresh from the app's routes."""
    described = get_openapi(title=app.title, version=app.version, description=DESCRIPTION, routes=app.routes)
    described["components"]["securitySchemes"] = {"ApiKey": {"type": "http", "scheme": "bearer"}}
    described["security"] = [{"ApiKey": []}]
    described["servers"] = [{"url": "/"}]
    for operation in (operation for path in described["paths"].values() for operation in path.values()):
        # Answers 422 by FastAPI's own validation; ours is a 400, and its 422 is about an Idempotency-Key.
        if "HTTPValidationError" in json.dumps(operation["responses"].get("422", {})):
            del operation["responses"]["422"]
        for answer in operation["responses"].values():
            if answer["description"] in MODELS:
                answer["description"] = (MODELS[answer["description"]].__doc__ or "").strip()
    for name in ("HTTPValidationError", "ValidationError"):
        described["components"]["schemas"].pop(name, None)
    _, definitions = models_json_schema([(model, "serialization") for model in MODELS.values()], ref_template=REFERENCE)
    described["components"]["schemas"] |= definitions["$defs"]
    for name, example in EXAMPLES.items():
        schema = described["components"]["schemas"][name]
        schema.pop("example", None)  # FastAPI drops what is null in a model's own example
        schema["examples"] = [example]
    return described
