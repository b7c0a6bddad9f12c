"""docs/api.md: what stands there is what the code says, and every line of it works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import uvicorn
from fastapi.testclient import TestClient

from functions.api.app import create_app
from functions.api.reference import BEGINNING, Endpoint, endpoints, to_markdown
from infra.api_documents import document
from shared.adapters.sqs import Queue
from shared.bootstrap import Services
from shared.domain.endpoints import EndpointWish, EventType
from shared.domain.ids import JobId
from shared.domain.jobs import JobState
from shared.services.uploads import Announcement
from shared.services.webhooks import FinishedJob
from tests.finished_jobs import put_job
from tests.integration.conftest import Cloud, Customer
from tests.integration.paid_jobs import work
from tests.media import wav

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
ENDPOINTS = list(endpoints(document()))
# Answers other than the documented success that a line may well have where it stands alone.
ALSO = {
    "/api/v1/uploads/{id}/complete/": {409},  # no part has been sent
    "/v1/audio/translations/": {400},  # the documented answer: not supported
}


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


@pytest.fixture(scope="module", autouse=True)
def worker(cloud: Cloud) -> Iterator[None]:
    """Works on what is submitted: endpoints like OpenAI's answer with the finished transcript."""
    services, stop = cloud.services("SweepFunction"), threading.Event()
    queue = Queue(boto3.client("sqs"), services.settings.jobs_queue_url)

    def serve() -> None:
        while not stop.is_set():
            message = queue.receive(0)
            if message is None:
                stop.wait(0.1)
                continue
            queue.delete(message.receipt)
            job = services.jobs.look_up(JobId(json.loads(message.body)["job_id"]))
            if job is not None and job.recording.filename == "audio.mp3":  # the others are to be found waiting
                work(cloud, job.job_id, real_seconds=1.0)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    stop.set()
    thread.join()


def test_the_page_is_what_the_code_says() -> None:
    written, _, made = PAGE.read_text("utf-8").partition(BEGINNING)
    assert BEGINNING + made == to_markdown(document()), "run: make openapi"
    assert len(written) > 10_000


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


@pytest.mark.skipif(
    shutil.which("node") is None and not os.environ.get("CI"), reason="there is no node on this machine"
)
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


@pytest.mark.parametrize("language", ["sh", "python", "js"])
def test_the_lines_of_the_written_half_work_in_their_order(
    base: str, funded: Customer, tmp_path: Path, language: str
) -> None:
    if language == "js" and shutil.which("node") is None and not os.environ.get("CI"):
        pytest.skip("there is no node on this machine")
    (tmp_path / "audio.mp3").write_bytes(wav(1.0))
    written = PAGE.read_text("utf-8").partition(BEGINNING)[0]
    blocks = re.findall(rf"^```{language}\n(.*?)^```", written, re.MULTILINE | re.DOTALL)
    # Checking a signature needs a message that came: tests/integration/test_webhook_endpoints.py has them.
    lines = "\n".join(block for block in blocks if "whsec_" not in block)
    assert len(blocks) >= 3
    if language == "sh":
        first, rest = lines.split("\n", 1)
        take_id = 'ID=$(echo "$first" | sed \'s/.*"id":"\\([^"]*\\).*/\\1/\')'
        script = f"set -e\nset -o pipefail\nfirst=$({first} -sf)\n{take_id}\n"
        script += rest.replace("curl ", "curl -sf ")
        command = ["bash", "-c", script]
    elif language == "python":
        head = f"import requests\nBASE, KEY = {base!r}, {funded.api_key!r}\n"
        command = [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            head + lines + "\nassert result['id'] == job['id'] and languages",
        ]
    else:
        head = f'const fs = require("fs"), BASE = {json.dumps(base)}, KEY = {json.dumps(funded.api_key)};\n'
        tail = '\nif (result.id !== job.id || !languages.length) throw new Error("no answer");\n'
        command = ["node", "-e", f"(async () => {{ {head}{lines}{tail} }})();"]
    environment = {**os.environ, "BASE": base, "KEY": funded.api_key}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
