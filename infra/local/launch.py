"""``LocalStack``: the real command as a context manager, for tests, the demo and benchmarks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

from infra.local.options import REPOSITORY
from infra.local.processes import LAUNCHER

_START_SECONDS = 90.0  # ten on a quiet machine; a loaded one gets time
_STOP_SECONDS = 15.0


class StackDidNotStart(Exception):
    """The command ended or took too long; the message has its output."""


class LocalStack:
    """``with LocalStack("--no-worker") as stack:`` - a stack of its own, stopped at the end.

    ``ready`` is the ready file's content. Arguments are those of ``python -m infra.local``. Start it from a thread that
    lives as long as the stack shall: on Linux the stack ends with the thread that started it. Where LOCAL_STACK_CALLS
    names a folder, each stack writes which AWS calls were made into a file of its own there.
    """

    program = "infra.local"
    environment: Mapping[str, str] = MappingProxyType({})

    def __init__(self, *arguments: str) -> None:
        folder = os.environ.get("LOCAL_STACK_CALLS")
        calls = ("--calls-file", str(Path(folder, str(uuid.uuid4())))) if folder else ()
        self._arguments = (*calls, *arguments)
        self._directory = tempfile.TemporaryDirectory(prefix="local-stack-")
        self.ready: dict[str, Any] = {}
        self.ready_file = Path(self._directory.name, "ready.json")
        self.log_file = Path(self._directory.name, "log")
        self._output = Path(self._directory.name, "output")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the command and wait for its ready file. Raises StackDidNotStart."""
        with self._output.open("w") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own command
                [
                    *(sys.executable, "-I", "-S", LAUNCHER, str(os.getpid())),  # a killed test run leaves no stack
                    *(sys.executable, "-m", self.program, "--ready-file", str(self.ready_file)),
                    *("--log-file", str(self.log_file), *self._arguments),
                ],
                cwd=REPOSITORY,
                env=os.environ | {"PYTHONPATH": str(REPOSITORY), **self.environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self.ready_file.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                printed = self.output
                self.stop()
                raise StackDidNotStart(printed)
            time.sleep(0.02)
        self.ready = json.loads(self.ready_file.read_text())

    @property
    def output(self) -> str:
        """What the command has printed."""
        return self._output.read_text()

    @property
    def log(self) -> str:
        """What functions and workers have printed."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client of the stack's AWS; ``config`` goes into botocore's Config."""
        import boto3
        from botocore.config import Config

        make: Any = boto3.client  # typed by literal service names only
        return make(
            service,
            endpoint_url=self.ready["aws_endpoint"],
            region_name=self.ready["region"],
            aws_access_key_id=self.ready["access_key_id"],
            aws_secret_access_key=self.ready["secret_access_key"],
            config=Config(signature_version="s3v4" if service == "s3" else "v4", max_pool_connections=100, **config),
        )

    def stop(self) -> None:
        """End the command and everything it started; what it wrote is deleted."""
        process: subprocess.Popen[bytes] | None = getattr(self, "process", None)  # None: interrupted before its start
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._directory.cleanup()
