"""The contract's own examples run against the local stack: what a customer copies from the documentation works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.launch import LocalStack
from tests.receivers import OK, answering, receiver
from tests.recordings import asset

EXAMPLES = Path(__file__).parent / "contract"
REPOSITORY = Path(__file__).parents[2]
BASE_URL = "https://audiototextai.com/api/v1"
NODE_PACKAGES = ("axios@1.21.1", "form-data@4.0.6")
SECONDS = 180


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with LocalStack() as stack:
        yield stack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the examples' audio.mp3 in it: real speech, 10 s."""
    import av

    with av.open(str(asset("beckett.wav"))) as source, av.open(str(tmp_path / "audio.mp3"), "w") as target:
        stream: Any = target.add_stream("libmp3lame", rate=16_000, layout="mono")
        resampler = av.AudioResampler(format="s16p", layout="mono", rate=16_000)
        for frame in source.decode(audio=0):
            for resampled in resampler.resample(frame):
                target.mux(stream.encode(resampled))
        target.mux(stream.encode(None))
    return tmp_path


def example(stack: LocalStack, name: str, **replaced: str) -> str:
    """An example with the address and the key of the local stack in it; every replacement must hit."""
    text = (EXAMPLES / name).read_text("utf-8")
    key = "YOUR_API_KEY" if "YOUR_API_KEY" in text else "your-api-key"
    for old, new in {BASE_URL: f"{stack.ready['base_url']}/api/v1", key: stack.ready["api_key"], **replaced}.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def run(command: list[str], folder: Path, **environment: str) -> str:
    """What the command prints; it must succeed."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wait_for(stack: LocalStack, job_id: str) -> dict[str, Any]:
    """The job's result, once it has ended."""
    headers = {"Authorization": f"Bearer {stack.ready['api_key']}"}
    url = f"{stack.ready['base_url']}/api/v1/transcribe/{job_id}/"
    deadline = time.monotonic() + SECONDS
    while (body := requests.get(url, headers=headers, timeout=30).json())["status"] == "processing":
        assert time.monotonic() < deadline, body
        time.sleep(0.2)
    result: dict[str, Any] = body
    return result


def test_the_python_example_prints_the_transcript(stack: LocalStack, folder: Path) -> None:
    (folder / "example.py").write_text(example(stack, "python.txt"), "utf-8")
    printed = run([sys.executable, "example.py"], folder)
    assert re.match(r"Job ID: [0-9a-f-]{36}\n", printed)
    assert len(printed.splitlines()[1].split()) >= 10, printed


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """axios and form-data, installed by npm once and kept with what is built."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no node on this machine")
    home = REPOSITORY / ".build" / "contract-clients" / "-".join(NODE_PACKAGES)
    if not (home / "complete").exists():
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text('{"private": true}')
        run(["npm", "install", "--silent", "--no-package-lock", "--no-audit", "--no-fund", *NODE_PACKAGES], home)
        (home / "complete").touch()
    return home / "node_modules"


def test_the_javascript_example_logs_the_result(stack: LocalStack, folder: Path, node_modules: Path) -> None:
    (folder / "example.js").write_text(example(stack, "javascript.txt"), "utf-8")
    printed = run(["node", "example.js"], folder, NODE_PATH=str(node_modules))
    assert printed.startswith("Job ID: ")
    assert "status: 'completed'" in printed
    assert "speakers: [" in printed


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_curl_example_is_answered_with_the_contracts_three_fields(stack: LocalStack, folder: Path) -> None:
    answer = json.loads(run(["sh", "-c", example(stack, "curl.txt")], folder))
    assert answer.keys() == {"id", "status", "estimated_credits"}
    assert answer["status"] == "processing"
    assert answer["estimated_credits"] > 0
    result = wait_for(stack, answer["id"])
    assert result["status"] == "completed"
    assert result["language"] == "en"
    assert result["speakers"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_the_webhook_example_brings_the_result_to_the_url(stack: LocalStack, folder: Path) -> None:
    with receiver(answering(OK)) as running:
        replaced = {"https://yourapp.com/transcription-complete": running.url}
        command = example(stack, "curl-webhook.txt", **replaced)
        job_id = json.loads(run(["sh", "-c", command], folder))["id"]
        result = wait_for(stack, job_id)
        running.wait_for_request(SECONDS)
    head, _, body = running.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /hook ")
    assert b"content-type: application/json" in head.lower()
    assert json.loads(body) == result
    assert result["status"] == "completed"
