"""The commands a stranger types: they exist, set up by themselves, and are run by this suite or by CI."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.half_installed import half_installed
from tests.infra.repository import ROOT, make_targets

PAGES = "".join((ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "CONTRIBUTING.md"))
NEED_NO_SETUP = {"help", "clean", "setup"}


def _documented_targets() -> set[str]:
    return set(re.findall(r"^(?:    |\| `)make ([a-z-]+)", PAGES, re.MULTILINE))


def test_every_make_command_of_the_pages_exists() -> None:
    assert _documented_targets()
    assert _documented_targets() <= make_targets().keys()


def test_the_pages_list_every_target_but_help() -> None:
    assert make_targets().keys() - {"help"} <= _documented_targets()


@pytest.mark.parametrize("target", sorted(make_targets().keys() - NEED_NO_SETUP))
def test_every_command_sets_up_by_itself(target: str) -> None:
    assert "setup" in make_targets()[target][0].split()


@pytest.mark.parametrize("target", sorted({"check", "test", "demo", "local"} & make_targets().keys()))
def test_the_first_commands_are_run_by_ci_or_by_a_test(target: str) -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    tests = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    assert f"make {target}" in ci or f'"make", "{target}"' in tests


def test_make_alone_lists_the_commands() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z-]+)", listed, re.MULTILINE)) == make_targets().keys()


def _run_setup_with(tmp_path: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Run setup in a copy of the repository's frame, where every Python on the path is the shell script ``python``."""
    for name in ("python", "python3", "python3.11", "python3.12", "python3.13"):
        stub = tmp_path / "bin" / name
        stub.parent.mkdir(exist_ok=True)
        stub.write_text(f"#!/bin/sh\n{python}\n")
        stub.chmod(0o755)
    script = tmp_path / "infra" / "setup.sh"
    script.parent.mkdir()
    script.write_text((ROOT / "infra" / "setup.sh").read_text())
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(["bash", script], env={"PATH": path}, capture_output=True, text=True, timeout=30, check=False)


def test_setup_says_what_to_do_when_python_is_too_old(tmp_path: Path) -> None:
    done = _run_setup_with(tmp_path, "exit 1")
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "apt-get install" in done.stderr


def test_setup_says_what_to_do_when_debian_has_no_venv_module(tmp_path: Path) -> None:
    done = _run_setup_with(tmp_path, 'case "$2" in *ensurepip*) exit 1 ;; esac')
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_setup_recovers_from_a_run_that_left_a_python_without_pip(tmp_path: Path) -> None:
    for name in ("setup.sh", "half_installed.py"):
        copy = tmp_path / "infra" / name
        copy.parent.mkdir(exist_ok=True)
        copy.write_text((ROOT / "infra" / name).read_text())
    (tmp_path / "requirements").mkdir()
    for name in ("dev.txt", "constraints.txt"):
        (tmp_path / "requirements" / name).write_text("")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", ".venv"], cwd=tmp_path, check=True)
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(
        ["bash", "infra/setup.sh"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    subprocess.run([".venv/bin/python", "-m", "pip", "--version"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


def test_a_package_of_which_a_file_is_missing_is_found_out(tmp_path: Path) -> None:
    for name in ("whole", "holed", "cut_off"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        information = tmp_path / f"{name}-1.0.dist-info"
        information.mkdir()
        if name != "cut_off":  # the list of files is what comes last
            (information / "RECORD").write_text(f"{name}/__init__.py,,\n{name}-1.0.dist-info/RECORD,,\n")
    (tmp_path / "holed" / "__init__.py").unlink()
    assert half_installed(tmp_path) == ["cut_off==1.0", "holed==1.0"]


def test_make_local_keeps_its_data_where_state_says() -> None:
    dry = ["make", "--dry-run", "local", "STATE=some where"]
    told = subprocess.run(dry, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert '-m infra.local --state "some where"' in told
