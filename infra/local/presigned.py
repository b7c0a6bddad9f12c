"""S3's own checks of presigned URLs and POST policies, in front of moto, which makes none of them.

Sources: "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" and "POST Policy" in the Amazon
S3 API reference. Refusals have S3's status, code and message. Requests signed in the Authorization header pass
unchecked: whoever holds the local secret is welcome.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import hmac
import json
import urllib.parse
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Final
from xml.sax.saxutils import escape

from werkzeug.formparser import FormDataParser
from werkzeug.wrappers import Response

Environ = dict[str, Any]

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_LONGEST_EXPIRY_SECONDS: Final = 7 * 24 * 3600
_QUERY_FIELDS: Final = ("X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")
_UNCONDITIONED_FIELDS: Final = frozenset({"x-amz-signature", "file", "policy", "bucket"})


class S3Refusal(Exception):
    """S3 answers with this XML error. ``details`` are further elements of its body."""

    def __init__(self, status: int, code: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details = status, code, message, details

    def response(self) -> Response:
        """The answer as S3 writes it."""
        elements = {"Code": self.code, "Message": self.message, **self.details}
        elements |= {"RequestId": uuid.uuid4().hex[:16].upper(), "HostId": "local"}
        body = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in elements.items())
        xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{body}</Error>'
        return Response(xml, status=self.status, content_type="application/xml")


def _denied(message: str = "Access Denied", **details: str) -> S3Refusal:
    return S3Refusal(403, "AccessDenied", message, **details)


def check(environ: Environ, *, secret_key: str, now: dt.datetime) -> None:
    """Raise ``S3Refusal`` unless S3 would let this request in. Leaves ``wsgi.input`` at its start."""
    if environ.get("HTTP_AUTHORIZATION") or environ["REQUEST_METHOD"] == "OPTIONS":
        return
    query = urllib.parse.parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    names = {name for name, _ in query}
    if "X-Amz-Signature" in names or "X-Amz-Algorithm" in names:
        _check_url(environ, query, secret_key=secret_key, now=now)
    elif "AWSAccessKeyId" in names and "Signature" in names:
        raise S3Refusal(
            400,
            "InvalidRequest",
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        )
    elif environ["REQUEST_METHOD"] == "POST" and environ.get("CONTENT_TYPE", "").startswith("multipart/form-data"):
        _check_form(environ, secret_key=secret_key, now=now)
    else:
        raise _denied()


def _signing_key(secret_key: str, scope: Iterable[str]) -> bytes:
    key = ("AWS4" + secret_key).encode()
    for part in scope:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _require_signature(expected: str, given: str) -> None:
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise S3Refusal(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.",
        )


# ---- Presigned URLs -----------------------------------------------------------------------------------------------


def _check_url(environ: Environ, query: list[tuple[str, str]], *, secret_key: str, now: dt.datetime) -> None:
    given = dict(query)
    if given.get("X-Amz-Algorithm") != _ALGORITHM or any(name not in given for name in _QUERY_FIELDS):
        raise _malformed_query(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
            "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    scope = given["X-Amz-Credential"].split("/")[1:]
    if len(scope) != 4 or scope[2:] != ["s3", "aws4_request"]:
        raise _malformed_query("Error parsing the X-Amz-Credential parameter; the Credential is mal-formed.")
    _check_expiry(given["X-Amz-Date"], given["X-Amz-Expires"], now)
    signed = given["X-Amz-SignedHeaders"].split(";")
    headers = _headers(environ)
    unsigned = sorted(name for name in headers if name.startswith("x-amz-") and name not in signed)
    if unsigned:
        raise _denied("There were headers present in the request which were not signed", HeadersNotSigned=unsigned[0])
    canonical = "\n".join(
        (
            environ["REQUEST_METHOD"],
            _canonical_path(environ),
            _canonical_query(query),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed),
            "",
            ";".join(signed),
            given.get("X-Amz-Content-SHA256", "UNSIGNED-PAYLOAD"),
        )
    )
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join((_ALGORITHM, given["X-Amz-Date"], "/".join(scope), digest))
    expected = hmac.new(_signing_key(secret_key, scope), text.encode(), hashlib.sha256).hexdigest()
    _require_signature(expected, given["X-Amz-Signature"])


def _malformed_query(message: str) -> S3Refusal:
    return S3Refusal(400, "AuthorizationQueryParametersError", message)


def _check_expiry(signed_at: str, expires: str, now: dt.datetime) -> None:
    try:
        start = dt.datetime.strptime(signed_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        seconds = int(expires)
    except ValueError:
        raise _malformed_query("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"") from None
    if not 0 < seconds <= _LONGEST_EXPIRY_SECONDS:
        raise _malformed_query("X-Amz-Expires must be less than a week (in seconds); that is, less than 604800.")
    end = start + dt.timedelta(seconds=seconds)
    if now > end:
        raise _denied(
            "Request has expired",
            **{"X-Amz-Expires": expires, "Expires": end.isoformat(), "ServerTime": now.isoformat()},
        )
    if start > now + dt.timedelta(minutes=15):
        raise _denied("Request is not valid yet")


def _headers(environ: Environ) -> dict[str, str]:
    return {
        name.removeprefix("HTTP_").replace("_", "-").lower(): str(text)
        for name, text in environ.items()
        if name.startswith("HTTP_") or name in {"CONTENT_TYPE", "CONTENT_LENGTH"}
    }


def _canonical_path(environ: Environ) -> str:
    raw = str(environ.get("REQUEST_URI") or urllib.parse.quote(environ.get("PATH_INFO", ""))).partition("?")[0]
    if raw.startswith("http"):  # absolute form, as proxies send it
        raw = urllib.parse.urlsplit(raw).path
    return urllib.parse.quote(urllib.parse.unquote_to_bytes(raw), safe="/-_.~") or "/"


def _canonical_query(query: list[tuple[str, str]]) -> str:
    encoded = sorted(
        (urllib.parse.quote(name, safe="-_.~"), urllib.parse.quote(value, safe="-_.~"))
        for name, value in query
        if name != "X-Amz-Signature"
    )
    return "&".join(f"{name}={value}" for name, value in encoded)


# ---- POST policies ------------------------------------------------------------------------------------------------


def _check_form(environ: Environ, *, secret_key: str, now: dt.datetime) -> None:
    fields, size_bytes = _form(environ)
    if "policy" not in fields:
        raise _denied()
    for name in ("x-amz-credential", "x-amz-signature", "x-amz-date", "x-amz-algorithm"):
        if name not in fields:
            raise S3Refusal(
                400, "InvalidArgument", f"Bucket POST must contain a field named '{name}'. ", ArgumentName=name
            )
    scope = fields["x-amz-credential"].split("/")[1:]
    expected = hmac.new(_signing_key(secret_key, scope), fields["policy"].encode(), hashlib.sha256).hexdigest()
    _require_signature(expected, fields["x-amz-signature"])
    expires_at, conditions = _parse_policy(fields["policy"])
    if now > expires_at:
        raise _denied("Invalid according to Policy: Policy expired.")
    fields["bucket"] = environ.get("PATH_INFO", "").strip("/").split("/")[0]
    _check_conditions(conditions, fields, size_bytes)


def _form(environ: Environ) -> tuple[dict[str, str], int]:
    """The form's fields by lower-case name, and the size of its file in bytes."""
    body = environ["wsgi.input"]
    length = int(environ.get("CONTENT_LENGTH") or 0)
    mimetype, options = _content_type(environ["CONTENT_TYPE"])
    try:
        _, form, files = FormDataParser(silent=False).parse(body, mimetype, length, options)
    except ValueError:
        raise S3Refusal(
            400, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data."
        ) from None
    finally:
        body.seek(0)
    fields = {name.lower(): value for name, value in form.items()}
    upload = files.get("file")
    if upload is None:
        text = fields.pop("file", None)
        if text is None:
            raise S3Refusal(400, "InvalidArgument", "POST requires exactly one file upload per request.")
        return fields, len(text.encode())
    fields["key"] = fields.get("key", "").replace("${filename}", upload.filename or "")
    size_bytes = upload.stream.seek(0, 2)
    upload.close()
    return fields, size_bytes


