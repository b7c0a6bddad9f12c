"""ApiFunction: the app under Mangum."""

from __future__ import annotations

from functions import startup  # isort: skip - before everything else

import importlib
import json
import logging
import re
from typing import Any

from mangum import Mangum

from functions import runtime
from functions.api import errors
from functions.api.app import create_app
from functions.tracing import traced
from shared import logs

logs.configure("api")
logger = logging.getLogger(__name__)

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_OF_THE_CONNECTION = frozenset({"host", "x-forwarded-port", "x-forwarded-proto"})

# Imported by the few requests that need them, and before a snapshot.
_LATE = (
    *("shared.adapters.downloads", "shared.adapters.pinned", "shared.adapters.probing.probe"),
    *("shared.domain.transcript_values", "functions.api.openapi", "functions.api.reference"),
    "anyio._backends._asyncio",  # what runs our plain functions in threads
)

# Lambda gives a starting process more CPU than a request gets: clients are made now, not by the first customer.
_services = runtime.services()
runtime.warm_up(_services)
_fastapi = create_app(lambda: _services, everything=runtime.is_for_snapshot(), cors_origins=runtime.cors_origins())
_app = Mangum(_fastapi, lifespan="off", exclude_headers=["content-length"])
if runtime.is_for_snapshot():
    _fastapi.openapi()  # FastAPI takes a route apart when it is first asked for: now, all of them
    for _name in _LATE:
        importlib.import_module(_name)


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """One API Gateway request."""
    try:
        return _app(_readable(event), context)
    except Exception:
        # Mangum itself stumbled, over a body that is not what the event says it is.
        logger.exception("event_unreadable")
        request_id = str(event.get("requestContext", {}).get("requestId", ""))
        body = errors.error_body(errors.SERVER_ERROR, errors.SERVER_ERROR_MESSAGE, request_id)
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
        return {"statusCode": 500, "headers": headers, "body": json.dumps(body), "isBase64Encoded": False}


def _readable(event: dict[str, Any]) -> Any:
    """The event without what Mangum stumbles over, all of it in the client's hands.

    Bytes of a header that are no UTF-8 arrive as lone surrogates, which it cannot encode. A port that is no number it
    cannot read, and nothing here needs one: neither that of X-Forwarded-Port nor the Host's.
    """
    whole = _whole(event)
    for headers in (whole.get("headers"), whole.get("multiValueHeaders")):
        for name in [name for name in headers or () if name.lower() in _OF_THE_CONNECTION]:
            del headers[name]
    return whole


def _whole(value: Any) -> Any:
    """The value with U+FFFD for each lone surrogate in its texts."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_whole(name): _whole(each) for name, each in value.items()}
    return [_whole(each) for each in value] if isinstance(value, list) else value


startup.finished()
