"""POST to addresses that strangers name: over guarded connections, no redirects, everything bounded."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping

from shared.adapters.pinned import Deadline, GuardedConnector, HttpFailure, Resolve, resolve
from shared.domain.urls import WebUrl
from shared.domain.webhooks import Answer

__all__ = ["HttpClient", "HttpFailure"]

EXCERPT_BYTES = 1_024  # of the answer's body; nobody needs more


class HttpClient:
    """Posts to URLs handed in by customers."""

    def __init__(
        self,
        *,
        allow_loopback: bool = False,
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.allow_loopback = allow_loopback
        self._connector = GuardedConnector(
            allow_loopback=allow_loopback, resolve=resolve, tls=tls or ssl.create_default_context()
        )

    def post(self, url: WebUrl, body: bytes, headers: Mapping[str, str], *, timeout_seconds: float) -> Answer:
        """Send ``body`` and read the start of the answer, all within ``timeout_seconds``. Raises HttpFailure."""
        deadline = Deadline(timeout_seconds)
        try:
            return self._exchange(url, body, headers, deadline)
        except TimeoutError as error:
            raise HttpFailure(f"no answer within {timeout_seconds:g} s") from error
        except ssl.SSLError as error:
            raise HttpFailure(f"TLS: {error.reason or 'failed'}") from error
        except (OSError, http.client.HTTPException) as error:
            raise HttpFailure(_reason(error)) from error

    def _exchange(self, url: WebUrl, body: bytes, headers: Mapping[str, str], deadline: Deadline) -> Answer:
        with self._connector.exchange("POST", url, headers, deadline, body) as response:
            received = {name.lower(): value for name, value in response.getheaders()}
            return Answer(status=response.status, headers=received, body_start=_excerpt(response))


def _excerpt(response: http.client.HTTPResponse) -> bytes:
    """The start of the body. A body that breaks off or dawdles does not undo the status that came before it."""
    try:
        return response.read(EXCERPT_BYTES)
    except (OSError, http.client.HTTPException):
        return b""


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
