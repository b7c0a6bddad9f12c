"""Chunks, speakers and summaries on other machines: this side sends orders, that side carries them out.

The decoded recording lies in the bucket as 16-bit samples; a machine reads only its own stretch. Who calls whom is
passed in as plain functions, so nothing here knows of Modal.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording, open_decoded
from gpu_jobs.chunk_work import ChunkEngines, work_on_part
from gpu_jobs.chunks import Span
from gpu_jobs.devices import compute_device
from gpu_jobs.diarize import Diarizer, SpeakerCount
from gpu_jobs.fanout import ChunkFailed, ChunkOrder, ChunkResult, OnResult, may_work_elsewhere
from gpu_jobs.planner import Plan
from gpu_jobs.progress import TICK_SECONDS, do_beside
from gpu_jobs.shelf import BucketShelf
from gpu_jobs.stopwatch import Stopwatch
from gpu_jobs.transcribe import LanguageChoice, SecondsDone
from gpu_jobs.transcribe.language import WINDOW_SECONDS, language_windows
from shared.adapters.s3 import Bucket
from shared.domain.errors import JobFailure
from shared.domain.options import Model, TranscriptionOptions
from shared.domain.transcripts import Turn

SAMPLE_BYTES = 2
BLOCK_SECONDS = 60.0
AUDIO = "audio.s16le"
ANSWER_FORMAT = 2  # counts up when the language or the speakers are kept with other fields
_PUBLISHING = threading.Lock()

Values = dict[str, Any]


class RangeReader(Protocol):
    """Reads a part of an object."""

    def read(self, key: str, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset`` on. Raises ObjectMissing."""
        ...


@dataclass(frozen=True, slots=True)
class Calls:
    """How to reach the other machines. Each takes the job's prefix and the order's values, and waits for the answer.

    The answers say what they took, in ``compute_seconds``: seconds of work by ``part@device``.
    """

    transcribe: Callable[[str, Values], Values]
    choose_language: Callable[[str, Values], Values]
    diarize: Callable[[str, Values], Values]


class RemoteChunks:
    """The ChunkRunner whose workers are elsewhere; what choosing the language took is added to ``elsewhere``."""

    def __init__(self, calls: Calls, shelf: BucketShelf, bucket: Bucket, plan: Plan, elsewhere: Stopwatch) -> None:
        self._elsewhere = elsewhere
        self._calls = calls
        self._shelf = shelf
        self._bucket = bucket
        self._plan = plan

    def chunk_seconds(self, duration_seconds: float, options: TranscriptionOptions) -> float:
        """What is cheapest within the target for time."""
        return self._plan(duration_seconds, options).chunk_seconds

    def choose_language(
        self, recording: Recording, speech: Sequence[Span], options: TranscriptionOptions, on_progress: SecondsDone
    ) -> LanguageChoice:
        """By a machine that has the model, once for the job however often it is run."""
        asked = {
            "model": options.model.value,
            "language": options.language,
            "windows": [
                [window.start_seconds, min(window.end_seconds, recording.duration_seconds)]
                for window in language_windows(speech)
            ],
        }
        values = self._shelf.get(_language_name(asked))
        if values is None:
            publish(recording, self._bucket, self._shelf)
            choice = do_beside(lambda: self._calls.choose_language(self._shelf.prefix, asked), lambda: on_progress(0.0))
            values = _or_failure(choice.result())
        self._elsewhere.add(values["compute_seconds"])
        return LanguageChoice(language=values["language"], confidence=values["confidence"])

    def run(
        self, recording: Recording, orders: Sequence[ChunkOrder], on_result: OnResult, on_progress: SecondsDone
    ) -> None:
        """On as many machines at a time as were planned for, the longest first.

        This side keeps the number: a ceiling of each job's own over there would be a fleet of each job's own, with
        containers that no other job can use, and no ceiling over all.
        """
        publish(recording, self._bucket, self._shelf)
        machines = self._plan(recording.duration_seconds, orders[0].options).gpus
        by_length = sorted(orders, key=lambda order: -order.chunk.span.duration_seconds)
        executor = ThreadPoolExecutor(machines, "chunks")
        waiting = {
            executor.submit(self._calls.transcribe, self._shelf.prefix, order.to_values()): order for order in by_length
        }
        done = 0.0
        try:
            while waiting:
                for call in wait(waiting, TICK_SECONDS, FIRST_COMPLETED).done:
                    order = waiting.pop(call)
                    on_result(order, ChunkResult.from_values(_answer(call)["result"]))
                    done += order.chunk.span.duration_seconds
                on_progress(done)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)  # what is under way ends by itself, on the shelf


