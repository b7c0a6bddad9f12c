"""The OpenAPI document: ``python -m functions.api.openapi > docs/openapi.json``."""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic.json_schema import models_json_schema

from functions.api.app import create_app
from functions.api.described import REFERENCE, named_models
from functions.api.examples import EXAMPLES
from shared.bootstrap import Services

DESCRIPTION = """\
Speech to text for recordings of any length. Send your API key with every request: `Authorization: Bearer YOUR_API_KEY`.

Paths work with and without their final slash. Every answer carries an `X-Request-Id`."""


def document() -> dict[str, Any]:
    """The document as plain values."""
    app = create_app(_no_services)
    app.description = DESCRIPTION
    described = app.openapi()
    described["components"]["securitySchemes"] = {"ApiKey": {"type": "http", "scheme": "bearer"}}
    described["security"] = [{"ApiKey": []}]
    described["servers"] = [{"url": "/"}]
    for operation in (operation for path in described["paths"].values() for operation in path.values()):
        # Answers 422 by FastAPI's own validation; ours is a 400, and its 422 is about an Idempotency-Key.
        if "HTTPValidationError" in json.dumps(operation["responses"].get("422", {})):
            del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        described["components"]["schemas"].pop(name, None)
    _, definitions = models_json_schema([(model, "serialization") for model in named_models()], ref_template=REFERENCE)
    described["components"]["schemas"] |= definitions["$defs"]
    for name, example in EXAMPLES.items():
        schema = described["components"]["schemas"][name]
        schema.pop("example", None)  # FastAPI drops what is null in a model's own example
        schema["examples"] = [example]
    return described


def _no_services() -> Services:
    raise LookupError("the document is made without services")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=2, ensure_ascii=False) + "\n")
