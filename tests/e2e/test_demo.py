"""``make demo``, as a stranger types it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.infra.repository import ROOT

TIMEOUT_SECONDS = 300
INTERRUPTED = 130

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="adopting orphans needs Linux's prctl")


def _watched(*command: str) -> list[str]:
    return [sys.executable, str(ROOT / "tests" / "e2e" / "leaves_nothing.py"), *command]


def _run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        _watched(*command),
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


@contextmanager
def _started(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        _watched(*command),
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_the_demo_shows_a_transcript_of_two_speakers_and_leaves_nothing_running() -> None:
    done = _run("make", "demo")
    assert done.returncode == 0, done.stdout
    lines = re.findall(r"^0:\d\d\.\d  (Speaker \d)  \w", done.stdout, re.MULTILINE)
    assert set(lines) == {"Speaker 1", "Speaker 2"}
    for part in ("Summary", "Topics", "Credits", "Engines   moonshine", "Webhook   completed for this job"):
        assert part in done.stdout
    assert "\x1b" not in done.stdout, "control codes in a log"


def test_a_demo_of_something_that_is_no_recording_says_so_and_leaves_nothing_running(tmp_path: Path) -> None:
    text = tmp_path / "it's a text.mp3"  # also a name that a careless shell would break on
    text.write_text("These are words, but nobody speaks them.")
    done = _run("make", "demo", f"AUDIO={text}")
    assert done.returncode not in {0, 99}, done.stdout
    assert re.search(r"The service answered 400: The file is a text file", done.stdout), done.stdout
    assert "log" not in done.stdout, "the reason is all there is to know"


def test_a_demo_of_a_missing_file_says_so_at_once(tmp_path: Path) -> None:
    done = _run(sys.executable, "-m", "infra.demo", "--audio", str(tmp_path / "gone.wav"))
    assert done.returncode == 1
    assert f"There is no file {tmp_path / 'gone.wav'}" in done.stdout
    assert "Starting" not in done.stdout


@pytest.mark.parametrize("moment", ["Starting the cloud", "diarizing"])
def test_an_interrupted_demo_leaves_no_process_and_no_recording(moment: str, tmp_path: Path) -> None:
    with _started(sys.executable, "-u", "-m", "infra.demo", TMPDIR=str(tmp_path)) as process:
        assert process.stdout is not None
        seen = next(line for line in process.stdout if moment in line)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(TIMEOUT_SECONDS) == INTERRUPTED, seen + rest
    assert not list(tmp_path.iterdir())