class RemoteDiarizer:
    """The Diarizer that is elsewhere; it works on the whole recording while the chunks are transcribed.

    What that took is added to ``elsewhere``.
    """

    weight = 0.1

    def __init__(self, calls: Calls, shelf: BucketShelf, bucket: Bucket, engine: str, elsewhere: Stopwatch) -> None:
        self._calls, self._shelf, self._bucket = calls, shelf, bucket
        self._elsewhere = elsewhere
        self.engine = engine

    def diarize(
        self, recording: Recording, on_progress: SecondsDone, count: SpeakerCount | None = None
    ) -> tuple[Turn, ...]:
        """Once for the job, however often it is run."""
        asked = asdict(count or SpeakerCount())
        values = self._shelf.get(_speakers_name(asked))
        if values is None:
            publish(recording, self._bucket, self._shelf)
            values = self._calls.diarize(self._shelf.prefix, asked)
        self._elsewhere.add(values["compute_seconds"])
        on_progress(recording.duration_seconds)
        return tuple(Turn(**turn) for turn in values["turns"])


def publish(recording: Recording, bucket: Bucket, shelf: BucketShelf) -> None:
    """Put the samples into the bucket, unless they are there: 16 bits, mono, SAMPLE_RATE_HZ."""
    key = f"{shelf.prefix}{AUDIO}"
    size = len(recording.samples) * SAMPLE_BYTES
    with _PUBLISHING:  # speakers and chunks begin at the same moment
        if size_of(bucket, shelf.prefix) != size:
            _upload(recording, bucket, key)


def _upload(recording: Recording, bucket: Bucket, key: str) -> None:
    with tempfile.TemporaryFile() as file:
        at = 0.0
        while at < recording.duration_seconds:
            block = recording.slice(at, at + BLOCK_SECONDS)
            file.write((np.clip(block, -1.0, 1.0) * 32767).astype("<i2").tobytes())
            at += BLOCK_SECONDS
        file.seek(0)
        bucket.upload(key, file, "application/octet-stream")


def transcribe_chunk(engines: ChunkEngines, bucket: Bucket, reader: RangeReader, prefix: str, values: Values) -> Values:
    """Carry out an order where the engine is. A result that is there already is the answer.

    What the customer must be told is in the answer; anything else, an engine's failure too, is raised, for the platform
    to try elsewhere.
    """
    order, shelf = ChunkOrder.from_values(values), BucketShelf(bucket, prefix)
    known = shelf.get(order.name)
    if known is None:
        span = order.chunk.span
        device = compute_device()  # asked first: a driver that hangs costs no finished work
        stretch = fetch_part(reader, prefix, span.start_seconds, span.end_seconds)
        try:
            result = work_on_part(engines, stretch, order, lambda _: None)
        except JobFailure as failure:
            if may_work_elsewhere(failure):
                raise
            return {"failure": [failure.code, failure.message]}
        used = {f"{part}@{device}": seconds for part, seconds in result.compute_seconds.items()}
        known = replace(result, compute_seconds=used).to_values()
        shelf.put(order.name, known)
    return {"name": order.name, "result": known}


