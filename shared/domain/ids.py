"""Identifiers, as types of their own so that one cannot stand for another."""

from __future__ import annotations

from typing import NewType

AccountId = NewType("AccountId", str)
KeyId = NewType("KeyId", str)
JobId = NewType("JobId", str)
AttemptId = NewType("AttemptId", str)
EntryId = NewType("EntryId", str)
UploadId = NewType("UploadId", str)
