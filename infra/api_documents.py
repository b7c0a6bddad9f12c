"""What is made from the API's code: ``python -m infra.api_documents openapi`` (or ``reference``) prints it.

``openapi`` is docs/openapi.json; ``reference`` is docs/api.md, whose first half is written by hand and stays as it is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from functions.api import openapi
from functions.api.app import create_app
from functions.api.reference import BEGINNING, to_markdown
from shared.bootstrap import Services

PAGE = Path(__file__).parents[1] / "docs" / "api.md"


def document() -> dict[str, Any]:
    """The OpenAPI document as plain values."""
    return openapi.document(create_app(_no_services))


def main() -> int:
    """Print the one that is asked for."""
    match sys.argv[1:]:
        case ["openapi"]:
            sys.stdout.write(json.dumps(document(), indent=2, ensure_ascii=False) + "\n")
        case ["reference"]:
            written, _, _ = PAGE.read_text("utf-8").partition(BEGINNING)
            sys.stdout.write(written + to_markdown(document()))
        case _:
            sys.stderr.write("Say which: python -m infra.api_documents openapi | reference\n")
            return 2
    return 0


def _no_services() -> Services:
    raise LookupError("the document is made without services")


if __name__ == "__main__":
    sys.exit(main())
