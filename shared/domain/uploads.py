"""Uploads: a recording on its way into the bucket without passing through us, and its plan.

planned ──the client sends the bytes──► there ──a job takes it──► kept as long as the job
   └──────────────── a day later, unused: gone ────────────────┘

The first job takes the recording as it lies; every other has a copy of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.domain.ids import AccountId, UploadId

MAX_POST_BYTES = 5 * 1000**3  # S3's own limit for one POST is 5 GB
MAX_UPLOAD_BYTES = 50 * 1000**3
PART_BYTES = 64 * 1024**2
MAX_PARTS_PER_REQUEST = 100
URLS_LIVE_FOR = timedelta(hours=1)
UPLOADS_LIVE_FOR = timedelta(hours=24)
PREFIX = "uploads/"
RECORDING = "recording"
UNUSED_TAG = ("state", "unused")  # the bucket's lifecycle removes what bears it after a day
USED_TAG = ("state", "used")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What was announced. ``multipart_id`` is S3's name of an upload in parts, None where one POST does."""

    upload_id: UploadId
    account_id: AccountId
    filename: str
    content_type: str
    size_bytes: int
    created_at: datetime
    multipart_id: str | None = None

    @property
    def expires_at(self) -> datetime:
        """When it can no longer be used."""
        return self.created_at + UPLOADS_LIVE_FOR

    @property
    def part_count(self) -> int:
        """Into how many parts it is cut; the last may be shorter."""
        return -(-self.size_bytes // PART_BYTES)

    def part_bytes(self, number: int) -> int:
        """The size of a part, numbered from 1."""
        return min(PART_BYTES, self.size_bytes - (number - 1) * PART_BYTES)


def is_upload_id(text: str) -> bool:
    """True for text that has the form of an upload's id."""
    return _ID.fullmatch(text) is not None


def upload_prefix(account_id: AccountId, upload_id: UploadId) -> str:
    """Under which keys everything of an upload lies."""
    return f"{PREFIX}{account_id}/{upload_id}/"


def plan_key(account_id: AccountId, upload_id: UploadId) -> str:
    """Where the announcement lies."""
    return f"{upload_prefix(account_id, upload_id)}plan.json"


def upload_key(account_id: AccountId, upload_id: UploadId) -> str:
    """Where the recording lies."""
    return upload_prefix(account_id, upload_id) + RECORDING


def taken_key(recording: str) -> str:
    """Where the mark lies that a job has taken the recording under this key."""
    return recording.removesuffix(RECORDING) + "taken"
