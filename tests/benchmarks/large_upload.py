"""A gigabyte through the local stack: what the receiving process holds, and its speed beside a bare sink.

    python -m tests.benchmarks.large_upload [MEBIBYTES]

The sinks run in the same minute on the same machine: aiohttp reading a body and dropping it, and uvicorn doing so.
"""

from __future__ import annotations

import http.client
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from infra.local.launch import LocalStack
from tests.media import wav

BLOCK = bytes(1024 * 1024)
AIOHTTP_SINK = """
import asyncio, sys
from aiohttp import web
async def sink(request):
    async for _ in request.content.iter_chunked(262144):
        pass
    return web.Response(text="ok")
app = web.Application(client_max_size=1 << 40)
app.router.add_post("/", sink)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
"""
UVICORN_SINK = """
import sys, uvicorn
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="off")
"""


def main() -> int:
    """Run all three and print the figures; 1 when memory grew by more than 64 MB."""
    mebibytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
    sinks = {
        "aiohttp sink": _sink(AIOHTTP_SINK, 18_431, mebibytes),
        "uvicorn sink": _sink(UVICORN_SINK, 18_432, mebibytes),
    }
    ours, grown_bytes = _ours(mebibytes)
    print(f"{mebibytes} MiB, multipart")
    for name, speed in (*sinks.items(), ("local stack", ours)):
        print(f"  {name:14} {speed:8.0f} MiB/s   {ours / speed:5.2f}")
    print(f"  memory of the receiving process grew by {grown_bytes / 1e6:.1f} MB (limit 64)")
    return 0 if grown_bytes <= 64e6 else 1


def _ours(mebibytes: int) -> tuple[float, float]:
    with LocalStack("--no-worker") as stack:
        key = stack.ready["api_key"]
        _post(stack.ready["base_url"], 8, key)  # starts the streaming host and warms it up
        pid = _streaming_pid(stack.process.pid)
        before = _resident_bytes(pid)
        peak = [before]
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.02):
                peak[0] = max(peak[0], _resident_bytes(pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        seconds = _post(stack.ready["base_url"], mebibytes, key)
        stop.set()
        watcher.join()
        return mebibytes / seconds, peak[0] - before


def _sink(code: str, port: int, mebibytes: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "sink.py")
        file.write_text(code)
        process = subprocess.Popen([sys.executable, str(file), str(port)])
        try:
            for _ in range(200):
                try:
                    _post(f"http://127.0.0.1:{port}", 8, None, path="/")
                    break
                except OSError:
                    time.sleep(0.05)
            return mebibytes / _post(f"http://127.0.0.1:{port}", mebibytes, None, path="/")
        finally:
            process.terminate()
            process.wait()


def _post(base_url: str, mebibytes: int, key: str | None, path: str = "/api/v1/transcribe/") -> float:
    """Seconds of one upload: a WAV that is silent after its first second."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    tail = b"\r\n--b--\r\n"
    start = bytearray(wav(1.0).ljust(len(BLOCK), b"\0"))
    start[4:8] = start[40:44] = b"\xff\xff\xff\xff"
    length = len(head) + mebibytes * len(BLOCK) + len(tail)

    def body() -> Iterator[bytes]:
        yield head + bytes(start)
        for _ in range(mebibytes - 1):
            yield BLOCK
        yield tail

    target = urlsplit(base_url)
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": str(length)}
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=600)
    began = time.perf_counter()
    connection.request("POST", path, body=body(), headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    seconds = time.perf_counter() - began
    connection.close()
    if answer.status not in {200, 202}:
        raise SystemExit(f"{answer.status} {content[:300]!r}")
    return seconds


def _streaming_pid(stack_pid: int) -> int:
    """The uvicorn process of the stack."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
            except OSError:
                continue
            if b"uvicorn\0--factory" in command and (parent == stack_pid or _parent(parent) == stack_pid):
                return int(entry.name)
    raise SystemExit("no streaming host")


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[1])
    except OSError:
        return 0


def _resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    sys.exit(main())
