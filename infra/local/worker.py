"""The speech worker (``python -m gpu_jobs.worker``) beside the stack, restarted whenever it dies."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.local import processes
from infra.local.aws import REGION, SECRET_KEY, LocalAws
from infra.local.stack_log import StackLog

_GRACE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 5.0
_GIVE_UP_AFTER: Final = 3  # deaths before the first poll: it will never come up
_WRONG_SETTINGS: Final = 2  # the worker's exit status when starting it again is of no use
# A worker may load models from a hub, through a proxy, onto a GPU.
_INHERITED: Final = (
    *("HOME", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"),
    *("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"),
)


class WorkerBroken(Exception):
    """The worker cannot be started; the message has the end of its output."""


def environment_from_outputs(outputs: Mapping[str, str]) -> dict[str, str]:
    """The template's outputs as settings: ``JobsQueueUrl`` is JOBS_QUEUE_URL."""
    return {re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper(): value for name, value in outputs.items()}


class Workers:
    """``count`` workers, numbered from 1; the access key of each is ``worker-N``."""

    def __init__(
        self, environment: Mapping[str, str], aws: LocalAws, log: StackLog, *, code: Path, module: str, count: int
    ) -> None:
        self._aws, self._log, self._code, self._module = aws, log, code, module
        self._environment = processes.inherited(*_INHERITED) | {
            "PYTHONPATH": str(code),
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": aws.endpoint_url,
            **environment,
        }
        self._names = [f"worker-{number}" for number in range(1, count + 1)]
        self._running: dict[str, processes.Child] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._deaths = 0

    def start(self) -> None:
        """Start them all; they come up on their own."""
        self._keepers = [asyncio.create_task(self._keep(name)) for name in self._names]

    async def ready(self) -> None:
        """Return once every worker polls its queue. Raises WorkerBroken when one keeps dying before it does."""
        while True:
            silent = [name for name in self._names if not self._polls(name)]
            if not silent:
                return
            if self._deaths >= _GIVE_UP_AFTER:
                raise WorkerBroken(f"the worker does not start:\n{self._log.tail(silent[0])}")
            await asyncio.sleep(0.02)

    @property
    def pids(self) -> list[int]:
        """Process ids of those running."""
        return [child.pid for child in self._running.values() if child.alive]

    async def stop(self) -> None:
        """End them: politely first, so that a job in hand can be given back."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*(child.stop(grace_seconds=_GRACE_SECONDS) for child in self._running.values()))

    def _polls(self, name: str) -> bool:
        return self._aws.has_been_called(access_key=name, target="AmazonSQS.ReceiveMessage")

    async def _keep(self, name: str) -> None:
        pause = 0.0
        while True:
            started = time.monotonic()
            child = await processes.start(
                ["-m", self._module],
                environment=self._environment | {"AWS_ACCESS_KEY_ID": name},
                directory=self._code,
                source=name,
                log=self._log,
            )
            self._running[name] = child
            code = await asyncio.shield(child.exited)
            lived_seconds = time.monotonic() - started
            if not self._polls(name):
                self._deaths += _GIVE_UP_AFTER if code == _WRONG_SETTINGS else 1
                if self._deaths >= _GIVE_UP_AFTER:
                    return  # whoever waits for it to be ready tells the reason
            self._log.notice(f"{name} ended (status {code}) after {lived_seconds:.1f} s; starting it again")
            pause = 0.0 if lived_seconds > 5 else min(_LONGEST_PAUSE_SECONDS, max(0.25, pause * 2))
            await asyncio.sleep(pause)
