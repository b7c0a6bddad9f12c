"""Twenty submits at once to one account, over HTTP on the local stack: ``python -m tests.benchmarks.submits``."""

from __future__ import annotations

import io
import statistics
import time
import wave
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import requests

from infra.local.launch import LocalStack

PARALLEL = 20
SUBMITS = 400


def main() -> None:
    """Print the latencies of parallel submits, beside those of one after another."""
    body = _second_of_silence()
    with LocalStack("--no-worker") as stack:
        url, headers = f"{stack.ready['base_url']}/api/v1/transcribe/", _bearer(stack)

        def submit(_: int) -> tuple[int, float]:
            started = time.perf_counter()
            answer = requests.post(url, headers=headers, files={"file": ("a.wav", body)}, timeout=60)
            return answer.status_code, time.perf_counter() - started

        alone = [submit(number)[1] for number in range(50)]
        started = time.perf_counter()
        with ThreadPoolExecutor(PARALLEL) as pool:
            together = list(pool.map(submit, range(SUBMITS)))
        wall = time.perf_counter() - started
    seconds = [taken for _, taken in together]
    print(f"one after another      p50 {_ms(alone, 50)}  p99 {_ms(alone, 99)}")
    print(f"{PARALLEL} at once, one account  p50 {_ms(seconds, 50)}  p99 {_ms(seconds, 99)}  {SUBMITS / wall:.0f}/s")
    print(f"answers: {dict(Counter(status for status, _ in together))}")


def _bearer(stack: LocalStack) -> dict[str, str]:
    return {"Authorization": f"Bearer {stack.ready['api_key']}"}


def _ms(seconds: list[float], percentile: int) -> str:
    return f"{1000 * statistics.quantiles(seconds, n=100)[percentile - 1]:6.0f} ms"


def _second_of_silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(8_000)
        recording.writeframes(bytes(16_000))
    return file.getvalue()


if __name__ == "__main__":
    main()
