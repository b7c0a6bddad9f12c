"""What CloudFront does in front of the API: picks the host by method, path and Content-Length.

The same pick as the template's OriginFunction, in Python so that the local gateway needs no JavaScript engine;
tests/infra/test_edge.py runs the function's own code under Node and compares.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

LAMBDA_BYTES: Final = 4_000_000
MODAL_BYTES: Final = 4 * 1024**3
_TAKES_FILES: Final = re.compile(r"/(api/v1/transcribe|v1/audio/(transcriptions|translations))/?")
TOO_LARGE: Final = (
    "The body is over 4 GiB. Announce the file with POST /api/v1/uploads/, send it to the address you get, "
    "then POST its upload_id to /api/v1/transcribe/."
)


class Origin(StrEnum):
    """Who answers a request."""

    API = "api"
    STREAMING = "modal"
    NOBODY = "nobody"  # too large for both: refused at the edge


def pick_origin(method: str, path: str, content_length: str | None) -> Origin:
    """The origin of a request; ``content_length`` is the header as it came, None without one."""
    if method != "POST" or _TAKES_FILES.fullmatch(path) is None:
        return Origin.API
    if content_length is None or re.fullmatch(r"[0-9]{1,15}", content_length) is None:
        return Origin.STREAMING if content_length is None else Origin.NOBODY
    length = int(content_length)
    if length > MODAL_BYTES:
        return Origin.NOBODY
    return Origin.STREAMING if length > LAMBDA_BYTES else Origin.API
