"""ApiFunction: the app under Mangum."""

from __future__ import annotations

from functions import startup  # isort: skip - before everything else

import json
import logging
from typing import Any

from mangum import Mangum

from functions import runtime
from functions.api import errors
from functions.api.app import create_app
from functions.tracing import traced
from shared import logs

logs.configure("api")
logger = logging.getLogger(__name__)

# Lambda gives a starting process more CPU than a request gets: clients are made now, not by the first customer.
_services = runtime.services()
runtime.warm_up(_services)
_app = Mangum(create_app(lambda: _services), lifespan="off", exclude_headers=["content-length"])


@traced
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """One API Gateway request."""
    try:
        return _app(event, context)
    except Exception:
        # Mangum itself stumbled, over a Host header or a body that is not what the event says it is.
        logger.exception("event_unreadable")
        request_id = str(event.get("requestContext", {}).get("requestId", ""))
        body = errors.error_body(errors.SERVER_ERROR, errors.SERVER_ERROR_MESSAGE, request_id)
        headers = {"Content-Type": "application/json", "X-Request-Id": request_id}
        return {"statusCode": 500, "headers": headers, "body": json.dumps(body), "isBase64Encoded": False}


startup.finished()