def choose_language(engines: ChunkEngines, bucket: Bucket, reader: RangeReader, prefix: str, values: Values) -> Values:
    """Decide the language where the engine is, by the asked windows of the recording and nothing else of it.

    As with an order, what is there already is the answer, and what the customer must be told is in it.
    """
    shelf, name = BucketShelf(bucket, prefix), _language_name(values)
    known = shelf.get(name)
    if known is not None:
        return known
    parts = [fetch_part(reader, prefix, start, end).samples for start, end in values["windows"]]
    length = round(WINDOW_SECONDS * SAMPLE_RATE_HZ)
    recording = Recording(samples=np.concatenate([np.pad(part, (0, max(0, length - len(part)))) for part in parts]))
    speech = [
        Span(start_seconds=number * WINDOW_SECONDS, end_seconds=(number + 1) * WINDOW_SECONDS)
        for number in range(len(parts))
    ]
    options = TranscriptionOptions(model=Model(values["model"]), language=values["language"])
    device, clock = compute_device(), Stopwatch()
    try:
        with clock.timing(f"choosing_language@{device}"):
            choice = engines.transcriber.choose_language(recording, speech, options)
    except JobFailure as failure:
        if may_work_elsewhere(failure):
            raise
        return {"failure": [failure.code, failure.message]}
    known = asdict(choice) | {"compute_seconds": clock.seconds}
    shelf.put(name, known)
    return known


def diarize(diarizer: Diarizer, bucket: Bucket, prefix: str, values: Values) -> Values:
    """Find the speakers of the whole recording where the engine is. An answer that is there already is the answer."""
    shelf, name = BucketShelf(bucket, prefix), _speakers_name(values)
    known = shelf.get(name)
    if known is not None:
        return known
    device, clock = compute_device(), Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        raw, file = Path(folder) / "raw", Path(folder) / "samples"
        bucket.download(f"{prefix}{AUDIO}", raw)
        with raw.open("rb") as source, file.open("wb") as target:
            while block := source.read(SAMPLE_BYTES * SAMPLE_RATE_HZ * 60):
                target.write(_as_samples(block).tobytes())
        with clock.timing(f"diarizing@{device}"):
            turns = diarizer.diarize(open_decoded(file), lambda _: None, SpeakerCount(**values))
    known = {"turns": [asdict(turn) for turn in turns], "compute_seconds": clock.seconds}
    shelf.put(name, known)
    return known


def fetch_part(reader: RangeReader, prefix: str, start_seconds: float, end_seconds: float) -> Recording:
    """The samples of ``[start, end)`` of the published recording."""
    first, last = round(start_seconds * SAMPLE_RATE_HZ), round(end_seconds * SAMPLE_RATE_HZ)
    body = reader.read(f"{prefix}{AUDIO}", first * SAMPLE_BYTES, (last - first) * SAMPLE_BYTES) if last > first else b""
    return Recording(samples=_as_samples(body))


def size_of(bucket: Bucket, prefix: str) -> int:
    """Bytes of the published recording; 0 where there is none."""
    key = f"{prefix}{AUDIO}"
    return next((found.size_bytes for found in bucket.find(key) if found.key == key), 0)


def _language_name(asked: Values) -> str:
    return f"language{ANSWER_FORMAT}-{asked['model']}-{asked['language'] or 'any'}"


def _speakers_name(asked: Values) -> str:
    return f"speakers{ANSWER_FORMAT}-" + "-".join(str(value) for value in asked.values())


def _as_samples(body: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.frombuffer(body, "<i2").astype(np.float32) / np.float32(32767)


def _answer(call: Future[Values]) -> Values:
    """What the other machine said. Raises JobFailure, or ChunkFailed where it failed on every try."""
    try:
        return _or_failure(call.result())
    except JobFailure:
        raise
    except Exception as error:
        raise ChunkFailed(f"{type(error).__name__} after all retries") from error


def _or_failure(values: Values) -> Values:
    if "failure" in values:
        code, message = values["failure"]
        raise JobFailure(code, message)
    return values