def _content_type(header: str) -> tuple[str, dict[str, str]]:
    from werkzeug.http import parse_options_header

    mimetype, options = parse_options_header(header)
    return mimetype, dict(options)


def _parse_policy(encoded: str) -> tuple[dt.datetime, list[Any]]:
    try:
        policy = json.loads(base64.b64decode(encoded, validate=True))
        expires_at = dt.datetime.fromisoformat(policy["expiration"])
        conditions = policy["conditions"]
    except (binascii.Error, ValueError, KeyError, TypeError, AttributeError):
        raise S3Refusal(400, "InvalidPolicyDocument", "Invalid Policy: Invalid JSON.") from None
    if not isinstance(conditions, list) or expires_at.tzinfo is None:
        raise S3Refusal(400, "InvalidPolicyDocument", "Invalid Policy: Invalid 'conditions' or 'expiration' value.")
    return expires_at, conditions


def _check_conditions(conditions: list[Any], fields: Mapping[str, str], size_bytes: int) -> None:
    named: set[str] = set()
    for condition in conditions:
        for kind, name, wanted in _as_triples(condition):
            if kind == "content-length-range":
                _check_size(size_bytes, int(name), int(wanted))
                continue
            field = str(name).removeprefix("$").lower()
            named.add(field)
            given = fields.get(field, "")
            if not (given.startswith(wanted) if kind == "starts-with" else given == wanted):
                shown = json.dumps([kind, f"${field}", wanted])
                raise _denied(f"Invalid according to Policy: Policy Condition failed: {shown}")
    for name in fields:
        if name not in named and name not in _UNCONDITIONED_FIELDS and not name.startswith("x-ignore-"):
            raise _denied(f"Invalid according to Policy: Extra input fields: {name}")


def _as_triples(condition: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(condition, dict):
        return [("eq", name, wanted) for name, wanted in condition.items()]
    if isinstance(condition, list) and len(condition) == 3:
        kind = str(condition[0]).lower()
        if kind in {"eq", "starts-with", "content-length-range"}:
            return [(kind, condition[1], condition[2])]
    raise S3Refusal(400, "InvalidPolicyDocument", "Invalid Policy: Invalid Condition.")


def _check_size(size_bytes: int, smallest: int, largest: int) -> None:
    if size_bytes > largest:
        raise S3Refusal(
            400,
            "EntityTooLarge",
            "Your proposed upload exceeds the maximum allowed size",
            ProposedSize=str(size_bytes),
            MaxSizeAllowed=str(largest),
        )
    if size_bytes < smallest:
        raise S3Refusal(
            400,
            "EntityTooSmall",
            "Your proposed upload is smaller than the minimum allowed size",
            ProposedSize=str(size_bytes),
            MinSizeAllowed=str(smallest),
        )
