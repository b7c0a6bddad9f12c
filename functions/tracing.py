"""Traces by a setting: with TRACING=on every AWS call of a function is a segment in X-Ray. Off, nothing is imported."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

Handler = Callable[[Any, Any], dict[str, Any]]


def traced(handler: Handler, environment: Mapping[str, str] = os.environ) -> Handler:
    """The handler, under the Tracer where tracing is on. Never with its answer: that may be a transcript."""
    if environment.get("TRACING") != "on":
        return handler
    from aws_lambda_powertools import Tracer  # half a second of cold start

    tracer = Tracer(service="audiototext", patch_modules=("botocore",))
    wrapped: Handler = tracer.capture_lambda_handler(handler, capture_response=False)
    return wrapped
