"""A process's temporary files are gone when it ends, and when it was killed as soon as the next one starts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from shared.adapters.scratch import scratch_folder

HOLD = """
import sys, tempfile
from shared.adapters.scratch import scratch_folder
with scratch_folder() as folder:
    file = tempfile.NamedTemporaryFile(delete=False)
    print(file.name, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def start() -> tuple[subprocess.Popen[str], Path]:
    """Another process with a scratch folder, and the file it has put there."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_temporary_files_go_into_the_folder_and_go_with_it(parent: Path) -> None:
    with scratch_folder() as folder, tempfile.NamedTemporaryFile(delete=False) as file:
        assert Path(file.name).parent == folder
        assert os.environ["TMPDIR"] == str(folder)
    assert not list(parent.iterdir())
    assert os.environ["TMPDIR"] == str(parent)


def test_what_a_killed_process_left_is_removed_by_the_next_and_nobody_elses(parent: Path) -> None:
    killed, left = start()
    living, kept = start()
    with killed, living:
        killed.kill()
        killed.wait()
        assert left.exists()
        with scratch_folder():
            assert not left.parent.exists()
            assert kept.exists()
        living.communicate("")
    assert living.returncode == 0
    assert not list(parent.iterdir())


def test_what_only_looks_like_such_a_folder_stays(parent: Path) -> None:
    for name in ("audiototext-checkout", ".audiototext-of-mine", "elsewhere"):
        (parent / name).mkdir()
    (parent / ".audiototext-a_file12").write_text("mine")
    (parent / ".audiototext-my_links").symlink_to(parent / "elsewhere")
    before = set(parent.iterdir())
    with scratch_folder() as folder:
        assert set(parent.iterdir()) == before | {folder}
