"""yt-dlp in a process of its own, without our secrets, with an end to its memory, disk and time.

It takes pages apart that strangers wrote: one that unpacks to gigabytes, or keeps a regular expression busy for ever,
must cost its own job only. Orders go in on stdin, one line of JSON; what comes out on stdout is one line for each step.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from gpu_jobs.fetch_site import download
from gpu_jobs.sources import SiteOrder
from shared.domain.errors import JobFailure

TICK_SECONDS = 0.5  # how soon a run notices that it must stop
MAX_LINE_BYTES = 64 * 1024
_PASSED_ON = ("LANG", "LC_ALL", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
_CODE = "from gpu_jobs.fetch_apart import child; child()"

_GAVE_UP = "The site took too long to give the recording. Please download the recording and upload the file."
_TOO_MUCH = "The site's answer was too large to be read. Please download the recording and upload the file."


def fetch_apart(order: SiteOrder, on_bytes: Callable[[int], None]) -> str:
    """The recording's title, once it lies in the order's folder. Raises JobFailure, and what ``on_bytes`` raises.

    ``on_bytes`` is called at least every TICK_SECONDS.
    """
    with _process(order) as process:
        assert process.stdout is not None
        began, received = time.monotonic(), 0
        for line in _lines(process.stdout):
            if line is None:
                waited = time.monotonic() - began
                if waited > order.max_seconds or (not received and waited > order.page_seconds):
                    raise JobFailure("source_timeout", _GAVE_UP)
                on_bytes(received)
                continue
            said: dict[str, Any] = json.loads(line)
            if "bytes" in said:
                received = said["bytes"]
                on_bytes(received)
            elif "code" in said:
                raise JobFailure(said["code"], said["message"])
            else:
                return str(said["title"])
        raise JobFailure("source_too_large", _TOO_MUCH)  # ended without a word: it ran into a limit


def child() -> None:
    """The process: one order, then the end."""
    order = SiteOrder(**json.loads(sys.stdin.readline()))
    words = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever yt-dlp or a runtime prints is no answer
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_DATA, order.max_memory_bytes)
    _limit(resource.RLIMIT_FSIZE, order.max_bytes + 1024**2)
    _limit(resource.RLIMIT_CPU, int(order.max_seconds) + 1)  # should nobody be left to end it

    def say(**values: Any) -> None:
        words.write(json.dumps(values) + "\n")

    try:
        title = download(order, lambda count: say(bytes=count))
    except JobFailure as failure:
        say(code=failure.code, message=failure.message)
    except MemoryError:
        say(code="source_too_large", message=_TOO_MUCH)
    else:
        say(title=title)


@contextlib.contextmanager
def _process(order: SiteOrder) -> Iterator[subprocess.Popen[bytes]]:
    """The process, at work; with everything it started it is gone after the block."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "HOME": order.folder,
        "TMPDIR": order.folder,
        "DENO_DIR": str(Path(order.folder, ".deno")),
    }
    process = subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", _CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # may repeat addresses with tokens in them
        env=environment,
        cwd=order.folder,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _lines(stream: IO[bytes]) -> Iterator[bytes | None]:
    """Lines as they come, and None whenever none has come for a while."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if not selector.select(TICK_SECONDS):
                yield None
                continue
            data = os.read(stream.fileno(), MAX_LINE_BYTES)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from lines


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
