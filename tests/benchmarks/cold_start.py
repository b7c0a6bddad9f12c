"""Cold starts and footprint: ``python -m tests.benchmarks.cold_start`` (``make bench-cold``).

Starts every handler of the template as Lambda does, under AWS's runtime interface client in a fresh process, beside a
bare FastAPI + Mangum + boto3 function in the same run, turn by turn. Prints, for each:

    init      from the start of the process until it asks for its first event: the least of the rounds, and the median
    CPU       processor time of the same, which other load on the machine disturbs less
    RSS       memory then
    modules   how many are loaded, and the large ones among them
    request   a warm GET, from event to answer (the API and the bare function only)

Ratios, not milliseconds, are what carries over to Lambda.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.local import template
from infra.local.launch import LocalStack
from infra.local.options import REPOSITORY
from infra.local.worker import environment_from_outputs
from infra.stage_lambda import handlers_by_artefact

ROUNDS, REQUESTS, WARMING = 7, 300, 30
HELLO = "tests.benchmarks.hello_function.handler"
API = "functions.api.handler.handler"
TARGETS = {API: 1.10}
EVENT_TARGET = 0.60
WARM_TARGET_MS = 2.0
HEAVY = ("fastapi", "pydantic", "mangum", "boto3", "aws_lambda_powertools", "modal", "aws_xray_sdk", "numpy")


@dataclass(slots=True, kw_only=True)
class Measured:
    """What one handler showed over the rounds."""

    init_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    rss_mb: float = 0.0
    request_ms: list[float] = field(default_factory=list)


def main() -> int:
    """Measure everything and print it; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    source = template.read(REPOSITORY / "template.yaml")
    handlers = [HELLO, *dict.fromkeys(name for names in handlers_by_artefact(source).values() for name in names)]
    results = {handler: Measured() for handler in handlers}
    for folder in ("functions", "shared", "tests/benchmarks"):  # as what is deployed is, whatever this environment says
        compileall.compile_dir(REPOSITORY / folder, quiet=1)
    with LocalStack("--no-worker") as stack:
        environment = _environment(stack)
        for number in range(rounds):
            for handler in handlers:
                _measure(handler, environment, results[handler], stack.ready["api_key"], warm=number == 0)
        loaded = {handler: _modules(handler, environment) for handler in handlers}
    return _print(results, loaded)


def _measure(handler: str, environment: Mapping[str, str], result: Measured, api_key: str, *, warm: bool) -> None:
    with _Function(handler, environment) as function:
        result.init_ms.append(function.init_ms)
        result.cpu_ms.append(function.cpu_ms)
        result.rss_mb = max(result.rss_mb, function.rss_mb)
        if warm and handler in {HELLO, API}:
            event = _get_event("/hello" if handler == HELLO else "/api/v1/languages/", api_key)
            answers = [function.ask(event) for _ in range(WARMING + REQUESTS)]
            assert all(status == 200 for _, status in answers), answers[-1]
            result.request_ms = [milliseconds for milliseconds, _ in answers[WARMING:]]


def _print(results: Mapping[str, Measured], loaded: Mapping[str, set[str]]) -> int:
    bare = results[HELLO]
    table = Table("handler", "init least", "median", "x bare", "target", "CPU least", "x bare", "RSS MB", "modules")
    missed = []
    for handler, result in results.items():
        ratio = min(result.init_ms) / min(bare.init_ms)
        target = None if handler == HELLO else TARGETS.get(handler, EVENT_TARGET)
        if target is not None and ratio > target:
            missed.append(f"{handler}: {ratio:.2f} x the bare init, target {target:.2f}")
        heavy = " ".join(name for name in HEAVY if name in loaded[handler])
        table.add_row(
            handler,
            f"{min(result.init_ms):.0f} ms",
            f"{statistics.median(result.init_ms):.0f}",
            f"{ratio:.2f}",
            "" if target is None else f"{target:.2f}",
            f"{min(result.cpu_ms):.0f} ms",
            f"{min(result.cpu_ms) / min(bare.cpu_ms):.2f}",
            f"{result.rss_mb:.0f}",
            f"{len(loaded[handler])}: {heavy}",
        )
    console = Console(width=160)
    console.print(table)
    ours, theirs = (statistics.median(results[handler].request_ms) for handler in (API, HELLO))
    console.print(f"warm GET, median: API {ours:.2f} ms, bare {theirs:.2f} ms, difference {ours - theirs:.2f} ms")
    if ours - theirs > WARM_TARGET_MS:
        missed.append(f"warm request: {ours - theirs:.2f} ms over the bare one, target {WARM_TARGET_MS:.1f}")
    for line in missed:
        console.print(f"missed  {line}")
    return 1 if missed else 0


