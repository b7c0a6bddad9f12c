"""Customers: each recording is sent until somebody answers, under one Idempotency-Key. Some change their mind.

Recordings come in by three doors: as a form, by their address on the web, by the drop folder.
"""

from __future__ import annotations

import io
import threading
import time
import uuid
import wave
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

import numpy as np
import requests

from tests.recordings import asset

AT_ONCE = 8
PATIENCE_SECONDS = 600.0
BROKEN_EVERY = 25  # each so many-th recording breaks the engine
CANCELLED = 0.04  # the part that is cancelled while it is under way
LONGEST_REGRET_SECONDS = 2.0
RATE_HZ = 16_000


class Door(StrEnum):
    """Which way a recording comes in."""

    FORM = "form"
    URL = "url"
    DROP = "drop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one customer sends. ``breaks``: the engine cannot do it. ``regret_seconds``: it is cancelled then."""

    number: int
    recording: bytes
    options: dict[str, str]
    breaks: bool
    idempotency_key: str
    door: Door = Door.FORM
    regret_seconds: float | None = None

    @property
    def file_name(self) -> str:
        """No two alike."""
        return f"order-{self.number:04}.wav"


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
                **_manner(chance),
            )
        )
    return orders


def _manner(chance: Random) -> dict[str, Any]:
    door = chance.choices([Door.FORM, Door.URL, Door.DROP], [0.7, 0.15, 0.15])[0]
    regrets = chance.random() < CANCELLED and door is not Door.DROP
    return {"door": door, "regret_seconds": chance.uniform(0.0, LONGEST_REGRET_SECONDS) if regrets else None}


def _wav(samples: Any, chance: Random) -> bytes:
    noise = np.random.default_rng(chance.getrandbits(64)).integers(-2, 3, len(samples), dtype=np.int16)
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(RATE_HZ)
        target.writeframes((np.clip(samples, -32_000, 32_000) + noise).astype(np.int16).tobytes())
    return file.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things go and come from."""

    base_url: str
    api_key: str
    webhook_url: str
    source_url: str
    drop: Callable[[str, bytes], None]


class Customers:
    """Sends all orders, some at a time."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._headers = {"Authorization": f"Bearer {places.api_key}"}
        self._local = threading.local()
        self._lock = threading.Lock()
        self.sent = Sent()

    def send(self, orders: Sequence[Order]) -> None:
        """Return once every order has its job, or was refused. Those of the drop folder get theirs later."""
        with ThreadPoolExecutor(AT_ONCE, "customer") as pool:
            for _ in pool.map(self._send, orders):
                pass

    def _send(self, order: Order) -> None:
        if order.door is Door.DROP:
            self._places.drop(order.file_name, order.recording)
            return
        answer = self._insist(order, lambda: self._submit(order), {200, 202})
        if answer is None:
            return
        with self._lock:
            self.sent.jobs[order.number] = answer.json()["id"]
        if order.regret_seconds is not None:
            time.sleep(order.regret_seconds)
            url = f"{self._places.base_url}/api/v1/transcribe/{answer.json()['id']}/cancel/"
            self._insist(order, lambda: self._post(url), {200, 409})  # 409: it has ended

    def _insist(self, order: Order, ask: Callable[[], requests.Response], wanted: set[int]) -> requests.Response | None:
        """Ask until there is an answer that is wanted; None, with a complaint, when another one is final."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = ask()
            except requests.RequestException:
                self._note("no answer")
            else:
                self._note(str(answer.status_code))
                if answer.status_code in wanted:
                    return answer
                if answer.status_code not in {409, 429} and answer.status_code < 500:
                    self._complain(f"order {order.number}: {answer.status_code} {answer.text[:200]}")
                    return None
            time.sleep(0.5)
        self._complain(f"order {order.number}: nobody took it within {PATIENCE_SECONDS:.0f} s")
        return None

    def _submit(self, order: Order) -> requests.Response:
        url, options = f"{self._places.base_url}/api/v1/transcribe/", order.options
        headers = {"Idempotency-Key": order.idempotency_key}
        options = options | {"webhook_url": self._places.webhook_url}
        if order.door is Door.URL:
            options = options | {"url": f"{self._places.source_url}/{order.file_name}"}
            return self._post(f"{url}url/", headers=headers, json=options)
        return self._post(url, headers=headers, files={"file": (order.file_name, order.recording)}, data=options)

    def _post(self, url: str, *, headers: dict[str, str] | None = None, **body: Any) -> requests.Response:
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
        answer: requests.Response = session.post(url, headers=self._headers | (headers or {}), timeout=60, **body)
        return answer

    def _note(self, answer: str) -> None:
        with self._lock:
            self.sent.answers[answer] += 1

    def _complain(self, problem: str) -> None:
        with self._lock:
            self.sent.refused.append(problem)
