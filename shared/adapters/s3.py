"""Recordings and results in the stack's bucket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlencode

from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


_COPY_PART_BYTES = 256 * 1024**2  # S3 copies inside itself: with parts as for the wire 50 GB would take minutes
_BODY_TRIES = 4  # as many as botocore makes for the part of an answer that it reads itself


class ObjectMissing(Exception):
    """There is no object under this key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An object for somebody without credentials of ours, for as long as ``life``."""

    key: str
    life: timedelta
    content_disposition: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object as a listing shows it. ``modified_at`` is in whole seconds, rounded down."""

    key: str
    size_bytes: int
    etag: str
    modified_at: datetime


class Bucket:
    """The one bucket of the stack."""

    def __init__(self, client: S3Client, name: str) -> None:
        self._client = client
        self.name = name

    def upload(self, key: str, body: IO[bytes], content_type: str) -> None:
        """Store a stream under ``key``; large ones in parts, in constant memory."""
        self._client.upload_fileobj(body, self.name, key, ExtraArgs={"ContentType": content_type})

    def put(
        self,
        key: str,
        body: bytes,
        content_type: str,
        content_encoding: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Store bytes under ``key``."""
        extra: Any = {"ContentEncoding": content_encoding} if content_encoding else {}
        extra |= {"Tagging": urlencode(tags)} if tags else {}
        self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type, **extra)

    def put_new(self, key: str, body: bytes, content_type: str) -> bool:
        """Store bytes under ``key`` unless something is there already; whether they were stored."""
        try:
            self._client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type, IfNoneMatch="*")
        except ClientError as error:
            # 409: somebody else is storing it at this moment.
            if error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict"}:
                return False
            raise
        return True

    def get(self, key: str) -> bytes:
        """The bytes under ``key``. Raises ObjectMissing."""
        try:
            return read_body(lambda: self._client.get_object(Bucket=self.name, Key=key))
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                raise ObjectMissing(key) from error
            raise

    def download(self, key: str, path: Path) -> None:
        """Copy the object to a file. Raises ObjectMissing."""
        try:
            self._client.download_file(self.name, key, str(path))
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                raise ObjectMissing(key) from error
            raise

    def delete(self, key: str) -> None:
        """Remove the object; no error when it is gone already."""
        self._client.delete_object(Bucket=self.name, Key=key)

    def link(self, link: Link) -> str:
        """A presigned URL. It works while it lasts and the credentials that signed it do; never log it."""
        parameters = {"Bucket": self.name, "Key": link.key}
        if link.content_disposition is not None:
            parameters["ResponseContentDisposition"] = link.content_disposition
        return self._client.generate_presigned_url(
            "get_object", Params=parameters, ExpiresIn=int(link.life.total_seconds())
        )

    def copy(self, source: str, target: str) -> None:
        """Copy an object inside the bucket, without its tags; large ones in parts. Raises ObjectMissing."""
        try:
            copy_within(self._client, self.name, source, target)
        except ClientError as error:
            if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                raise ObjectMissing(source) from error
            raise

    def find(self, prefix: str) -> list[StoredObject]:
        """Every object whose key begins with ``prefix``."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [_listed(found) for page in pages for found in page.get("Contents", [])]

    def find_one(self, key: str) -> StoredObject | None:
        """The object with exactly this key, or None: of all that begin with it, it is the first."""
        answer = self._client.list_objects_v2(Bucket=self.name, Prefix=key, MaxKeys=1)
        return next((_listed(found) for found in answer.get("Contents", []) if found["Key"] == key), None)


def copy_within(client: S3Client, bucket: str, source: str, target: str, **conditions: str) -> None:
    """Copy an object inside a bucket, whatever its size, without its tags. Raises ClientError."""
    from boto3.s3.transfer import TransferConfig  # costs every start 20 ms, and most make no copy

    config = TransferConfig(multipart_threshold=_COPY_PART_BYTES, multipart_chunksize=_COPY_PART_BYTES)
    extra: Any = {"TaggingDirective": "REPLACE", **conditions}
    client.copy({"Bucket": bucket, "Key": source}, bucket, target, ExtraArgs=extra, Config=config)


def _listed(found: Any) -> StoredObject:
    return StoredObject(
        key=found["Key"],
        size_bytes=found["Size"],
        etag=found["ETag"].strip('"'),
        modified_at=found["LastModified"].replace(microsecond=0),
    )


def read_body(get_object: Callable[[], Mapping[str, Any]]) -> bytes:
    """The whole body of an answer. One that breaks off half-way is asked for again: botocore only does so before it."""
    for _ in range(_BODY_TRIES - 1):
        answer = get_object()
        try:
            body: bytes = answer["Body"].read()
        except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
            continue
        return body
    last: bytes = get_object()["Body"].read()
    return last
