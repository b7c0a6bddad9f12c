"""Which AWS calls were made, by whom, on what: as IAM sees them, so that policies can be held against them.

A transaction is its writes, a batch its single calls, HEAD of an object is s3:GetObject.
"""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_TRANSACTED = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


class CallsFile:
    """Writes each different call once, as it is first made: ``caller<TAB>action<TAB>resource``."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("a", encoding="utf-8", buffering=1)
        self._seen: set[tuple[str, str, str]] = set()
        self._lock = threading.Lock()

    def note(self, caller: str, environ: dict[str, Any]) -> None:
        """Write the calls of this request, unless they were seen before."""
        for action, resource in calls_of(environ):
            call = (caller, action, resource)
            with self._lock:
                if call not in self._seen:
                    self._seen.add(call)
                    self._stream.write("\t".join(call) + "\n")


def calls_of(environ: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """IAM action and resource name of each call in a request."""
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    service, _, operation = target.partition(".")
    if service.startswith("DynamoDB"):
        yield from _dynamodb(operation, _body(environ))
    elif service == "AmazonSQS":
        name = str(_body(environ).get("QueueUrl", "")).rpartition("/")[2]
        yield f"sqs:{operation.removesuffix('Batch')}", name
    elif service == "AWSEvents":
        for entry in _body(environ).get("Entries", []):
            yield f"events:{operation}", str(entry.get("EventBusName", "default"))
    elif service.startswith("Logs_"):
        yield f"logs:{operation}", str(_body(environ).get("logGroupName"))
    elif service == "secretsmanager":
        yield f"secretsmanager:{operation}", str(_body(environ).get("SecretId"))
    elif not target:
        yield from _s3(environ)


def _dynamodb(operation: str, body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if operation == "TransactWriteItems":
        for item in body["TransactItems"]:
            for kind, write in item.items():
                yield f"dynamodb:{_TRANSACTED[kind]}", write["TableName"]
    elif "RequestItems" in body:
        for table in body["RequestItems"]:
            yield f"dynamodb:{operation}", table
    else:
        index = f"/index/{body['IndexName']}" if "IndexName" in body else ""
        yield f"dynamodb:{operation}", f"{body.get('TableName')}{index}"


def _s3(environ: dict[str, Any]) -> Iterator[tuple[str, str]]:
    bucket, _, key = environ.get("PATH_INFO", "/")[1:].partition("/")
    query = urllib.parse.parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    method = environ["REQUEST_METHOD"]
    resource = f"{bucket}/{key}" if key else bucket
    if "tagging" in query:
        yield {"GET": "s3:GetObjectTagging", "PUT": "s3:PutObjectTagging"}.get(method, f"s3:{method}Tagging"), resource
    elif not key:
        yield ("s3:ListBucket" if method in {"GET", "HEAD"} else f"s3:{method}Bucket"), resource
    elif method in {"GET", "HEAD"}:
        yield ("s3:ListMultipartUploadParts" if "uploadId" in query else "s3:GetObject"), resource
    elif method == "DELETE":
        yield ("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject"), resource
    else:
        yield "s3:PutObject", resource
        if "HTTP_X_AMZ_TAGGING" in environ:
            yield "s3:PutObjectTagging", resource
        if source := environ.get("HTTP_X_AMZ_COPY_SOURCE"):
            original = urllib.parse.unquote(source).lstrip("/").partition("?")[0]
            yield "s3:GetObject", original
            yield "s3:PutObjectTagging", resource  # a copy sets tags: those it is told, or the original's
            if environ.get("HTTP_X_AMZ_TAGGING_DIRECTIVE") != "REPLACE":
                yield "s3:GetObjectTagging", original


def _body(environ: dict[str, Any]) -> dict[str, Any]:
    stream = environ["wsgi.input"]
    parsed: Any = json.loads(stream.read(int(environ.get("CONTENT_LENGTH") or 0)) or b"{}")
    stream.seek(0)
    return parsed if isinstance(parsed, dict) else {}
