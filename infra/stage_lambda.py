"""Stages what the Lambda functions are made of into .build/lambda: our packages and their pinned requirements.

One folder per set of requirements, not per function: functions that need the same are the same artefact.

    api       FastAPI and what it needs
    events    the functions behind queues and schedules: no web framework
    dispatch  like events, and modal, which is larger than all the rest together and which nobody else may import

pip resolves wheels for the Lambda machine (Linux on arm64, Python 3.13), so neither docker nor that Python is needed
here. Where a python3.13 is at hand the code is compiled too: the code directory of a Lambda is read-only, so whatever
is not compiled here is compiled again at every cold start.
"""

from __future__ import annotations

import argparse
import ast
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.lambda_imports import has_module, outside_imports
from infra.local import template

ROOT = Path(__file__).resolve().parents[1]
STAGED = Path(".build/lambda")
SOURCES = ("functions", "shared")
PYTHON_VERSION = "3.13"
# The wheel tags that Amazon Linux 2023 (glibc 2.34) can load, newest first: pip does not expand them by itself.
PLATFORMS = ("manylinux_2_34_aarch64", "manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
# Nothing of this has any business in a Lambda; each has slipped into somebody's package before.
FORBIDDEN = frozenset(
    {"torch", "numpy", "modal_app", "tests", "gpu_jobs", "infra", "moto", "yt_dlp", "faster_whisper", "moonshine_voice"}
)
WEB = frozenset({"fastapi", "starlette", "mangum", "pydantic"})
MEGABYTE = 1_000_000

# sam's own Python builder drops every *.so and every __pycache__, so its makefile builder carries the folder over.
_MAKEFILE = 'build-%:\n\tcp -R . "$(ARTIFACTS_DIR)"\n\trm "$(ARTIFACTS_DIR)/Makefile"\n'


class StageProblem(Exception):
    """The artefact must not be deployed; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One folder to be zipped. ``limit_bytes`` bounds it unzipped, as Lambda loads it."""

    name: str
    forbidden: frozenset[str]
    limit_bytes: int

    @property
    def requirements(self) -> Path:
        """The requirements file of this artefact."""
        return ROOT / "requirements" / f"lambda-{self.name}.txt"


ARTEFACTS = (
    Artefact(name="api", forbidden=FORBIDDEN | {"modal"}, limit_bytes=40 * MEGABYTE),
    Artefact(name="events", forbidden=FORBIDDEN | WEB | {"modal"}, limit_bytes=30 * MEGABYTE),
    Artefact(name="dispatch", forbidden=FORBIDDEN | WEB, limit_bytes=75 * MEGABYTE),
)


def main() -> int:
    """Stage every artefact and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m infra.stage_lambda", description=__doc__.splitlines()[0])
    parser.add_argument("--into", type=Path, default=ROOT / STAGED, metavar="FOLDER")
    folder: Path = parser.parse_args().into
    compiler = find_compiler()
    try:
        handlers = handlers_by_artefact(template.read(ROOT / "template.yaml"))
        for artefact in ARTEFACTS:
            stage(artefact, folder / artefact.name, compiler)
            check_handlers(handlers.get(artefact.name, []), folder / artefact.name)
            print(describe(artefact, folder / artefact.name))
    except StageProblem as problem:
        print(f"\n  {problem}\n", file=sys.stderr)
        return 1
    if compiler is None:
        print(f"  not compiled: there is no python{PYTHON_VERSION} here. It works, with slower cold starts.")
    return 0


def stage(artefact: Artefact, folder: Path, compiler: Path | None) -> None:
    """Build the artefact in ``folder``, replacing what is there. Raises StageProblem."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _install(artefact.requirements, folder)
    for source in SOURCES:
        shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    _trim(folder)
    (folder / "Makefile").write_text(_MAKEFILE)
    check(artefact, folder)
    if compiler is not None:
        _compile(folder, compiler)
    if (size := size_bytes(folder)) > artefact.limit_bytes:
        raise StageProblem(
            f"{artefact.name} is {size / MEGABYTE:.1f} MB unzipped, over its bound of "
            f"{artefact.limit_bytes / MEGABYTE:.0f} MB: {_largest(folder)}"
        )


def check(artefact: Artefact, folder: Path) -> None:
    """Raises StageProblem when something is in the artefact that must not be there."""
    present = {path.stem if path.suffix == ".py" else path.name for path in folder.iterdir()}
    present |= {path.name.split("-")[0].lower() for path in folder.glob("*.dist-info")}
    if found := sorted(present & artefact.forbidden):
        raise StageProblem(
            f"{', '.join(found)} must not be in the {artefact.name} artefact; see {artefact.requirements.name}"
        )
    foreign = sorted(path.name for path in folder.rglob("*.so") if "x86_64" in path.name)
    if foreign:
        raise StageProblem(f"built for another machine than Lambda's: {', '.join(foreign)}")


def handlers_by_artefact(source: template.Template) -> dict[str, list[str]]:
    """Which handlers the template puts into which artefact. Raises StageProblem for an artefact that is not staged."""
    default = source.get("Globals", {}).get("Function", {}).get("CodeUri")
    found: dict[str, list[str]] = {}
    for resource in source["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            place = Path(resource["Properties"].get("CodeUri", default))
            if place.parent != STAGED or place.name not in {artefact.name for artefact in ARTEFACTS}:
                raise StageProblem(f"template.yaml takes code from {place}, which nobody stages")
            found.setdefault(place.name, []).append(resource["Properties"]["Handler"])
    return found


def check_handlers(handlers: Iterable[str], folder: Path) -> None:
    """Raises StageProblem when a handler is not there or imports what is not."""
    for handler in handlers:
        try:
            imports = outside_imports(handler, folder)
        except FileNotFoundError as error:
            raise StageProblem(f"{handler}: {error}") from error
        if missing := sorted(name for name in imports if not has_module(name, folder)):
            raise StageProblem(f"{handler} imports {', '.join(missing)}, which the {folder.name} artefact lacks")


def describe(artefact: Artefact, folder: Path) -> str:
    """One line: sizes and the largest parts."""
    size = size_bytes(folder) / MEGABYTE
    return f"  {artefact.name:<9} {size:5.1f} MB of {artefact.limit_bytes / MEGABYTE:.0f}   {_largest(folder)}"


def size_bytes(folder: Path) -> int:
    """The sum of the files' sizes, as Lambda counts an unzipped package."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def used_services(folder: Path) -> set[str]:
    """The AWS services our own code makes clients of: every ``….client("name", …)`` under ``folder``."""
    found: set[str] = set()
    for path in _own_modules(folder):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="client"), args=[ast.Constant(value=str(name)), *_]):
                    found.add(name)
    return found


def find_compiler() -> Path | None:
    """A Python of Lambda's version, whose bytecode Lambda can load; None where there is none that works."""
    candidates = (sys.executable, shutil.which(f"python{PYTHON_VERSION}"), *_pyenv_pythons())
    for candidate in candidates:
        if candidate is None:
            continue
        probe = subprocess.run(  # noqa: S603 - interpreters found on this machine
            [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
            check=False,
        )
        if probe.stdout.strip() == PYTHON_VERSION:
            return Path(candidate)
    return None


def _pyenv_pythons() -> Iterator[str]:
    for path in sorted(Path.home().glob(f".pyenv/versions/{PYTHON_VERSION}*/bin/python")):
        yield str(path)


def _install(requirements: Path, folder: Path) -> None:
    platforms = [argument for platform in PLATFORMS for argument in ("--platform", platform)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    command += ["--target", str(folder), "--python-version", PYTHON_VERSION, "--implementation", "cp", *platforms]
    command += ["--only-binary", ":all:", "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own pip
    if done.returncode:
        raise StageProblem(f"pip could not install {requirements.name}:\n{done.stderr.strip()}")


def _trim(folder: Path) -> None:
    """Remove what no function ever opens: scripts, and the descriptions of 400 AWS services that we do not call."""
    services = used_services(folder) | {"sts"}  # botocore asks STS itself for some kinds of credentials
    data = folder / "botocore" / "data"
    for path in data.iterdir():
        if path.is_dir() and path.name not in services:
            shutil.rmtree(path)
    if missing := sorted(name for name in services if not (data / name).is_dir()):
        raise StageProblem(f"botocore knows no service {', '.join(missing)}")
    for path in data.rglob("examples-1.json*"):
        path.unlink()
    shutil.rmtree(folder / "bin", ignore_errors=True)


def _compile(folder: Path, compiler: Path) -> None:
    # Unchecked hashes: no look at the source at run time, and the same bytes from the same source.
    command = [str(compiler), "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), "-p", "/var/task", str(folder)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - an interpreter of this machine


def _own_modules(folder: Path) -> Iterable[Path]:
    return (path for source in SOURCES for path in (folder / source).rglob("*.py"))


def _largest(folder: Path, count: int = 4) -> str:
    sizes = {path.name: size_bytes(path) if path.is_dir() else path.stat().st_size for path in folder.iterdir()}
    top = sorted(sizes, key=lambda name: sizes[name], reverse=True)[:count]
    return ", ".join(f"{name} {sizes[name] / MEGABYTE:.1f}" for name in top)


if __name__ == "__main__":
    sys.exit(main())
