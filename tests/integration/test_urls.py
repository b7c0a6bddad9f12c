"""Transcriptions from URLs: from the request over the fetch in the job to the result or a failure with a name."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from gpu_jobs.fetch import Fetcher, FetchSettings
from gpu_jobs.run import RunEnd
from shared.bootstrap import Services
from shared.domain.transcripts import Engines, Segment, Transcript
from tests.integration.conftest import Customer
from tests.integration.web_servers import Reply, site
from tests.media_files import RECIPES, make
from tests.pipelines import Asked, StandIn, work_on


class Pipeline(StandIn):
    """Hears the same in everything, and keeps what it was given."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.heard: list[bytes] = []

    def hear(self, asked: Asked) -> Transcript:
        """The given length of talk."""
        self.heard.append(asked.path.read_bytes())
        asked.on_measured(self.seconds)
        segment = Segment(start_seconds=0.0, end_seconds=self.seconds, text="Talk.")
        return Transcript(
            duration_seconds=self.seconds, language="en", engines=Engines(transcriber="t"), segments=(segment,)
        )


def _submit(api: TestClient, customer: Customer, url: str, **options: Any) -> Any:
    return api.post("/api/v1/transcribe/url/", json={"url": url} | options, headers=customer.headers)


def _run(services: Services, job_id: str, pipeline: Pipeline) -> RunEnd:
    return work_on(services, job_id, pipeline, fetcher=Fetcher(FetchSettings(allow_loopback=True)))


def test_a_file_on_the_web_is_estimated_fetched_and_transcribed(
    api: TestClient, services: Services, funded: Customer
) -> None:
    sound = make(RECIPES["mp3_cbr"], 30)
    pipeline = Pipeline(30.0)
    with site(lambda _path: Reply(body=sound)) as running:
        answer = _submit(api, funded, running.url("/talk.mp3"), diarization=True)
        job_id = answer.json()["id"]
        end = _run(services, job_id, pipeline)

    assert answer.status_code == 202
    assert answer.json()["estimated_credits"] > 0
    assert end is RunEnd.COMPLETED
    assert pipeline.heard == [sound]
    assert services.jobs.get(job_id, funded.account_id).recording.filename == "talk.mp3"
    result = api.get(f"/api/v1/transcribe/{job_id}/", headers=funded.headers).json()
    assert result["credits_used"] == answer.json()["estimated_credits"]
    assert funded.balance().held_millicredits == 0


def test_a_file_whose_server_knows_no_ranges_is_held_for_when_its_length_is_known(
    api: TestClient, services: Services, funded: Customer
) -> None:
    sound = make(RECIPES["mp3_cbr"], 3)
    with site(lambda _path: Reply(body=sound, ranges=False)) as running:
        answer = _submit(api, funded, running.url("/talk.mp3"))
        end = _run(services, answer.json()["id"], Pipeline(600.0))

    assert answer.json()["estimated_credits"] is None
    assert end is RunEnd.COMPLETED
    view = api.get(f"/api/v1/transcribe/{answer.json()['id']}/", headers=funded.headers).json()
    assert view["credits_used"] == pytest.approx(10, rel=0.2)


def test_max_credits_holds_for_a_length_that_is_known_late(
    api: TestClient, services: Services, funded: Customer
) -> None:
    with site(lambda _path: Reply(body=make(RECIPES["wav"], 3), ranges=False)) as running:
        answer = _submit(api, funded, running.url("/talk.wav"), max_credits=2)
        end = _run(services, answer.json()["id"], Pipeline(6_000.0))

    view = api.get(f"/api/v1/transcribe/{answer.json()['id']}/", headers=funded.headers).json()
    assert (end, view["error_code"]) == (RunEnd.FAILED, "max_credits_exceeded")
    assert funded.balance().available_millicredits == 1_000_000


def test_a_retried_job_does_not_fetch_again(api: TestClient, services: Services, funded: Customer) -> None:
    class Breaks(Pipeline):
        def hear(self, asked: Asked) -> Transcript:
            """Break down."""
            raise RuntimeError

    with site(lambda _path: Reply(body=make(RECIPES["wav"], 3), ranges=False)) as running:
        job_id = _submit(api, funded, running.url("/talk.wav")).json()["id"]
        assert _run(services, job_id, Breaks(3.0)) is RunEnd.GIVEN_BACK
        fetches = len(running.requests)
        assert _run(services, job_id, Pipeline(3.0)) is RunEnd.COMPLETED

    assert len(running.requests) == fetches


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply(status=404), "source_not_found"),
        (Reply(status=403), "source_forbidden"),
        (Reply(body=b"<html>nothing here</html>"), "source_not_media"),
        (Reply(status=302, headers={"Location": "http://169.254.169.254/"}), "source_forbidden"),
    ],
)
def test_what_cannot_be_fetched_fails_the_job_and_costs_nothing(
    reply: Reply, code: str, api: TestClient, services: Services, funded: Customer
) -> None:
    with site(lambda _path: reply) as running:
        answer = _submit(api, funded, running.url("/talk.mp3"))
        end = _run(services, answer.json()["id"], Pipeline(1.0))

    view = api.get(f"/api/v1/transcribe/{answer.json()['id']}/", headers=funded.headers).json()
    assert (end, view["status"], view["error_code"]) == (RunEnd.FAILED, "failed", code)
    assert view["error_message"].endswith(".")
    assert funded.balance().available_millicredits == 1_000_000


def test_what_is_plainly_no_recording_is_refused_at_once(api: TestClient, funded: Customer) -> None:
    with site(lambda _path: Reply(body=b"%PDF-1.7\n" + bytes(1_000))) as running:
        answer = _submit(api, funded, running.url("/talk.mp3"))

    assert (answer.status_code, answer.json()["field"]) == (400, "url")
    assert funded.balance().held_millicredits == 0


def test_a_page_of_a_site_is_taken_without_an_estimate(api: TestClient, funded: Customer) -> None:
    answer = _submit(api, funded, "https://www.youtube.com/watch?v=dQw4w9WgXcQ", summary=True)

    assert (answer.status_code, answer.json()["estimated_credits"]) == (202, None)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "talk.mp3",
        "ftp://example.com/a.mp3",
        "file:///etc/passwd",
        "http://10.0.0.1/a.mp3",
        "http://[::1",
        "x" * 3000,
    ],
)
def test_an_address_that_cannot_be_used_is_refused(url: str, api: TestClient, funded: Customer) -> None:
    answer = _submit(api, funded, url)

    assert (answer.status_code, answer.json()["field"]) == (400, "url")


@pytest.mark.parametrize("body", [{}, {"url": 5}, {"url": None}, {"url": ["https://example.com/a.mp3"]}, []])
def test_a_body_without_an_address_is_refused(body: Any, api: TestClient, funded: Customer) -> None:
    assert api.post("/api/v1/transcribe/url/", json=body, headers=funded.headers).status_code == 400


def test_a_form_instead_of_json_is_refused(api: TestClient, funded: Customer) -> None:
    answer = api.post("/api/v1/transcribe/url/", data={"url": "https://example.com/a.mp3"}, headers=funded.headers)

    assert answer.status_code == 415
