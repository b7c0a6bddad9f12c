"""The answer with a job in it: not sent again to who has it, compressed for who can read that, never too large.

Order of the ways out for a result that an answer of Lambda cannot hold (6 MB): compressed (a transcript shrinks to a
fifth or less), then a redirect to a copy in the bucket.
"""

from __future__ import annotations

import gzip
import json
import re

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from shared.bootstrap import Services
from shared.domain.accounts import Principal
from shared.domain.errors import NotFound
from shared.domain.jobs import Job
from shared.services.results import Results

POLL_SECONDS = 5  # what the contract's own examples wait between two polls
MAX_TEXT_BYTES = 6_000_000  # of Lambda's 6 MB (1024 x 1024); the rest is for headers and the envelope
MAX_BINARY_BYTES = 4_000_000  # the same as base64, which makes 3 bytes 4
MIN_GZIP_BYTES = 1_000  # below, the header costs more than it saves
RENDERING = 1  # part of the ETag: raise it when the same job comes to be shown otherwise


_JOB_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def find_job(request: Request, services: Services, principal: Principal, job_id: str) -> Job:
    """The account's job with this id. Raises NotFound; the id is noted for the log line."""
    job_id = job_id.lower()
    if not _JOB_ID.fullmatch(job_id):
        raise NotFound("There is no transcription with this id.")
    request.state.job_id = job_id
    return services.jobs.get(job_id, principal.account_id)


def job_response(request: Request, results: Results, job: Job, *, segments: bool) -> Response:
    """How far the job is, or how it ended."""
    headers = {"Vary": "Accept-Encoding"}
    if job.state.is_final:
        # Weak: the same words, whether compressed or not.
        headers["ETag"] = f'W/"{job.version}-{RENDERING}-{int(segments)}"'
        headers["Cache-Control"] = "private, no-cache"
        if matches(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
    else:
        headers["Retry-After"] = str(POLL_SECONDS)
    body = json.dumps(results.view(job, segments=segments), ensure_ascii=False, separators=(",", ":")).encode()
    if accepts_gzip(request) and len(body) >= MIN_GZIP_BYTES:
        compressed = gzip.compress(body, compresslevel=5, mtime=0)
        if len(compressed) <= MAX_BINARY_BYTES:
            headers["Content-Encoding"] = "gzip"
            return Response(compressed, media_type="application/json", headers=headers)
    if _bytes_in_envelope(body) > MAX_TEXT_BYTES:
        return RedirectResponse(results.link(job, body), status_code=307, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def _bytes_in_envelope(body: bytes) -> int:
    """The size of a text as a JSON string, which an answer of Lambda is: each quotation mark takes a backslash."""
    return len(body) + body.count(b'"') + body.count(b"\\")


def matches(request: Request, etag: str) -> bool:
    """True when the client has this already (If-None-Match, compared weakly: RFC 9110, 13.1.2)."""
    given = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return "*" in given or etag.removeprefix("W/") in given


def accepts_gzip(request: Request) -> bool:
    """True when the client named gzip without forbidding it (q=0)."""
    for coding in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, quality = coding.replace(" ", "").partition(";q=")
        if name == "gzip":
            return quality.strip("0.") != "" or quality == ""
    return False
