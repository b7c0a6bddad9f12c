"""docs/reference.md: what stands there is what the code says, and every line of it works."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient

from functions.api.app import create_app
from functions.api.openapi import document
from functions.api.reference import Endpoint, endpoints, to_markdown
from shared.bootstrap import Services
from shared.domain.endpoints import EndpointWish, EventType
from shared.domain.jobs import JobState
from shared.services.uploads import Announcement
from shared.services.webhooks import FinishedJob
from tests.finished_jobs import put_job
from tests.integration.conftest import Customer
from tests.media import wav

PAGE = Path(__file__).parents[2] / "docs" / "reference.md"
# Those under /v1/audio/ answer with the finished transcript and need a worker: their tests use OpenAI's own client.
ENDPOINTS = [each for each in endpoints(document()) if not each.path.startswith("/v1/audio/")]
# Answers other than the documented success that a line may well have where it stands alone.
ALSO = {"/api/v1/uploads/{id}/complete/": {409}}  # no part has been sent


@pytest.fixture(scope="module")
def base(services: Services) -> Iterator[str]:
    """The API on a socket."""
    server = uvicorn.Server(uvicorn.Config(create_app(lambda: services), port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text("utf-8") == to_markdown(document()), "run: make openapi"


def test_the_documentation_page_loads_nothing_from_elsewhere(api: TestClient) -> None:
    page = api.get("/docs")
    assert page.status_code == 200
    for each in ENDPOINTS:
        assert each.path in page.text
    for loaded in ("<script", "<link", "<img", "src=", "@import", "url("):
        assert loaded not in page.text
    assert api.get("/openapi.json").json()["openapi"].startswith("3.")


def test_every_curl_line_works(base: str, services: Services, funded: Customer, tmp_path: Path) -> None:
    (tmp_path / "audio.mp3").write_bytes(wav(1.0))
    for each in ENDPOINTS:
        script = each.curl + " -s -o answer -w '%{http_code}'"
        environment = {**os.environ, "BASE": base, **_variables(services, funded, each)}
        done = subprocess.run(["bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, check=True)
        _check(each, int(done.stdout), (tmp_path / "answer").read_text("utf-8") if done.stdout != b"204" else "")


def test_every_python_line_works(base: str, services: Services, funded: Customer, tmp_path: Path) -> None:
    (tmp_path / "audio.mp3").write_bytes(wav(1.0))
    lines = ["import requests", f"BASE = {base!r}"]
    for each in ENDPOINTS:
        lines += [f"{name} = {value!r}" for name, value in _variables(services, funded, each).items()]
        lines += [each.python, "print(answer.status_code, flush=True)"]
    _run([sys.executable, "-W", "ignore", "-c", "\n".join(lines)], tmp_path)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on this machine")
def test_every_javascript_line_works(base: str, services: Services, funded: Customer, tmp_path: Path) -> None:
    (tmp_path / "audio.mp3").write_bytes(wav(1.0))
    blocks = []
    for each in ENDPOINTS:
        values = "".join(
            f"const {name} = {json.dumps(value)};" for name, value in _variables(services, funded, each).items()
        )
        blocks.append(f"{{ {values}\n{each.javascript}\nconsole.log(answer.status); await answer.text(); }}")
    script = f"(async () => {{ const BASE = {json.dumps(base)};\n" + "\n".join(blocks) + "\n})();"
    _run(["node", "-e", script], tmp_path)


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for each, status in zip(ENDPOINTS, done.stdout.split(), strict=True):
        _check(each, int(status), "")


def _check(each: Endpoint, status: int, answer: str) -> None:
    good = {int(code) for code in each.operation["responses"] if str(code).startswith("2")}
    assert status in good | ALSO.get(each.path, set()), f"{each.method} {each.path}: {status} {answer}"


def _variables(services: Services, customer: Customer, each: Endpoint) -> dict[str, str]:
    """The key and, where the path has one, a fresh id of the right kind."""
    found = {"KEY": customer.api_key}
    if each.id_name == "TRANSCRIPTION":
        state = JobState.COMPLETED
        if each.path.endswith("/retry/"):
            state = JobState.FAILED
        if each.path.endswith("/cancel/"):
            return found | {"TRANSCRIPTION": _submitted(services, customer)}
        found["TRANSCRIPTION"] = put_job(services, customer.account_id, state).job_id
    elif each.id_name == "UPLOAD":
        announced = Announcement(filename="a.mp3", content_type="audio/mpeg", size_bytes=20_000_000, in_parts=True)
        found["UPLOAD"] = services.uploads.plan(customer.account_id, announced).upload_id
    elif each.id_name == "KEY_ID":
        found["KEY_ID"] = services.keys.create(customer.account_id, "another")[0].key_id
    elif each.id_name is not None:
        wish = EndpointWish(url="https://example.com/hook", events=frozenset(EventType))
        found["ENDPOINT"] = services.endpoints.create(customer.account_id, wish).endpoint_id
        if each.id_name == "DELIVERY":
            job = put_job(services, customer.account_id)
            services.webhooks.fan_out(FinishedJob(job_id=job.job_id, account_id=job.account_id, status=job.status))
            found["DELIVERY"] = next(iter(services.webhooks._deliveries_of(job))).delivery_id
    return found


def _submitted(services: Services, customer: Customer) -> str:
    with TestClient(create_app(lambda: services)) as client:
        files = {"file": ("a.wav", wav(1.0), "audio/wav")}
        job_id: str = client.post("/api/v1/transcribe/", files=files, headers=customer.headers).json()["id"]
    return job_id
