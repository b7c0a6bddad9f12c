"""Imported first by every handler: what makes a start short. Somebody is waiting for it."""

from __future__ import annotations

import gc
import os
import sys

# A start makes some hundred thousand objects, and nearly all of them stay. Python would look through them for garbage
# again and again, for an eighth of the time.
gc.disable()

if "AWS_LAMBDA_RUNTIME_API" in os.environ:  # not in a process that others share, who may want it
    # FastAPI loads the whole of pydantic's first version to refuse its models, of which there are none here. It takes a
    # failing import for an answer.
    sys.modules["pydantic.v1"] = None  # type: ignore[assignment]


def finished() -> None:
    """What is there now stays for the life of the process; from here on garbage is looked for, in what is new."""
    gc.freeze()
    gc.enable()
