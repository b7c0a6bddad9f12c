"""``python -m infra.local``: the whole stack until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.local.options import Options, parse
from infra.local.stack_log import StackLog
from shared.adapters.scratch import scratch_folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until stopped. Exit status 0 after a stop, 1 when the stack could not start or its state not be kept."""
    options = parse(arguments)
    sys.setswitchinterval(0.001)  # moto's threads must not hold up the event loop for 5 ms at a time
    with scratch_folder():
        code = asyncio.run(_run(options))
    sys.stdout.flush()
    os._exit(code)  # the threads of the AWS endpoint may sit in a long poll of 20 s


async def _run(options: Options) -> int:
    began = time.monotonic()
    if options.ready_file:
        options.ready_file.unlink(missing_ok=True)  # an earlier stack's, that was killed: nobody may take it for ours
    print(f"Starting the cloud of {options.template.name} on this machine ...", flush=True)
    log = StackLog(file=options.log_file, verbose=options.verbose)
    stopping = asyncio.Event()
    hung_up = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)  # nohup ignores it
    for number in (signal.SIGINT, signal.SIGTERM, *hung_up):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    from infra.local.running import RunningStack  # after the signal handlers: its imports take half a second

    running = RunningStack(options, log)
    start, stop = asyncio.create_task(running.start()), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        if stopping.is_set():
            return 0
        if error := start.exception():
            log.notice(_explain(error))
            return 1
        ready = running.ready()
        if options.ready_file:
            _write_atomically(options.ready_file, json.dumps(ready, indent=2) + "\n")
        _announce(ready, seconds=time.monotonic() - began)
        await stop
    finally:
        if options.ready_file:
            _remove_if_ours(options.ready_file)
        start.cancel()
        with contextlib.suppress(BaseException):
            await start
        await running.stop()
    return 0 if running.is_kept else 1


def _explain(error: BaseException) -> str:
    from infra.local.runtime import FunctionBroken
    from infra.local.state_folder import StateProblem
    from infra.local.template import TemplateProblem
    from infra.local.worker import WorkerBroken

    if isinstance(error, FunctionBroken | StateProblem | TemplateProblem | WorkerBroken | OSError):
        return f"cannot start: {error}"
    import traceback

    return "cannot start:\n" + "".join(traceback.format_exception(error))


def _write_atomically(file: Path, text: str) -> None:
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as output:
        output.write(text)  # it holds a key: for the owner's eyes
    partial.replace(file)


def _remove_if_ours(file: Path) -> None:
    """What it says is no longer true, unless another stack has written it meanwhile."""
    with contextlib.suppress(OSError, ValueError):
        if json.loads(file.read_text(encoding="utf-8"))["pid"] == os.getpid():
            file.unlink()


def _announce(ready: dict[str, Any], *, seconds: float) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    first = "" if Path(ready["drop_folder"]).is_dir() else "mkdir it, "
    rows = {
        "API": ready["base_url"],
        "API key": ready["api_key"],
        "AWS and S3 endpoint": f"{ready['aws_endpoint']}  (access key test, secret {ready['secret_access_key']})",
        "Bucket": ready["bucket"],
        "Drop folder": f"{ready['drop_folder']}  ({first}put recordings in; results appear beside them)",
        "State": f"{ready['state']}  (comes back at the next start)" if ready["state"] else "",
        "Workers": ", ".join(f"pid {pid}" for pid in ready["worker_pids"]) or "none",
    }
    for name, value in rows.items():
        if value:
            table.add_row(f"[bold]{name}", str(value))
    console = Console()
    console.print(Panel(table, title=f"Ready in {seconds:.1f} s - Ctrl-C stops everything", expand=False))
    if ready["base_url"] and ready["api_key"]:
        # unwrapped, to be copied
        print(f"export BASE_URL={ready['base_url']} API_KEY={ready['api_key']}")
        print(
            f"curl -H 'Authorization: Bearer {ready['api_key']}' -F file=@audio.mp3 "
            f"{ready['base_url']}/api/v1/transcribe/",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
