"""Getting large recordings into the bucket: presigned requests for clients, parts for ourselves, ranged reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from botocore.exceptions import ClientError

from shared.adapters.s3 import ObjectMissing, copy_within, read_body

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_GONE = {"NoSuchKey", "NoSuchUpload", "404", "NotFound"}
Tag = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """What S3 says of an object. ``etag`` changes whenever its bytes do."""

    key: str
    size_bytes: int
    content_type: str
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part that has arrived."""

    number: int
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PostTicket:
    """A form that may be POSTed once: its address and the fields that go before the file."""

    url: str
    fields: Mapping[str, str]


class UploadBucket:
    """The stack's bucket, for uploads. Objects written here carry a tag that the lifecycle rules look at."""

    def __init__(self, client: S3Client, name: str) -> None:
        self._client = client
        self.name = name

    # ---- presigned -------------------------------------------------------------------------------------------------

    def presign_post(
        self, key: str, *, content_type: str, size_bytes: int, tag: Tag, lifetime: timedelta
    ) -> PostTicket:
        """A POST policy for exactly this key, type, size and tag."""
        fields = {"Content-Type": content_type, "tagging": _tagging_xml(tag)}
        conditions: list[Any] = [{name: value} for name, value in fields.items()]
        answer = self._client.generate_presigned_post(
            self.name,
            key,
            Fields=dict(fields),
            Conditions=[*conditions, ["content-length-range", size_bytes, size_bytes]],
            ExpiresIn=int(lifetime.total_seconds()),
        )
        return PostTicket(url=answer["url"], fields=answer["fields"])

    def presign_part(self, key: str, multipart_id: str, number: int, *, size_bytes: int, lifetime: timedelta) -> str:
        """A URL for the PUT of one part of exactly this size."""
        arguments = {"Bucket": self.name, "Key": key, "UploadId": multipart_id, "PartNumber": number}
        return self._client.generate_presigned_url(
            "upload_part",
            Params=arguments | {"ContentLength": size_bytes},
            ExpiresIn=int(lifetime.total_seconds()),
        )

    # ---- parts -----------------------------------------------------------------------------------------------------

    def begin(self, key: str, content_type: str, tag: Tag | None = None) -> str:
        """Open an upload in parts; S3's id of it."""
        extra: dict[str, Any] = {} if tag is None else {"Tagging": urlencode([tag])}
        answer = self._client.create_multipart_upload(Bucket=self.name, Key=key, ContentType=content_type, **extra)
        return answer["UploadId"]

    def put_part(self, key: str, multipart_id: str, number: int, body: bytes) -> Part:
        """Store one part; the same number again replaces it."""
        answer = self._client.upload_part(
            Bucket=self.name, Key=key, UploadId=multipart_id, PartNumber=number, Body=body
        )
        return Part(number=number, size_bytes=len(body), etag=answer["ETag"])

    def parts(self, key: str, multipart_id: str) -> list[Part]:
        """The parts that have arrived, by number. Raises ObjectMissing when the upload is closed."""
        pages = self._client.get_paginator("list_parts").paginate(Bucket=self.name, Key=key, UploadId=multipart_id)
        try:
            return [
                Part(number=part["PartNumber"], size_bytes=part["Size"], etag=part["ETag"])
                for page in pages
                for part in page.get("Parts", [])
            ]
        except ClientError as error:
            raise _missing(error, key) from error

    def complete(self, key: str, multipart_id: str, parts: Sequence[Part]) -> None:
        """Make the object of its parts. Raises ObjectMissing when the upload is closed already."""
        listed: Any = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        try:
            self._client.complete_multipart_upload(
                Bucket=self.name, Key=key, UploadId=multipart_id, MultipartUpload={"Parts": listed}
            )
        except ClientError as error:
            raise _missing(error, key) from error

    def abort(self, key: str, multipart_id: str) -> None:
        """Forget the upload and its parts; no error when it is closed already."""
        try:
            self._client.abort_multipart_upload(Bucket=self.name, Key=key, UploadId=multipart_id)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _GONE:
                raise

    # ---- objects ---------------------------------------------------------------------------------------------------

    def find(self, key: str) -> StoredObject | None:
        """The object, or None."""
        try:
            answer = self._client.head_object(Bucket=self.name, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return None
            raise
        return StoredObject(
            key=key,
            size_bytes=answer["ContentLength"],
            content_type=answer.get("ContentType", ""),
            etag=answer["ETag"].strip('"'),
        )

    def read(self, key: str, offset: int, length: int) -> bytes:
        """A range of an object's bytes. Raises ObjectMissing."""
        try:
            wanted = f"bytes={offset}-{offset + length - 1}"
            return read_body(lambda: self._client.get_object(Bucket=self.name, Key=key, Range=wanted))
        except ClientError as error:
            raise _missing(error, key) from error

    def copy(self, stored: StoredObject, key: str) -> None:
        """Copy an object as it was seen, whatever its size, inside the bucket. Raises ObjectMissing when it changed."""
        try:
            copy_within(self._client, self.name, stored.key, key, CopySourceIfMatch=f'"{stored.etag}"')
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise ObjectMissing(stored.key) if code in {*_GONE, "PreconditionFailed", "412"} else error from error

    def delete(self, key: str) -> None:
        """Remove an object; no error when it is gone already."""
        self._client.delete_object(Bucket=self.name, Key=key)

    def tags(self, key: str) -> dict[str, str]:
        """An object's tags. Raises ObjectMissing."""
        try:
            answer = self._client.get_object_tagging(Bucket=self.name, Key=key)
        except ClientError as error:
            raise _missing(error, key) from error
        return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace an object's tags. Raises ObjectMissing."""
        tag_set: Any = [{"Key": name, "Value": value} for name, value in tags.items()]
        try:
            self._client.put_object_tagging(Bucket=self.name, Key=key, Tagging={"TagSet": tag_set})
        except ClientError as error:
            raise _missing(error, key) from error


def _missing(error: ClientError, key: str) -> Exception:
    return ObjectMissing(key) if error.response["Error"]["Code"] in _GONE else error


def _tagging_xml(tag: Tag) -> str:
    name, value = map(escape, tag)
    return f"<Tagging><TagSet><Tag><Key>{name}</Key><Value>{value}</Value></Tag></TagSet></Tagging>"
