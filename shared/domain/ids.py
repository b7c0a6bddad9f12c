"""Identifiers, as types of their own so that one cannot stand for another."""

from __future__ import annotations

import uuid
from typing import NewType

AccountId = NewType("AccountId", str)
KeyId = NewType("KeyId", str)
JobId = NewType("JobId", str)
AttemptId = NewType("AttemptId", str)
EntryId = NewType("EntryId", str)
UploadId = NewType("UploadId", str)


def retry_id(failed: JobId) -> JobId:
    """The id of the job that tries a failed one again: however often it is asked for, it is the same."""
    return JobId(str(uuid.uuid5(uuid.UUID(failed), "retry")))
