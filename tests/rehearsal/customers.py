"""Customers: each recording is sent until somebody answers, under one Idempotency-Key."""

from __future__ import annotations

import io
import threading
import time
import uuid
import wave
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import requests

from tests.recordings import asset

AT_ONCE = 8
PATIENCE_SECONDS = 600.0
BROKEN_EVERY = 25  # each so many-th recording breaks the engine
RATE_HZ = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one customer sends. ``breaks`` says that the engine cannot do it."""

    number: int
    recording: bytes
    options: dict[str, str]
    breaks: bool
    idempotency_key: str


@dataclass
class Sent:
    """How sending went."""

    jobs: dict[int, str] = field(default_factory=dict)  # job ids by order number
    answers: Counter[str] = field(default_factory=Counter)
    refused: list[str] = field(default_factory=list)  # what nobody should have been told


def make_orders(count: int, chance: Random) -> list[Order]:
    """Orders with recordings of two to three seconds, no two alike; the broken ones are longer."""
    with wave.open(str(asset("beckett.wav"))) as file:
        speech = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    orders = []
    for number in range(count):
        breaks = number % BROKEN_EVERY == BROKEN_EVERY - 1
        seconds = 4.5 if breaks else chance.uniform(2.0, 3.0)
        first = chance.randrange(len(speech) - int(seconds * RATE_HZ))
        orders.append(
            Order(
                number=number,
                recording=_wav(speech[first : first + int(seconds * RATE_HZ)], chance),
                options={
                    "diarization": chance.choice(["true", "false"]),
                    "summary": chance.choice(["true", "false"]),
                    "word_timestamps": chance.choice(["true", "false"]),
                },
                breaks=breaks,
                idempotency_key=str(uuid.UUID(int=chance.getrandbits(128))),
            )
        )
    return orders


def _wav(samples: Any, chance: Random) -> bytes:
    noise = np.random.default_rng(chance.getrandbits(64)).integers(-2, 3, len(samples), dtype=np.int16)
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(RATE_HZ)
        target.writeframes((np.clip(samples, -32_000, 32_000) + noise).astype(np.int16).tobytes())
    return file.getvalue()


class Customers:
    """Sends all orders, some at a time."""

    def __init__(self, base_url: str, api_key: str, webhook_url: str) -> None:
        self._url = f"{base_url}/api/v1/transcribe/"
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._webhook_url = webhook_url
        self._local = threading.local()
        self._lock = threading.Lock()
        self.sent = Sent()

    def send(self, orders: Sequence[Order]) -> None:
        """Return once every order has its job, or was refused."""
        with ThreadPoolExecutor(AT_ONCE, "customer") as pool:
            for _ in pool.map(self._send, orders):
                pass

    def _send(self, order: Order) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = self._try(order)
            status = str(answer.status_code) if answer is not None else "no answer"
            with self._lock:
                self.sent.answers[status] += 1
                if answer is not None and answer.status_code in {200, 202}:
                    self.sent.jobs[order.number] = answer.json()["id"]
                    return
                if answer is not None and answer.status_code not in {409, 429} and answer.status_code < 500:
                    self.sent.refused.append(f"order {order.number}: {status} {answer.text[:200]}")
                    return
            time.sleep(0.5)
        with self._lock:
            self.sent.refused.append(f"order {order.number}: nobody took it within {PATIENCE_SECONDS:.0f} s")

    def _try(self, order: Order) -> requests.Response | None:
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
        try:
            return session.post(
                self._url,
                headers=self._headers | {"Idempotency-Key": order.idempotency_key},
                files={"file": (f"order-{order.number}.wav", order.recording)},
                data=order.options | {"webhook_url": self._webhook_url},
                timeout=60,
            )
        except requests.RequestException:
            return None
