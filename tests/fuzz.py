"""schemathesis over the OpenAPI document, against the running local stack: ``make fuzz``.

Starts the stack, sends at least 2,000 generated requests and ends with schemathesis' exit code. Every check is on but
"schema-valid data is accepted": a schema cannot say that a cursor must be one we gave out, a secret base64, or an
Idempotency-Key unused.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

READY_SECONDS = 120
CONFIG = Path(__file__).with_name("schemathesis.toml")


def main() -> int:
    """Run it; the exit code."""
    examples = sys.argv[1] if len(sys.argv) > 1 else "60"
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        with (Path(folder) / "stack.log").open("wb") as log:
            stack = subprocess.Popen(
                [sys.executable, "-m", "infra.local", "--ready-file", str(ready)], stdout=log, stderr=log
            )
            try:
                return _fuzz(_wait(ready, stack), examples)
            finally:
                stack.send_signal(signal.SIGINT)
                stack.wait()


def _wait(ready: Path, stack: subprocess.Popen[bytes]) -> dict[str, str]:
    for _ in range(READY_SECONDS * 10):
        if ready.exists() and ready.stat().st_size:
            found: dict[str, str] = json.loads(ready.read_text("utf-8"))
            return found
        if stack.poll() is not None:
            raise SystemExit(f"the stack ended with {stack.returncode}")
        time.sleep(0.1)
    raise SystemExit("the stack did not get ready")


def _fuzz(stack: dict[str, str], examples: str) -> int:
    base = stack["base_url"].rstrip("/")
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG)),
        *("run", f"{base}/openapi.json", "--url", base),
        *("--header", f"Authorization: Bearer {stack['api_key']}"),
        *("--checks", "all", "--exclude-checks", "positive_data_acceptance"),
        *("--max-examples", examples, "--workers", "2", "--continue-on-failure"),
    ]
    return subprocess.run(command, check=False, env=os.environ).returncode


if __name__ == "__main__":
    sys.exit(main())