def _environment(stack: LocalStack) -> dict[str, str]:
    """What Lambda and the template would give, for the local stack's AWS."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | environment_from_outputs(stack.ready["outputs"]) | {
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_FORMAT": "JSON",
        "AWS_DEFAULT_REGION": stack.ready["region"],
        "AWS_REGION": stack.ready["region"],
        "AWS_ACCESS_KEY_ID": stack.ready["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": stack.ready["secret_access_key"],
        "AWS_ENDPOINT_URL": stack.ready["aws_endpoint"],
        "DELIVERIES_QUEUE_URL": stack.ready["outputs"]["JobsQueueUrl"],  # no output: only one function has it
    }  # fmt: skip


def _modules(handler: str, environment: Mapping[str, str]) -> set[str]:
    module = handler.rpartition(".")[0]
    code = f"import sys, {module}; print('\\n'.join(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def _get_event(path: str, api_key: str) -> bytes:
    """A REST API's proxy event."""
    headers = {"Host": "bench", "Authorization": f"Bearer {api_key}"}
    event = {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": "GET",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": path.lstrip("/")},
        "requestContext": {"requestId": "bench", "stage": "dev", "identity": {"sourceIp": "127.0.0.1"}},
        "body": None,
        "isBase64Encoded": False,
    }
    return json.dumps(event).encode()


class _QuietServer(ThreadingHTTPServer):
    """A server that takes it calmly when its client is killed."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing: a failed request shows as an answer that does not come."""


class _Function:
    """One fresh process under awslambdaric, and the Runtime API that it talks to."""

    def __init__(self, handler: str, environment: Mapping[str, str]) -> None:
        self._handler, self._environment = handler, environment
        self._asked = threading.Event()
        self._work: queue.Queue[bytes] = queue.Queue()
        self._answers: queue.Queue[tuple[float, bytes]] = queue.Queue()
        self.init_ms = self.cpu_ms = self.rss_mb = 0.0

    def __enter__(self) -> _Function:
        self._server = _QuietServer(("127.0.0.1", 0), self._make_api())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        api = f"127.0.0.1:{self._server.server_port}"
        environment = {**self._environment, "AWS_LAMBDA_RUNTIME_API": api, "_HANDLER": self._handler}
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", self._handler],
            env=environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        if not self._asked.wait(60):
            self.__exit__()
            raise RuntimeError(f"{self._handler} did not start")
        self.init_ms = (time.perf_counter() - started) * 1000
        process = Path(f"/proc/{self._process.pid}")
        nanoseconds = [int(file.read_text().split()[0]) for file in process.glob("task/*/schedstat")]
        self.cpu_ms = sum(nanoseconds) / 1e6
        self.rss_mb = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._server.shutdown()
        self._server.server_close()

    def ask(self, event: bytes) -> tuple[float, int]:
        """Milliseconds from the event to its answer, and the answer's status."""
        started = time.perf_counter()
        self._work.put(event)
        ended, body = self._answers.get(timeout=30)
        return (ended - started) * 1000, int(json.loads(body).get("statusCode", 0))

    def _make_api(self) -> type[BaseHTTPRequestHandler]:
        function = self

        class RuntimeApi(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or every answer waits 40 ms for an acknowledgement

            def do_GET(self) -> None:
                function._asked.set()
                event = function._work.get()
                self._send(200, event, {
                    "Lambda-Runtime-Aws-Request-Id": str(uuid.uuid4()),
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + 29) * 1000)),
                    "Content-Type": "application/json",
                    # the client waits for ever without it
                    "Lambda-Runtime-Trace-Id": "Root=1-00000000-000000000000000000000000",
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:bench",
                })  # fmt: skip

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                function._answers.put((time.perf_counter(), body))
                self._send(202, b"", {})

            def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return RuntimeApi


if __name__ == "__main__":
    sys.exit(main())
