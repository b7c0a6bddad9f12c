"""POST /api/v1/transcribe/url/"""

from __future__ import annotations

import logging
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from functions.api import schemas
from functions.api.asked import clean_filename
from functions.api.fields import Fields
from functions.api.forms import read_asked, read_json_texts
from functions.api.recordings import measure_source
from functions.api.routes.transcribe import CallerDep
from functions.api.submitting import Caller, answered_before, jobs_path, submit, take_elsewhere
from shared.domain.errors import InvalidRequest
from shared.domain.urls import UnsafeUrl, WebUrl, parse_source_url
from shared.services.submissions import Submission

logger = logging.getLogger(__name__)
router = APIRouter(tags=["Transcriptions"])

# An estimate must be cheap: this many small requests, each this long at most. What it cannot tell, the job finds out.
PEEK_REQUESTS = 4
PEEK_SECONDS = 2.0
# Pages, not files: nothing to learn from their bytes.
_PAGES = ("youtube.com", "youtu.be", "vimeo.com", "soundcloud.com", "tiktok.com", "twitch.tv", "facebook.com", "x.com")


@router.post(
    "/transcribe/url/",
    summary="Transcribe from a URL",
    status_code=202,
    responses=schemas.answers(202, "Submitted", 402, 409, 413, 415, 422, 429) | schemas.QUOTE_ANSWER,
    openapi_extra={"requestBody": schemas.URL_BODY, "parameters": [schemas.IDEMPOTENCY_PARAMETER]},
)
async def create(caller: CallerDep) -> JSONResponse:
    """Name an audio or video file on the web, or a page that plays it (YouTube and many other sites).

    It is fetched by the job. `estimated_credits` is null where the length cannot be told before that.
    """
    texts = await read_json_texts(caller.request)
    return await run_in_threadpool(_create, caller, texts)


def _create(caller: Caller, texts: dict[str, list[str]]) -> JSONResponse:
    allow_loopback = caller.services.settings.allow_loopback_webhooks
    asked = read_asked(caller.services, texts, "url")
    url = _checked_url(Fields(texts).text("url"), allow_loopback=allow_loopback)
    named = Submission(
        principal=caller.principal,
        options=asked.options,
        filename=clean_filename(unquote(urlsplit(url.target).path)),
        content_type="application/octet-stream",
        size_bytes=0,  # known when it has been fetched
        duration_seconds=None,
        source_url=url.text,
    )
    try:
        seconds = None if _is_page(url) else _estimate(url, allow_loopback=allow_loopback)
    except InvalidRequest:
        answered = answered_before(caller, asked, named)
        if answered is None:
            raise
        return answered
    submission = replace(named, duration_seconds=seconds)
    response, _ = submit(caller, asked, take_elsewhere(caller, asked, submission), path=jobs_path(caller.request))
    return response


def _checked_url(text: str, *, allow_loopback: bool) -> WebUrl:
    if not text:
        raise InvalidRequest("Name the recording's address in 'url'.", field="url")
    try:
        return parse_source_url(text, allow_loopback=allow_loopback)
    except UnsafeUrl as error:
        raise InvalidRequest(f"The url cannot be used: {error}", field="url") from error


def _is_page(url: WebUrl) -> bool:
    return any(url.host == site or url.host.endswith(f".{site}") for site in _PAGES)


def _estimate(url: WebUrl, *, allow_loopback: bool) -> float | None:
    """The recording's length by a few ranged requests, or None. Raises InvalidRequest for what is certainly none.

    A server that cannot be reached now may be there when the job runs, and a page may have a player: no refusal here.
    """
    from shared.adapters.downloads import DownloadFailure, DownloadLimits, Downloads  # not at start: see recordings.py
    from shared.adapters.pinned import GuardedConnector
    from shared.adapters.probing.source import BLOCK_BYTES, BudgetSpent, ByteSource

    downloads = Downloads(GuardedConnector(allow_loopback=allow_loopback))
    limits = DownloadLimits(max_bytes=BLOCK_BYTES, seconds=PEEK_SECONDS)

    def fetch(offset: int, length: int) -> bytes:
        with downloads.open(url.text, limits, byte_range=(offset, offset + length - 1)) as download:
            return b"".join(download.chunks)

    try:
        with downloads.open(url.text, limits, byte_range=(0, 0)) as download:
            size_bytes = download.total_bytes
        if not size_bytes:
            return None
        return measure_source(ByteSource(fetch, size_bytes, max_fetches=PEEK_REQUESTS), field="url")
    except (DownloadFailure, BudgetSpent) as problem:
        logger.info("source_unmeasured", extra={"reason": type(problem).__name__})
        return None
    except InvalidRequest as refused:
        if "web page" in refused.message:
            return None
        raise
