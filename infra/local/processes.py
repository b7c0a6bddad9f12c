"""Child processes of the stack: each in a group of its own, its output in the log, dead when the stack dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.local.stack_log import StackLog

LAUNCHER = str(Path(__file__).with_name("die_with_parent.py"))
_LONGEST_LINE_BYTES = 1024 * 1024
_FOR_EVERY_CHILD = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH")


def inherited(*more: str) -> dict[str, str]:
    """The few variables of our own environment a child gets; whatever else is set here does not leak."""
    return {name: os.environ[name] for name in (*_FOR_EVERY_CHILD, *more) if name in os.environ}


class Child:
    """A running child. ``exited`` completes with its exit code."""

    def __init__(
        self, process: asyncio.subprocess.Process, output: asyncio.StreamReader, source: str, log: StackLog
    ) -> None:
        self._process, self._log = process, log
        self.pid = process.pid
        self._output = asyncio.create_task(self._copy_output(output, source))
        self.exited: asyncio.Task[int] = asyncio.create_task(self._wait())

    async def _wait(self) -> int:
        code = await self._process.wait()
        self.signal_group(signal.SIGKILL)  # what it started goes with it
        await asyncio.wait({self._output}, timeout=0.5)  # its last words belong in the log
        return code

    async def _copy_output(self, output: asyncio.StreamReader, source: str) -> None:
        while True:
            try:
                line = await output.readline()
            except ValueError:  # longer than the buffer
                line = await output.read(_LONGEST_LINE_BYTES)
            if not line:
                return
            self._log.line(source, line.decode("utf-8", "replace").rstrip("\n"))

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.returncode is None

    def signal_group(self, number: signal.Signals) -> None:
        """Send ``number`` to the child and whatever it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def kill(self) -> None:
        """End it now and wait until it is gone."""
        self.signal_group(signal.SIGKILL)
        await self.exited

    async def stop(self, *, grace_seconds: float) -> None:
        """Ask it to end; after ``grace_seconds`` make it."""
        if self.alive:
            self.signal_group(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self.exited), grace_seconds)
        await self.kill()


async def start(
    arguments: Sequence[str], *, environment: Mapping[str, str], directory: Path, source: str, log: StackLog
) -> Child:
    """Start ``python *arguments`` in ``directory`` with exactly ``environment``."""
    # A pipe of our own: with asyncio's, a child has only ended once all who inherited its output have ended.
    reading, writing = os.pipe()
    try:
        output = asyncio.StreamReader(limit=_LONGEST_LINE_BYTES)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), os.fdopen(reading, "rb", buffering=0)
        )
        process = await _launch(arguments, environment, directory, writing)
    finally:
        os.close(writing)
    return Child(process, output, source, log)


async def _launch(
    arguments: Sequence[str], environment: Mapping[str, str], directory: Path, output: int
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", LAUNCHER, str(os.getpid()), sys.executable, *arguments),
        env=dict(environment),
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
