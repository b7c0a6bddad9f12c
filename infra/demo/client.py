"""A customer of the service: sends a recording over HTTP and asks how far it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

_REQUEST_TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.25


class DemoFailed(Exception):
    """The demo cannot go on; the message is for the person who typed the command."""


class ServiceSaidNo(DemoFailed):
    """The service refused or failed the recording and said why: its log has nothing to add."""


class Customer:
    """Talks to the API at ``base_url`` as the owner of ``api_key``."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._jobs_url = f"{base_url.rstrip('/')}/api/v1/transcribe/"
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy in the environment knows nothing about this machine's own ports
        self._session.headers["Authorization"] = f"Bearer {api_key}"

    def submit(self, recording: Path, options: dict[str, str]) -> dict[str, Any]:
        """The new job: its id and estimate. Raises DemoFailed with the API's own words when it says no."""
        with recording.open("rb") as file:
            return self._answer("POST", self._jobs_url, files={"file": (recording.name, file)}, data=options)

    def until_done(self, job_id: str, *, timeout_seconds: float) -> Iterator[dict[str, Any]]:
        """Every state of the job, the last one completed. Raises DemoFailed when it fails or takes too long."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            job = self._answer("GET", f"{self._jobs_url}{job_id}/", params={"segments": "true"})
            yield job
            if job["status"] == "completed":
                return
            if job["status"] != "processing":
                raise ServiceSaidNo(f"The transcription {job['status']}: {job.get('error_message', 'no reason given')}")
            if time.monotonic() > deadline:
                raise DemoFailed(f"The transcription was not done after {timeout_seconds:.0f} s.")
            time.sleep(_POLL_SECONDS)

    def _answer(self, method: str, url: str, **request: Any) -> dict[str, Any]:
        try:
            response = self._session.request(method, url, timeout=_REQUEST_TIMEOUT_SECONDS, **request)
            body: dict[str, Any] = response.json()
        except (requests.RequestException, ValueError) as error:
            raise DemoFailed(f"The service gave no usable answer to {method} {url}: {error}") from error
        if not response.ok:
            kind = ServiceSaidNo if response.status_code < 500 else DemoFailed
            raise kind(f"The service answered {response.status_code}: {body.get('message', body)}")
        return body
