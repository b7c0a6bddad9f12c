"""Examples of answers for the OpenAPI document, by the name of their schema. Not loaded when requests are served."""

from __future__ import annotations

from typing import Any

from functions.api.webhook_schemas import ENDPOINT_EXAMPLE

_JOB_ID = "550e8400-e29b-41d4-a716-446655440000"
_KEY_ID = "0b7d9a52-6a1f-4a0e-9f0e-5d0f6f2c7a11"
_KEY: dict[str, Any] = {
    "id": _KEY_ID,
    "name": "Production server",
    "scopes": ["read", "transcribe"],
    "created_at": "2026-11-23T12:00:00.000Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": "2026-11-23T12:34:00.000Z",
    "daily_limit_credits": 100.0,
    "rotated_to": None,
    "live": True,
}
_DELIVERY: dict[str, Any] = {
    "id": "whd_3f0c1d2e",
    "webhook_id": "msg_550e8400e29b41d4a716446655440000_1793534400_completed",
    "endpoint_id": ENDPOINT_EXAMPLE["id"],
    "transcription_id": _JOB_ID,
    "event": "transcription.completed",
    "state": "delivered",
    "created_at": "2026-11-23T12:35:00Z",
    "next_attempt_at": None,
    "replay_of": None,
    "attempts": [
        {"at": "2026-11-23T12:35:01Z", "duration_ms": 84, "status": 200, "problem": None, "answer": "ok"},
    ],
}
_UPLOAD: dict[str, Any] = {
    "upload_id": "9b2f1c6e-7d54-4a86-8a3e-0c1d2e3f4a5b",
    "filename": "interview.mp4",
    "size": 3_221_225_472,
    "expires_at": "2026-11-24T12:35:00.000Z",
    "method": "POST",
    "url": "https://…",
    "fields": {"key": "…", "policy": "…", "x-amz-signature": "…"},
    "url_expires_at": "2026-11-23T13:35:00.000Z",
}

EXAMPLES: dict[str, dict[str, Any]] = {
    "AccountView": {
        "id": "7e57d004-2b97-4e7a-b45f-5387367791cd",
        "name": "Ada's podcast",
        "balance": 994.5,
        "held": 5.5,
        "retention_days": 30,
        "limits": {
            "submits_per_minute": 60,
            "submits_remaining": 59,
            "key_daily_credits": 100.0,
            "key_daily_credits_used": 5.5,
        },
    },
    "LedgerPage": {
        "entries": [
            {
                "id": f"{_JOB_ID}#20261101T120000.000000Z#hold#1",
                "sequence": 2,
                "at": "2026-11-23T12:34:56.000Z",
                "kind": "hold",
                "amount": 0.0,
                "balance_before": 1000.0,
                "balance_after": 994.5,
                "held_before": 0.0,
                "held_after": 5.5,
                "transcription_id": _JOB_ID,
                "key_id": _KEY_ID,
                "resolves": [],
                "note": "",
            }
        ],
        "next_cursor": None,
    },
    "Usage": {
        "from": "2026-11-22",
        "to": "2026-11-23",
        "credits_spent": 31.2,
        "audio_seconds": 1847.5,
        "days": [
            {
                "day": "2026-11-23",
                "key_id": _KEY_ID,
                "submitted": 2,
                "completed": 1,
                "failed": 0,
                "cancelled": 0,
                "audio_seconds": 1847.5,
                "credits_spent": 31.2,
                "credits_held": 5.5,
            }
        ],
    },
    "Keys": {"keys": [_KEY]},
    "NewKey": {**_KEY, "last_used_at": None, "key": "att_…"},
    "WebhookEndpoint": ENDPOINT_EXAMPLE,
    "WebhookEndpoints": {"endpoints": [ENDPOINT_EXAMPLE]},
    "WebhookDelivery": _DELIVERY,
    "WebhookDeliveries": {"deliveries": [_DELIVERY], "next_cursor": None},
    "Replays": {"replayed": 3, "next_cursor": None},
    "Upload": _UPLOAD,
    "UploadState": {**_UPLOAD, "status": "waiting", "parts_received": []},
    "PartUrls": {"parts": [{"part_number": 1, "url": "https://…"}]},
    "Quote": {
        "dry_run": True,
        "duration_seconds": 275.0,
        "estimated_credits": 5.5,
        "available_credits": 1000.0,
        "sufficient_credits": True,
        "expected_wait_seconds": 12.5,
    },
}
