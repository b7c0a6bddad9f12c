"""Every error the product can raise on purpose, in one tree.

    AudioToTextError
    ├── RequestError                what a caller did; one table in functions/api/errors.py makes it a 4xx
    │   ├── Unauthorized
    │   ├── Forbidden
    │   ├── InvalidRequest          names the field
    │   ├── InsufficientCredits     carries both amounts
    │   ├── SpendLimitReached       carries the key's daily limit and seconds to wait
    │   ├── NotFound
    │   ├── Conflict
    │   │   └── RequestInProgress   the first request with this Idempotency-Key is still running
    │   ├── IdempotencyKeyReused    the same Idempotency-Key came with another request
    │   ├── PayloadTooLarge
    │   ├── RequestTimedOut
    │   ├── UnsupportedMediaType
    │   └── RateLimited             carries seconds to wait
    ├── JobFailure                  why a job ended `failed`; code and message reach the customer
    └── Stale                       a conditional write lost: another process already did this step

Each carries a stable ``code`` and a ``message`` that says what to do next. There is no HTTP here.
"""

from __future__ import annotations

from typing import ClassVar

from shared.domain.amounts import format_credits


class AudioToTextError(Exception):
    """Base of the tree. ``code`` is stable and machine-readable, ``message`` is for a person."""

    code: str = "server_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class RequestError(AudioToTextError):
    """The caller can fix this by changing the request."""


class Unauthorized(RequestError):
    """The key is missing, malformed, unknown, expired or revoked (never says which)."""

    code = "unauthorized"

    def __init__(
        self, message: str = "Invalid or missing API key. Send it as 'Authorization: Bearer YOUR_API_KEY'."
    ) -> None:
        super().__init__(message)


class Forbidden(RequestError):
    """The key is good but lacks the scope."""

    code = "forbidden"


class InvalidRequest(RequestError):
    """One field is wrong. ``field`` is its name on the wire."""

    code = "invalid_request"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class InsufficientCredits(RequestError):
    """The account has fewer credits than the job needs. Amounts in milli-credits."""

    code = "insufficient_credits"

    def __init__(self, *, available_millicredits: int, required_millicredits: int) -> None:
        available, required = format_credits(available_millicredits), format_credits(required_millicredits)
        super().__init__(f"You have {available} credits remaining but this transcription requires {required} credits.")
        self.available_millicredits = available_millicredits
        self.required_millicredits = required_millicredits


class SpendLimitReached(RequestError):
    """The key has spent (or set aside) what it may in one day, or one transcription costs more than that.

    Amounts in milli-credits. ``spent_millicredits`` and ``retry_after_seconds`` are None where no day will do.
    """

    code = "spend_limit_reached"

    def __init__(
        self,
        *,
        limit_millicredits: int,
        required_millicredits: int,
        spent_millicredits: int | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        limit, required = format_credits(limit_millicredits), format_credits(required_millicredits)
        if spent_millicredits is None:
            why = f"This transcription requires {required} credits, and this API key may spend {limit} a day."
            todo = "Use a key with a higher limit."
        else:
            spent = format_credits(spent_millicredits)
            why = f"This API key may spend {limit} credits a day and has {spent} in use or spent today (UTC)."
            todo = "Use a key with a higher limit, or wait for tomorrow (UTC)."
        super().__init__(f"{why} {todo}")
        self.limit_millicredits = limit_millicredits
        self.required_millicredits = required_millicredits
        self.spent_millicredits = spent_millicredits
        self.retry_after_seconds = retry_after_seconds


class NotFound(RequestError):
    """No such thing for this account (a foreign id looks exactly the same)."""

    code = "not_found"


class Conflict(RequestError):
    """The thing is not in a state that allows this."""

    code = "conflict"


class RequestInProgress(Conflict):
    """The first request with this Idempotency-Key has not been answered yet."""

    code = "request_in_progress"

    def __init__(self, *, retry_after_seconds: int = 1) -> None:
        super().__init__("The first request with this Idempotency-Key is still running. Try again in a moment.")
        self.retry_after_seconds = retry_after_seconds


class IdempotencyKeyReused(RequestError):
    """The Idempotency-Key was used with another request within its 24 hours."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used with a different request. Use a new key for a new request.")


class PayloadTooLarge(RequestError):
    """The body is over a limit; the message names another way in."""

    code = "payload_too_large"


class RequestTimedOut(RequestError):
    """The body came too slowly or stopped coming."""

    code = "request_timeout"


class UnsupportedMediaType(RequestError):
    """The body has the wrong Content-Type."""

    code = "unsupported_media_type"


class RateLimited(RequestError):
    """Too many requests; try again after ``retry_after_seconds``. ``limit`` is how many there may be per minute."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after_seconds: int, limit: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.limit = limit


class JobFailure(AudioToTextError):
    """A job ends ``failed`` with this code and message; nothing is charged.

    Codes are listed in ``JobFailure.CODES`` and documented in docs/api.md.
    """

    CODES: ClassVar[frozenset[str]] = frozenset(
        {
            "audio_unreadable",  # not media, or damaged beyond decoding
            "audio_missing",  # the upload is gone
            "result_missing",  # the transcription that a stage was to be run again for is gone
            "audio_too_long",
            "no_audio_track",  # a video without sound
            "language_unsupported",  # the engine at hand lacks the language
            "insufficient_credits",  # the real duration costs more than the account has
            "max_credits_exceeded",  # the real duration costs more than the request's max_credits
            "spend_limit_reached",  # the real duration costs more than the key may still spend today
            "engine_failed",
            "source_not_found",  # nothing at the URL
            "source_forbidden",  # the URL needs a login, or is none we may connect to
            "source_blocked",  # the site takes us for a robot
            "source_too_large",
            "source_too_long",
            "source_not_media",
            "source_timeout",  # the URL's server is too slow or broken
            "source_is_playlist",
            "source_is_live",
            "timed_out",  # every attempt lost its lease
            "cancelled",
        }
    )

    def __init__(self, code: str, message: str) -> None:
        if code not in self.CODES:
            raise ValueError(f"unknown job failure code {code!r}")
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[JobFailure], tuple[str, str]]:
        """Pickled whole: it crosses between machines."""
        return type(self), (self.code, self.message)


class Stale(AudioToTextError):
    """A conditional write lost: somebody else already moved this job, hold or message on."""

    code = "stale"
