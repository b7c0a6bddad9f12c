"""The README, typed in as it stands: ``make local``, then its curl commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra.repository import ROOT
from tests.recordings import asset

CURL_COMMANDS = re.findall(r"^    (curl .*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
READY_SECONDS, DONE_SECONDS, STOP_SECONDS = 120, 120, 60
LEAVES_NOTHING = str(ROOT / "tests" / "e2e" / "leaves_nothing.py")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="adopting orphans needs Linux's prctl")


@pytest.fixture
def local(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """``make local``, ready; ended by Ctrl-C, after which nothing of it may run."""
    ready_file = tmp_path / "ready.json"
    with subprocess.Popen(
        [sys.executable, LEAVES_NOTHING, "make", "local", f"ARGS=--ready-file {ready_file}"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a terminal of its own, so to speak: Ctrl-C there reaches them all
    ) as process:
        try:
            _wait(lambda: ready_file.exists() or process.poll() is not None, READY_SECONDS)
            yield json.loads(ready_file.read_text())
        finally:
            os.killpg(process.pid, signal.SIGINT)
            output, _ = process.communicate(timeout=STOP_SECONDS)
        assert "left running" not in output, output


def _wait(done: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _first_seconds(recording: Path, seconds: int, target: Path) -> None:
    with wave.open(str(recording)) as source, wave.open(str(target), "wb") as out:
        out.setparams(source.getparams())
        out.writeframes(source.readframes(seconds * source.getframerate()))


def _type(command: str, directory: Path, **variables: str) -> dict[str, Any]:
    done = subprocess.run(
        ["bash", "-c", f"{command} --silent --show-error --noproxy '*'"],
        cwd=directory,
        env={"PATH": os.environ["PATH"]} | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_readmes_commands_transcribe_a_recording_on_the_local_stack(local: dict[str, Any], tmp_path: Path) -> None:
    submit, poll = CURL_COMMANDS
    file_name = next(part for part in shlex.split(submit) if part.startswith("file=@")).removeprefix("file=@")
    _first_seconds(asset("endgame_nagg_nell.wav"), 4, tmp_path / file_name)
    shell = {"BASE_URL": local["base_url"], "API_KEY": local["api_key"]}

    job = _type(submit, tmp_path, **shell)
    assert job["status"] == "processing"
    answers: list[dict[str, Any]] = []

    def done() -> bool:
        answers.append(_type(poll, tmp_path, **shell, JOB_ID=job["id"]))
        return bool(answers[-1]["status"] != "processing")

    _wait(done, DONE_SECONDS)
    assert answers[-1]["status"] == "completed"
    assert "hear me" in answers[-1]["transcript"]
    assert answers[-1]["segments"][0]["speaker"]
