"""The frame holds: packages resolve here, requirements are pinned and complete, imports and names stay in place."""

from __future__ import annotations

import importlib
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.infra.repository import PACKAGES, ROOT, imported_modules, normal, pins, python_files, required

REQUIREMENT_FILES = sorted((ROOT / "requirements").glob("**/*.txt"))
LAMBDA_FILES = ("lambda", "lambda-api", "lambda-dispatch", "lambda-events")
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc"}
MAY_IMPORT_MODAL = {ROOT / "modal_app.py", ROOT / "shared" / "adapters" / "modal_runner.py"}


@pytest.mark.parametrize("package", PACKAGES)
def test_our_packages_resolve_inside_the_repository(package: str) -> None:
    assert Path(str(importlib.import_module(package).__file__)).is_relative_to(ROOT)


@pytest.mark.parametrize("file", REQUIREMENT_FILES, ids=lambda file: file.name)
def test_requirements_name_no_address_and_no_index(file: Path) -> None:
    for line in file.read_text(encoding="utf-8").splitlines():
        statement = line.partition("#")[0].strip()
        assert "://" not in line
        assert " @ " not in statement
        assert not statement.startswith("-") or re.fullmatch(r"-[cr] [a-z-]+\.txt", statement), line


def test_every_requirement_is_pinned() -> None:
    for file in REQUIREMENT_FILES:
        if file.parent.name == "tools":
            assert all("==" in line for line in file.read_text(encoding="utf-8").splitlines() if line[0] != "#")
        elif file.name != "constraints.txt":
            assert required(file.stem) <= pins().keys(), file.name


def test_what_is_installed_needs_nothing_of_a_gpu() -> None:
    heavy = re.compile(r"torch|nvidia|cuda|triton")
    assert not [name for name in pins() if heavy.search(name)]


@pytest.mark.parametrize(
    ("places", "files"),
    [
        (("functions", "shared"), LAMBDA_FILES),
        (("gpu_jobs",), ("worker", "tools/pyannote", "tools/vllm")),
        (
            ("infra", "tests"),
            (*LAMBDA_FILES, "worker", "dev", "accuracy", "tools/bench", "tools/bench-speech", "tools/test-pyannote"),
        ),
    ],
    ids=["lambda", "worker", "dev"],
)
def test_what_the_code_imports_is_required_by_name(places: tuple[str, ...], files: tuple[str, ...]) -> None:
    """A package that only comes along with another one leaves when the other one does."""
    named = {distribution for file in files for distribution in required(file)}
    distributions = packages_distributions()
    for file in python_files(*places):
        for module in imported_modules(file) - sys.stdlib_module_names - {*PACKAGES, "tests", "modal_app"}:
            # What setup leaves out (accuracy.txt, tools/) may not be installed: there the name itself must do.
            namesakes = {name for name in named if module.strip("_") in re.split("[-.]", name)}
            owners = {normal(owner) for owner in distributions.get(module, ())} | namesakes
            assert owners & named or module == "botocore", f"{file.relative_to(ROOT)} imports {module}"


def test_only_two_files_import_modal() -> None:
    places = [place for place in (*PACKAGES, "modal_app.py") if (ROOT / place).exists()]
    importing = {file for file in python_files(*places) if "modal" in imported_modules(file)}
    assert importing <= MAY_IMPORT_MODAL


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = {file: {*file.relative_to(ROOT).with_suffix("").parts} for file in python_files(*PACKAGES, "tests")}
    assert not {file for file, parts in named.items() if parts & VAGUE_NAMES}
