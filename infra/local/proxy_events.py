"""Requests and answers as API Gateway's REST proxy integration (payload version 1.0) passes them. Pure functions.

Source: "Set up Lambda proxy integrations in API Gateway" and "Important notes" in the API Gateway developer guide.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infra.local.aws import ACCOUNT_ID
from infra.local.stack import RestApi, Route

Headers = Sequence[tuple[str, str]]

# API Gateway keeps these response headers for itself and passes the function's under another name.
_REMAPPED: Final = frozenset({"connection", "content-length", "date", "server", "www-authenticate"})
_DROPPED: Final = frozenset({"transfer-encoding", "keep-alive", "upgrade", "trailer", "te"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request as it came in: raw target (path and query, encoded), header pairs in order, body."""

    method: str
    target: str
    headers: Headers
    body: bytes
    source_ip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """Status, header pairs in order, body."""

    status: int
    headers: Headers
    body: bytes


class MalformedAnswer(Exception):
    """The function's answer has not the shape a proxy integration needs."""


def find_route(api: RestApi, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The most specific route for ``path`` (decoded) with its path parameters; a literal beats {x} beats {x+}."""
    best: tuple[tuple[int, ...], Route, dict[str, str]] | None = None
    for route in api.routes:
        if route.method not in {"ANY", method}:
            continue
        found = re.fullmatch(_pattern(route.resource), path, re.DOTALL)
        if found is None:
            continue
        rank = (*_specificity(route.resource), 0 if route.method == method else 1)
        if best is None or rank < best[0]:
            best = rank, route, found.groupdict()
    return None if best is None else (best[1], best[2])


def _segments(resource: str) -> list[str]:
    return [segment for segment in resource.split("/") if segment]


def _pattern(resource: str) -> str:
    parts = []
    for segment in _segments(resource):
        if segment.startswith("{") and segment.endswith("+}"):
            parts.append(f"(?P<{segment[1:-2]}>.+)")
        elif segment.startswith("{"):
            parts.append(f"(?P<{segment[1:-1]}>[^/]+)")
        else:
            parts.append(re.escape(segment))
    return "/" + "/".join(parts) + "/?" if parts else "/"


def _specificity(resource: str) -> tuple[int, ...]:
    return tuple(
        2 if segment.endswith("+}") else 1 if segment.startswith("{") else 0 for segment in _segments(resource)
    )


def is_binary(api: RestApi, media_type: str) -> bool:
    """Whether the API's BinaryMediaTypes name this type. ``*/*`` names all, a missing type included."""
    wanted = media_type.partition(";")[0].strip().lower()
    return any(
        declared == "*/*"
        or declared.lower() == wanted
        or (declared.endswith("/*") and wanted.startswith(declared[:-1]))
        for declared in api.binary_media_types
    )


def proxy_event(
    api: RestApi,
    route: Route,
    request: HttpRequest,
    *,
    path_parameters: Mapping[str, str],
    request_id: str,
    epoch_ms: int,
) -> dict[str, Any]:
    """The event for the function behind ``route``."""
    raw_path, _, raw_query = request.target.partition("?")
    path = urllib.parse.unquote(raw_path)
    query = urllib.parse.parse_qsl(raw_query, keep_blank_values=True, errors="replace")
    headers = _forwarded(request)
    body, encoded = _body(api, request)
    return {
        "resource": route.resource,
        "path": path,
        "httpMethod": request.method,
        "headers": dict(headers),
        "multiValueHeaders": _multi(headers),
        "queryStringParameters": dict(query) or None,
        "multiValueQueryStringParameters": _multi(query) or None,
        "pathParameters": dict(path_parameters) or None,
        "stageVariables": None,
        "requestContext": _context(api, route, request, path=path, request_id=request_id, epoch_ms=epoch_ms),
        "body": body,
        "isBase64Encoded": encoded,
    }


def _header(headers: Headers, name: str) -> str:
    return next((value for key, value in headers if key.lower() == name), "")


def _forwarded(request: HttpRequest) -> Headers:
    already = _header(request.headers, "x-forwarded-for")
    kept = [
        (name, value)
        for name, value in request.headers
        if name.lower() not in {"connection", "keep-alive", "transfer-encoding", "x-forwarded-for", "expect"}
    ]
    return [
        *kept,
        ("X-Forwarded-For", f"{already}, {request.source_ip}" if already else request.source_ip),
        ("X-Forwarded-Port", _header(request.headers, "host").partition(":")[2] or "80"),
        ("X-Forwarded-Proto", "http"),
    ]


def _multi(pairs: Headers) -> dict[str, list[str]]:
    gathered: dict[str, list[str]] = {}
    for name, value in pairs:
        gathered.setdefault(name, []).append(value)
    return gathered


def _body(api: RestApi, request: HttpRequest) -> tuple[str | None, bool]:
    if not request.body:
        return None, False
    if is_binary(api, _header(request.headers, "content-type")):
        return base64.b64encode(request.body).decode("ascii"), True
    return request.body.decode("utf-8", "replace"), False


def _context(
    api: RestApi, route: Route, request: HttpRequest, *, path: str, request_id: str, epoch_ms: int
) -> dict[str, Any]:
    host = _header(request.headers, "host")
    return {
        "accountId": ACCOUNT_ID,
        "apiId": "local",
        "domainName": host,
        "domainPrefix": host.partition(".")[0].partition(":")[0],
        "extendedRequestId": request_id.replace("-", "")[:15],
        "httpMethod": request.method,
        "identity": {
            "accessKey": None,
            "accountId": None,
            "caller": None,
            "cognitoAuthenticationProvider": None,
            "cognitoAuthenticationType": None,
            "cognitoIdentityId": None,
            "cognitoIdentityPoolId": None,
            "principalOrgId": None,
            "sourceIp": request.source_ip,
            "user": None,
            "userAgent": _header(request.headers, "user-agent") or None,
            "userArn": None,
        },
        "path": path,
        "protocol": "HTTP/1.1",
        "requestId": request_id,
        "requestTimeEpoch": epoch_ms,
        "resourceId": "local",
        "resourcePath": route.resource,
        "stage": api.stage,
    }


def http_answer(api: RestApi, payload: bytes, *, accept: str) -> HttpAnswer:
    """What the client gets for a function's answer. Raises MalformedAnswer, which API Gateway turns into a 502."""
    try:
        answer = json.loads(payload)
    except ValueError as error:
        raise MalformedAnswer(f"no JSON: {error}") from error
    if not isinstance(answer, dict):
        raise MalformedAnswer("not an object")
    unknown = answer.keys() - {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded", "cookies"}
    status = answer.get("statusCode")
    if unknown or not isinstance(status, int | str) or not str(status).isdigit():
        raise MalformedAnswer(f"statusCode {status!r}, unknown fields {sorted(unknown)}")
    return HttpAnswer(status=int(status), headers=_answer_headers(answer), body=_answer_body(api, answer, accept))


def _answer_body(api: RestApi, answer: Mapping[str, Any], accept: str) -> bytes:
    body = answer.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedAnswer("the body is no string")
    if answer.get("isBase64Encoded") and is_binary(api, accept.partition(",")[0]):
        try:
            return base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise MalformedAnswer("the body is no base64") from error
    return body.encode("utf-8")


def _answer_headers(answer: Mapping[str, Any]) -> Headers:
    single, multi = answer.get("headers") or {}, answer.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(multi, dict):
        raise MalformedAnswer("headers are no object")
    pairs = [(name, value) for name, values in multi.items() for value in values]
    given = {name.lower() for name in multi}
    pairs += [(name, value) for name, value in single.items() if name.lower() not in given]
    kept = []
    for name, value in pairs:
        if name.lower() in _REMAPPED:
            kept.append((f"x-amzn-Remapped-{name}", _one_line(value)))
        elif name.lower() not in _DROPPED:
            kept.append((name, _one_line(value)))
    if not any(name.lower() == "content-type" for name, _ in kept):
        kept.append(("Content-Type", "application/json"))
    return kept


def _one_line(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if "\r" in text or "\n" in text:
        raise MalformedAnswer("a header has a line break")
    return text
