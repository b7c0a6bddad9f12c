"""The command line of ``python -m infra.local``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# What differs on a laptop: webhooks to oneself, and no two minutes' wait for a worker that died.
_LOCAL_PARAMETERS = {"Runner": "queue", "AllowLoopbackWebhooks": "true", "LeaseSeconds": "15"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command was asked for. Port 0 is any free one."""

    template: Path
    code: Path
    parameters: dict[str, str]
    host: str
    port: int
    aws_port: int
    ready_file: Path | None
    log_file: Path | None
    calls_file: Path | None
    verbose: bool
    drop: Path
    schedule_seconds: float | None
    state: Path | None
    state_seconds: float
    engine: str | None
    model: str | None
    workers: int
    worker_module: str
    chunk_workers: int


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Options from ``arguments``; exits with a usage message when they make no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.local", description="The whole stack on this machine, from template.yaml."
    )
    stack = parser.add_argument_group("stack")
    stack.add_argument("--template", type=Path, default=REPOSITORY / "template.yaml", metavar="FILE")
    stack.add_argument("--code", type=Path, default=REPOSITORY, metavar="DIR", help="where handlers are imported from")
    stack.add_argument(
        "--parameter", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the template"
    )
    stack.add_argument(
        "--schedule-seconds", type=_seconds, metavar="N", help="fire scheduled rules every N seconds instead"
    )
    stack.add_argument(
        "--state",
        type=lambda text: Path(text).expanduser(),
        metavar="DIR",
        help="keep tables, queues and bucket there from one start to the next",
    )
    stack.add_argument(
        "--state-seconds", type=_seconds, default=60.0, metavar="N", help="how often besides at the end (default: 60)"
    )
    network = parser.add_argument_group("network")
    network.add_argument("--host", default="127.0.0.1", help="address of the HTTP API")
    network.add_argument(
        "--port", type=_number(0, 65535), default=0, metavar="N", help="port of the HTTP API (default: a free one)"
    )
    network.add_argument(
        "--aws-port",
        type=_number(0, 65535),
        default=0,
        metavar="N",
        help="port of the AWS endpoint (default: a free one)",
    )
    worker = parser.add_argument_group("worker")
    worker.add_argument("--engine", help="moonshine or faster-whisper")
    worker.add_argument("--model", help="a model name or directory")
    worker.add_argument("--workers", type=_number(0, 64), default=1, metavar="N", help="how many (default: 1)")
    worker.add_argument(
        "--chunk-workers", type=_number(0, 64), default=0, metavar="N", help="processes that share a recording"
    )
    worker.add_argument(
        "--worker-module", default="gpu_jobs.worker", metavar="MODULE", help="a worker program of your own"
    )
    worker.add_argument("--no-worker", dest="workers", action="store_const", const=0)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--ready-file", type=_file_to_write, metavar="FILE", help="JSON, written when everything answers"
    )
    output.add_argument("--log-file", type=_file_to_write, metavar="FILE", help="what functions and workers print")
    output.add_argument("--calls-file", type=_file_to_write, metavar="FILE", help="who called what in AWS, each once")
    output.add_argument("--verbose", action="store_true", help="print it here, too")
    stack.add_argument(
        "--drop", type=Path, default=Path("drop"), metavar="DIR", help="the drop folder (default: ./drop)"
    )
    given = vars(parser.parse_args(arguments))
    try:
        given["parameters"] = _parameters(given.pop("parameter"))
    except ValueError as problem:
        parser.error(str(problem))
    return Options(**given)


def _file_to_write(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(
            f"{text} is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        )
    return path


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.05 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0.05 to 86400")
    return seconds


def _parameters(given: Sequence[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in given]
    for name, equals, _ in pairs:
        if not equals or not name:
            raise ValueError(f"--parameter {name}: write it as KEY=VALUE")
    return {name: value for name, _, value in pairs}


def with_local_defaults(given: dict[str, str], declared: Sequence[str]) -> dict[str, str]:
    """``given`` on top of what a local stack wants of the parameters the template has."""
    return {name: value for name, value in _LOCAL_PARAMETERS.items() if name in declared} | given
