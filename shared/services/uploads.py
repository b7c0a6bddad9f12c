"""Uploads: recordings of any size straight into the bucket, then named by the job that takes them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.adapters.s3 import Bucket, ObjectMissing
from shared.adapters.s3_uploads import Part, PostTicket, StoredObject, UploadBucket
from shared.domain import uploads as rules
from shared.domain.errors import Conflict, InvalidRequest, NotFound
from shared.domain.ids import AccountId, UploadId
from shared.domain.uploads import Upload

NO_UPLOAD = "There is no upload with this id. Uploads that no transcription has used are deleted after a day."


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What a client says of a recording before it sends it."""

    filename: str
    content_type: str
    size_bytes: int
    in_parts: bool = False  # wanted even where one POST would do: parts can be resumed


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadState:
    """An upload and what has arrived of it."""

    upload: Upload
    is_complete: bool
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A form that brings an upload in with one POST."""

    form: PostTicket
    expires_at: datetime


class Uploads:
    """The way in for large recordings."""

    def __init__(
        self, bucket: Bucket, uploads: UploadBucket, now: Callable[[], datetime], new_id: Callable[[], str]
    ) -> None:
        self._bucket = bucket
        self._uploads = uploads
        self._now = now
        self._new_id = new_id

    def plan(self, account_id: AccountId, announced: Announcement) -> Upload:
        """A new upload. Raises InvalidRequest (size)."""
        if not 0 < announced.size_bytes <= rules.MAX_UPLOAD_BYTES:
            limit = f"{rules.MAX_UPLOAD_BYTES // 1000**3} GB"
            raise InvalidRequest(f"'size' must be the file's size in bytes, from 1 to {limit}.", field="size")
        upload_id = UploadId(self._new_id())
        key = rules.upload_key(account_id, upload_id)
        multipart_id = None
        if announced.in_parts or announced.size_bytes > rules.MAX_POST_BYTES:
            multipart_id = self._uploads.begin(key, announced.content_type, rules.UNUSED_TAG)
        upload = Upload(
            upload_id=upload_id,
            account_id=account_id,
            filename=announced.filename,
            content_type=announced.content_type,
            size_bytes=announced.size_bytes,
            created_at=self._now(),
            multipart_id=multipart_id,
        )
        self._bucket.put(rules.plan_key(account_id, upload_id), _to_json(upload), "application/json")
        return upload

    def ticket(self, upload: Upload) -> Ticket | None:
        """The form to POST, good for an hour at most; None for an upload in parts."""
        key, now = rules.upload_key(upload.account_id, upload.upload_id), self._now()
        lifetime = min(rules.URLS_LIVE_FOR, upload.expires_at - now)
        if upload.multipart_id is not None:
            return None
        form = self._uploads.presign_post(
            key,
            content_type=upload.content_type,
            size_bytes=upload.size_bytes,
            tag=rules.UNUSED_TAG,
            lifetime=lifetime,
        )
        return Ticket(form=form, expires_at=now + lifetime)

    def get(self, account_id: AccountId, upload_id: str) -> Upload:
        """The plan. Raises NotFound, for another account's and for an expired one too."""
        if not rules.is_upload_id(upload_id):
            raise NotFound(NO_UPLOAD)
        try:
            plan = self._bucket.get(rules.plan_key(account_id, UploadId(upload_id)))
        except ObjectMissing as error:
            raise NotFound(NO_UPLOAD) from error
        upload = _from_json(account_id, UploadId(upload_id), plan)
        if upload.expires_at <= self._now():
            raise NotFound(NO_UPLOAD)
        return upload

    def state(self, account_id: AccountId, upload_id: str) -> UploadState:
        """What has arrived: enough to go on after a break. Raises NotFound."""
        upload = self.get(account_id, upload_id)
        key = rules.upload_key(account_id, upload.upload_id)
        if self._uploads.find(key) is not None:
            return UploadState(upload=upload, is_complete=True)
        if upload.multipart_id is None:
            return UploadState(upload=upload, is_complete=False)
        try:
            parts = self._uploads.parts(key, upload.multipart_id)
        except ObjectMissing as error:
            raise NotFound(NO_UPLOAD) from error  # aborted
        return UploadState(upload=upload, is_complete=False, parts=tuple(parts))

    def part_urls(self, account_id: AccountId, upload_id: str, numbers: Sequence[int]) -> list[tuple[int, str]]:
        """Presigned URLs of parts, each for exactly its part's size. Raises NotFound, InvalidRequest, Conflict."""
        upload = self.get(account_id, upload_id)
        if upload.multipart_id is None:
            raise Conflict("This upload is sent with one POST, not in parts.")
        if not 0 < len(numbers) <= rules.MAX_PARTS_PER_REQUEST:
            message = f"'part_numbers' must list 1 to {rules.MAX_PARTS_PER_REQUEST} parts."
            raise InvalidRequest(message, field="part_numbers")
        if not all(1 <= number <= upload.part_count for number in numbers):
            raise InvalidRequest(f"This upload has the parts 1 to {upload.part_count}.", field="part_numbers")
        key = rules.upload_key(account_id, upload.upload_id)
        return [
            (
                number,
                self._uploads.presign_part(
                    key,
                    upload.multipart_id,
                    number,
                    size_bytes=upload.part_bytes(number),
                    lifetime=rules.URLS_LIVE_FOR,
                ),
            )
            for number in numbers
        ]

    def complete(self, account_id: AccountId, upload_id: str) -> Upload:
        """Put the parts together; again is harmless. Raises NotFound, or Conflict naming the parts still missing."""
        state = self.state(account_id, upload_id)
        upload = state.upload
        if state.is_complete:
            return upload
        if upload.multipart_id is None:
            raise Conflict("The file has not arrived yet. POST it to the upload's url first.")
        sizes = {part.number: part.size_bytes for part in state.parts}
        wrong = [n for n in range(1, upload.part_count + 1) if sizes.get(n) != upload.part_bytes(n)]
        if wrong:
            shown = ", ".join(map(str, wrong[:10])) + (", …" if len(wrong) > 10 else "")
            raise Conflict(f"{len(wrong)} of {upload.part_count} parts are missing or incomplete: {shown}.")
        key = rules.upload_key(account_id, upload.upload_id)
        try:
            self._uploads.complete(key, upload.multipart_id, state.parts)
        except ObjectMissing as error:
            if self._uploads.find(key) is None:  # unless the same request, sent twice, has just done it
                raise NotFound(NO_UPLOAD) from error
        return upload

    def abandon(self, account_id: AccountId, upload_id: str) -> None:
        """Delete an upload and everything that has arrived of it. Raises NotFound, or Conflict when a job uses it."""
        upload = self.get(account_id, upload_id)
        key = rules.upload_key(account_id, upload.upload_id)
        if upload.multipart_id is not None:
            self._uploads.abort(key, upload.multipart_id)
        with contextlib.suppress(ObjectMissing):
            if self._uploads.tags(key) == dict([rules.USED_TAG]):
                raise Conflict("A transcription uses this upload; it is deleted with its recording.")
        for found in self._bucket.find(rules.upload_prefix(account_id, upload.upload_id)):
            self._bucket.delete(found.key)

    def arrived(self, account_id: AccountId, upload_id: str) -> tuple[Upload, StoredObject]:
        """The recording. Raises NotFound, or Conflict while it has not arrived."""
        upload = self.get(account_id, upload_id)
        stored = self._uploads.find(rules.upload_key(account_id, upload.upload_id))
        if stored is None:
            how = "complete the upload" if upload.multipart_id else "POST the file to the upload's url"
            raise Conflict(f"The file has not arrived yet: first {how}.")
        return upload, stored

    def claim(self, stored: StoredObject) -> bool:
        """Take the recording for a job: from now on it is kept as long as that. False when another job has it.

        Of any that claim it at the same moment one has it. Raises NotFound when it is gone.
        """
        try:
            if self._uploads.tags(stored.key) == dict([rules.USED_TAG]):
                return False
            if not self._bucket.put_new(rules.taken_key(stored.key), b"", "text/plain"):
                return False
            self._uploads.tag(stored.key, dict([rules.USED_TAG]))
        except ObjectMissing as error:
            raise NotFound(NO_UPLOAD) from error
        return True

    def copy(self, stored: StoredObject, key: str) -> str:
        """Copy a recording that another job has to ``key``, which is returned. Raises NotFound when it is gone."""
        try:
            self._uploads.copy(stored, key)
        except ObjectMissing as error:
            raise NotFound(NO_UPLOAD) from error
        return key

    def give_back(self, stored: StoredObject, key: str) -> None:
        """Undo the claim, or the copy under ``key``, of a job that was not made."""
        if key != stored.key:
            self._bucket.delete(key)
            return
        with contextlib.suppress(ObjectMissing):
            self._uploads.tag(stored.key, dict([rules.UNUSED_TAG]))
        self._bucket.delete(rules.taken_key(stored.key))  # last: the next to claim it tags it anew


def _to_json(upload: Upload) -> bytes:
    values = {
        "filename": upload.filename,
        "content_type": upload.content_type,
        "size_bytes": upload.size_bytes,
        "created_at": upload.created_at.isoformat(),
        "multipart_id": upload.multipart_id,
    }
    return json.dumps(values, ensure_ascii=False).encode()


def _from_json(account_id: AccountId, upload_id: UploadId, body: bytes) -> Upload:
    values = json.loads(body)
    return Upload(
        upload_id=upload_id,
        account_id=account_id,
        filename=values["filename"],
        content_type=values["content_type"],
        size_bytes=values["size_bytes"],
        created_at=datetime.fromisoformat(values["created_at"]),
        multipart_id=values["multipart_id"],
    )
