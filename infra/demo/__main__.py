"""``python -m infra.demo``: start the local stack, send it a recording, show what comes back, stop everything.

Exit status 0 when the transcript and its webhook arrived, 1 with a reason when not, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from infra.demo import report
from infra.demo.client import Customer, DemoFailed, ServiceSaidNo
from infra.demo.receiver import WebhookReceiver
from infra.local.launch import LocalStack, StackDidNotStart

OPTIONS = {"diarization": "true", "summary": "true"}
_WEBHOOK_SECONDS = 30.0
_LOG_LINES = 25


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit status."""
    options = _parse(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without UTF-8 still gets its transcript
    console = Console(highlight=False, markup=False, emoji=False)  # a transcript may say "[bold]" or ":smile:"
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that a stopped demo cleans up as after Ctrl-C
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        recording = _recording(options.audio)
        began = time.monotonic()
        run(console, recording, _stack_flags(options.engine, options.model), timeout_seconds=options.timeout)
    except DemoFailed as failure:
        console.print(str(failure), style="red", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 130
    console.print(f"\nDone in {time.monotonic() - began:.0f} s; nothing is left running.", style="green")
    return 0


def run(console: Console, recording: Path, stack_flags: list[str], *, timeout_seconds: float) -> None:
    """The demo itself. Raises DemoFailed; the stack is stopped when this returns or raises, whatever happens."""
    with ExitStack() as cleanup:
        receiver = cleanup.enter_context(WebhookReceiver())
        stack = LocalStack(*stack_flags)
        cleanup.push(stack)
        try:
            _start(console, stack)
            job = _transcribe(console, stack, recording, receiver.url, timeout_seconds=timeout_seconds)
            report.show_result(console, job)
            report.show_receipt(console, job, receiver.wait(_WEBHOOK_SECONDS))
        except ServiceSaidNo:
            raise
        except DemoFailed as failure:
            raise DemoFailed(f"{failure}\n{_tail(stack.log)}".rstrip()) from failure


def _start(console: Console, stack: LocalStack) -> None:
    began = time.monotonic()
    try:
        with report.step(console, "Starting the cloud of template.yaml on this machine"):
            stack.start()
    except StackDidNotStart as error:
        raise DemoFailed(f"The local stack did not start:\n{error}") from error
    console.print(f"The stack answers at {stack.ready['base_url']} after {time.monotonic() - began:.1f} s.")


def _transcribe(
    console: Console, stack: LocalStack, recording: Path, webhook_url: str, *, timeout_seconds: float
) -> dict[str, Any]:
    customer = Customer(stack.ready["base_url"], stack.ready["api_key"])
    job = customer.submit(recording, OPTIONS | {"webhook_url": webhook_url})
    console.print(f"Sent {recording.name}; it will cost about {job['estimated_credits']:g} credits.")
    return report.follow(console, customer.until_done(job["id"], timeout_seconds=timeout_seconds))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--audio", type=Path, metavar="FILE", help="your own recording (default: two voices)")
    parser.add_argument("--engine", help="moonshine (default) or faster-whisper")
    parser.add_argument("--model", help="a model name or directory for the engine")
    parser.add_argument("--timeout", type=float, default=1800.0, metavar="SECONDS", help="give up after (default 1800)")
    return parser.parse_args(arguments)


def _stack_flags(engine: str | None, model: str | None) -> list[str]:
    return [*(["--engine", engine] if engine else []), *(["--model", model] if model else [])]


def _recording(given: Path | None) -> Path:
    """The file to send: the one asked for, or the two voices that install with moonshine-voice (Beckett, Endgame)."""
    if given is not None:
        if not given.is_file():
            raise DemoFailed(f"There is no file {given}.")
        return given
    package = importlib.util.find_spec("moonshine_voice")
    if package is None or package.origin is None:
        raise DemoFailed("moonshine-voice is not installed: run make setup, or name a recording of your own.")
    return Path(package.origin).parent / "assets" / "endgame_nagg_nell.wav"


def _tail(log: str) -> str:
    lines = log.splitlines()[-_LOG_LINES:]
    return "\n".join(["The last lines of the stack's log:", *lines]) if lines else ""


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
