"""The same audio with the same options, asked for again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from shared.domain.ids import AccountId
from shared.domain.options import TranscriptionOptions


def reuse_id(account_id: AccountId, content_sha256: str, options: TranscriptionOptions) -> str:
    """The name under which an account's result for this recording and these options is remembered."""
    content = json.dumps([account_id, content_sha256, asdict(options)], sort_keys=True, separators=(",", ":"))
    return f"result#{hashlib.sha256(content.encode()).hexdigest()}"
