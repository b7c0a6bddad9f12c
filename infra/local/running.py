"""The running stack: starts every part in order, says where they are, stops them all."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import json
import os
from collections.abc import Coroutine, Iterator
from typing import Any

from infra.local import demo_account, moto_fixes, stack, streaming, template
from infra.local.aws import REGION, SECRET_KEY, Invocation, LocalAws
from infra.local.drop_folder import DropFolder
from infra.local.gateway import Gateway
from infra.local.options import Options, with_local_defaults
from infra.local.pollers import QueuePollers, ScheduledRules
from infra.local.runtime import FunctionPool, Host
from infra.local.stack_log import StackLog
from infra.local.state import KeptState
from infra.local.streaming import StreamingHost
from infra.local.worker import Workers, environment_from_outputs

_API_CHILDREN, _OTHER_CHILDREN = 4, 2
_LAST_WORDS_SECONDS = 3.0  # how long functions at work may go on when a stack whose state is kept ends
_ASYNC_TRIES, _ASYNC_PAUSE_SECONDS = 3, 1.0  # Lambda's asynchronous invocation: two retries (there after minutes)


class RunningStack:
    """One stack. ``start``, then ``ready`` describes it, then ``stop``."""

    def __init__(self, options: Options, log: StackLog) -> None:
        self._options, self._log = options, log
        self._loop = asyncio.get_running_loop()
        self._pools: dict[str, FunctionPool] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._gateway: Gateway | None = None
        self._streaming: StreamingHost | None = None
        self._workers: Workers | None = None
        self._demo: demo_account.DemoAccount | None = None
        self._base_url: str | None = None
        self._state: KeptState | None = None
        self._may_keep = False  # a start that broke off must not replace what is kept
        self.is_kept = True
        """False when the state should have been kept at the end, and could not be."""

    async def start(self) -> None:
        """Return once every function is initialised, every worker polls and the API answers."""
        if self._options.state:  # every byte of it is checked, which may take a while
            self._state = await asyncio.to_thread(KeptState, self._options.state)
        moto_fixes.apply(invoke_async=self._invoke_async)
        with _naming_its_flag("--aws-port", self._options.aws_port):
            self._aws = LocalAws(port=self._options.aws_port, calls_file=self._options.calls_file)
        self._aws.on_invoke(self._invoke_api)
        self._aws.start()
        self._created = self._create()
        await asyncio.to_thread(self._restore)
        self._environment = environment_from_outputs(self._created.outputs)
        host = Host(code=self._options.code.resolve(), endpoint_url=self._aws.endpoint_url, log=self._log)
        behind_api = {route.function_arn for api in self._created.apis for route in api.routes}
        for function in self._created.functions:
            size = _API_CHILDREN if function.arn in behind_api else _OTHER_CHILDREN
            if function.reserved_concurrency:
                size = min(size, function.reserved_concurrency)
            self._pools[function.arn] = FunctionPool(function, host, size=size)
        self._start_workers()
        await asyncio.gather(*(pool.start() for pool in self._pools.values()), self._open_demo_account())
        self._may_keep = self._state is not None
        await self._start_gateway()
        self._start_events()
        self._watch_drop_folder()
        if self._workers:
            await self._workers.ready()
        if self._state:
            await asyncio.to_thread(self._keep_state)
            self._keep(self._keep_state_regularly())

    def _create(self) -> stack.Created:
        source = template.read(self._options.template)
        given = with_local_defaults(self._options.parameters, list(source.get("Parameters", {})))
        values = template.parameters(source, given)
        return stack.create(template.translate(source, values), values, endpoint_url=self._aws.endpoint_url)

    def _restore(self) -> None:
        if self._state and (told := self._state.restore(self._created.stores)):
            self._log.notice(f"brought back from {self._state.folder}: {told}")

    def _keep_state(self, *, always: bool = True) -> None:
        assert self._state is not None
        try:
            kept = self._state.keep(self._aws, self._created.stores, self._demo, always=always)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the folder, the stack goes on and ends in order
            self._log.notice(f"the state could not be kept in {self._state.folder}: {error!r}")
            self.is_kept = False
            return
        self.is_kept = True
        if kept:
            self._log.line("state", f"kept: {kept}")

    async def _keep_state_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._options.state_seconds)
            await asyncio.to_thread(self._keep_state, always=False)

    async def _keep_state_at_the_end(self) -> None:
        """One more snapshot, and the folder for the next stack."""
        assert self._state is not None
        if self._may_keep:
            await asyncio.to_thread(self._keep_state)
        self._state.close()

    def _start_workers(self) -> None:
        if not self._options.workers or "WORK_QUEUE_URL" not in self._environment:
            return
        chosen = {"ENGINE": self._options.engine, "MODEL": self._options.model}
        chosen["CHUNK_WORKERS"] = str(self._options.chunk_workers or "")
        self._workers = Workers(
            self._environment | {name: value for name, value in chosen.items() if value},
            self._aws,
            self._log,
            code=self._options.code.resolve(),
            module=self._options.worker_module,
            count=self._options.workers,
        )
        self._workers.start()

    async def _open_demo_account(self) -> None:
        if self._state and self._state.demo:
            self._demo = self._state.demo
            return
        create = functools.partial(demo_account.create, self._environment, endpoint_url=self._aws.endpoint_url)
        self._demo = await asyncio.to_thread(create)

    async def _start_gateway(self) -> None:
        if not self._created.apis:
            return
        self._gateway = Gateway(self._created.apis[0], self._invoke, self._log, streaming=self._streaming_host())
        with _naming_its_flag("--port", self._options.port):
            port = await self._gateway.start(host=self._options.host, port=self._options.port)
        shown = "127.0.0.1" if self._options.host == "0.0.0.0" else self._options.host  # noqa: S104 - the user's choice
        self._base_url = f"http://{shown}:{port}"

    def _streaming_host(self) -> StreamingHost:
        """The host for large uploads, with the environment of the function behind the API."""
        behind_api = {route.function_arn for route in self._created.apis[0].routes}
        function = next(pool.function for arn, pool in self._pools.items() if arn in behind_api)
        code = self._options.code.resolve()
        aws = {
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "streaming",
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": self._aws.endpoint_url,
        }
        self._streaming = StreamingHost(
            streaming.environment(function.environment, aws, code=code), self._log, code=code
        )
        return self._streaming

    def _start_events(self) -> None:
        self._pollers = QueuePollers(self._aws.endpoint_url, self._invoke, self._log)
        sources = []
        for source in self._created.event_sources:
            size = self._pools[source.function_arn].size
            sources.append((source, min(size, source.maximum_concurrency or size)))
        self._pollers.start(sources)
        self._schedules = ScheduledRules(
            self._aws.endpoint_url, self._invoke, self._log, every_seconds=self._options.schedule_seconds
        )
        self._schedules.start(self._created.schedules)

    def _watch_drop_folder(self) -> None:
        bucket = self._created.outputs.get("Bucket")
        if self._demo is None or bucket is None:
            return
        self._drop_folder = DropFolder(
            self._options.drop,
            endpoint_url=self._aws.endpoint_url,
            bucket=bucket,
            account_id=self._demo.account_id,
            log=self._log,
        )
        self._drop_folder.start()

    def ready(self) -> dict[str, Any]:
        """Where everything is, for people and scripts."""
        return {
            "base_url": self._base_url,
            "api_key": self._demo.api_key if self._demo else None,
            "account_id": self._demo.account_id if self._demo else None,
            "s3_endpoint": self._aws.endpoint_url,
            "aws_endpoint": self._aws.endpoint_url,
            "region": REGION,
            "access_key_id": "test",
            "secret_access_key": SECRET_KEY,
            "state": str(self._state.folder) if self._state else None,
            "drop_folder": str(self._options.drop.resolve()),
            "bucket": self._created.outputs.get("Bucket"),
            "outputs": dict(self._created.outputs),
            "functions": {pool.function.logical_id: pool.function.name for pool in self._pools.values()},
            "pid": os.getpid(),
            "worker_pids": self._workers.pids if self._workers else [],
            "function_pids": {pool.function.logical_id: pool.pids for pool in self._pools.values()},
        }

    async def stop(self) -> None:
        """End everything this stack started, however far it got."""
        for part in ("_pollers", "_schedules", "_drop_folder"):
            if hasattr(self, part):
                getattr(self, part).stop()
        if self._gateway:
            self._gateway.close()
        for task in self._background:
            task.cancel()
        if self._state:
            await self._let_functions_finish()
        await self._end_processes()
        if self._state:
            await self._keep_state_at_the_end()

    async def _end_processes(self) -> None:
        ending: list[Coroutine[Any, Any, None]] = [pool.close() for pool in self._pools.values()]
        if self._workers:
            ending.append(self._workers.stop())
        if self._streaming:
            ending.append(self._streaming.stop())
        for outcome in await asyncio.gather(*ending, return_exceptions=True):
            if isinstance(outcome, Exception):
                self._log.notice(f"while stopping: {outcome!r}")  # and the rest is stopped all the same

    async def _let_functions_finish(self) -> None:
        """What is at work now would otherwise be found half done at the next start, minutes later."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                while any(pool.is_busy for pool in self._pools.values()):
                    await asyncio.sleep(0.02)

    # ---- Invocations --------------------------------------------------------------------------------------------

    async def _invoke(self, function_arn: str, payload: bytes) -> Invocation:
        return await self._pools[function_arn].invoke(payload)

    def _invoke_async(self, function_arn: str, event: dict[str, Any]) -> None:
        """Lambda's asynchronous invocation, from any thread."""
        self._loop.call_soon_threadsafe(self._keep, self._retry(function_arn, json.dumps(event, default=str).encode()))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _retry(self, function_arn: str, payload: bytes) -> None:
        for attempt in range(_ASYNC_TRIES):
            if not (await self._invoke(function_arn, payload)).error:
                return
            await asyncio.sleep(_ASYNC_PAUSE_SECONDS * (attempt + 1))
        self._log.notice(f"{function_arn} failed {_ASYNC_TRIES} times; the event is dropped")

    def _invoke_api(self, name: str, payload: bytes, wait: bool) -> Invocation:
        """Lambda's Invoke API, from a thread of the AWS endpoint."""
        arn = next((arn for arn, pool in self._pools.items() if name in (arn, pool.function.name)), None)
        if arn is None:
            raise KeyError(name)
        if not wait:
            self._invoke_async(arn, json.loads(payload))
            return Invocation(payload=b"")
        return asyncio.run_coroutine_threadsafe(self._invoke(arn, payload), self._loop).result()


@contextlib.contextmanager
def _naming_its_flag(flag: str, port: int) -> Iterator[None]:
    """Say of a taken port how to choose another."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(f"port {port} is taken. Choose another with {flag}, or leave it out for a free one.") from error
