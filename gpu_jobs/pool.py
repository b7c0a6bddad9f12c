"""Chunks on several processes of this machine, each with its own engine.

A process that dies (out of memory, a crash in native code), hangs, or whose engine fails costs its order one try; the
order goes to a fresh process, and fails the run when that one fails too. The processes outlive the recording, so that
models load once.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from gpu_jobs.audio import Recording, open_decoded
from gpu_jobs.chunk_work import ChunkEngines, work_on
from gpu_jobs.chunks import Span
from gpu_jobs.engines import EngineSettings, build_chunk_engines
from gpu_jobs.fanout import ChunkFailed, ChunkOrder, ChunkResult, OnResult, may_work_elsewhere
from gpu_jobs.transcribe import LanguageChoice, SecondsDone
from shared.domain.errors import JobFailure
from shared.domain.options import Model, TranscriptionOptions

logger = logging.getLogger(__name__)

TRIES = 2
SILENT_SECONDS = 3600.0
"""A process that says nothing for so long hangs. The largest model on a slow processor takes minutes for a batch."""

TICK_SECONDS = 0.5  # how soon a run notices that it must stop
MIN_CHUNK_SECONDS, MAX_CHUNK_SECONDS = 30.0, 300.0
CHUNKS_PER_WORKER = 6  # so that none is left with much to do when the others are done

Message = tuple[str, Any]


@dataclass(slots=True)
class _Task:
    """Something for a worker to do, and what its answer is for."""

    kind: str
    file: Path
    values: dict[str, Any]
    on_answer: Callable[[dict[str, Any]], None]
    tries: int = 0
    done_seconds: float = 0.0


@dataclass(slots=True)
class _WorkerProcess:
    """A process, the task it is at, and when it was last heard of."""

    process: Any
    pipe: Connection[Message, Message]
    task: _Task | None = None
    heard_at: float = 0.0


class ProcessPool:
    """The ChunkRunner with ``workers`` processes. They start when first needed; ``close`` ends them."""

    def __init__(self, settings: EngineSettings, workers: int) -> None:
        share = max(1, (os.cpu_count() or 1) // workers)
        self._settings = replace(settings, cpu_threads=settings.cpu_threads or share)
        self._workers = workers
        self._processes: list[_WorkerProcess] = []

    def chunk_seconds(self, duration_seconds: float, options: TranscriptionOptions) -> float:  # noqa: ARG002
        """Short enough to keep all workers busy to the end, long enough not to cut without need."""
        even = duration_seconds / (self._workers * CHUNKS_PER_WORKER)
        return min(MAX_CHUNK_SECONDS, max(MIN_CHUNK_SECONDS, even))

    def choose_language(
        self, recording: Recording, speech: Sequence[Span], options: TranscriptionOptions, on_progress: SecondsDone
    ) -> LanguageChoice:
        """By one of the workers: this process loads no model."""
        answers: list[LanguageChoice] = []
        values = {
            "model": options.model.value,
            "language": options.language,
            "speech": [[span.start_seconds, span.end_seconds] for span in speech],
        }
        task = _Task("language", _file_of(recording), values, lambda got: answers.append(LanguageChoice(**got)))
        self._work([task], on_progress)
        return answers[0]

    def run(
        self, recording: Recording, orders: Sequence[ChunkOrder], on_result: OnResult, on_progress: SecondsDone
    ) -> None:
        """The longest first: the last to finish is then a short one."""
        file = _file_of(recording)

        def task_of(order: ChunkOrder) -> _Task:
            return _Task("chunk", file, order.to_values(), lambda got: on_result(order, ChunkResult.from_values(got)))

        by_length = sorted(orders, key=lambda order: -sum(span.duration_seconds for span in order.chunk.speech))
        self._work([task_of(order) for order in by_length], on_progress)

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        for worker in self._processes:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()
        self._processes.clear()

    def _work(self, tasks: Sequence[_Task], on_progress: SecondsDone) -> None:
        waiting = deque(tasks)
        try:
            while waiting or any(worker.task for worker in self._processes):
                self._hand_out(waiting)
                busy = {worker.pipe: worker for worker in self._processes if worker.task}
                for ready in wait(list(busy), TICK_SECONDS):
                    self._listen(busy[ready], waiting)  # type: ignore[index]  # only connections were given
                for worker in [each for each in self._processes if each.task and _hangs(each)]:
                    self._bury(worker, waiting)
                on_progress(sum(task.done_seconds for task in tasks))
        except BaseException:
            self.close()  # they are at work that nobody wants any more
            raise

    def _hand_out(self, waiting: deque[_Task]) -> None:
        while waiting:
            worker = next((each for each in self._processes if each.task is None), None)
            if worker is None:
                if len(self._processes) >= self._workers:
                    return
                worker = _start(self._settings)
                self._processes.append(worker)
            elif not worker.process.is_alive():
                self._bury(worker, waiting)  # it had nothing to do: its end is nobody's try
                continue
            worker.task = waiting.popleft()
            worker.task.tries += 1
            worker.task.done_seconds = 0.0
            worker.heard_at = time.monotonic()
            try:
                worker.pipe.send((worker.task.kind, [str(worker.task.file), worker.task.values]))
            except OSError:
                self._bury(worker, waiting)

    def _listen(self, worker: _WorkerProcess, waiting: deque[_Task]) -> None:
        task = worker.task
        assert task is not None
        worker.heard_at = time.monotonic()
        try:
            kind, content = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker, waiting)
            return
        if kind == "progress":
            task.done_seconds = max(task.done_seconds, content)
            return
        worker.task = None
        if kind == "answer":
            task.done_seconds = _length(task)
            task.on_answer(content)
        elif kind == "failure":
            failure = JobFailure(*content)
            if task.tries >= TRIES or not may_work_elsewhere(failure):
                raise failure
            worker.task = task
            self._bury(worker, waiting)  # its engine may be what is broken
        else:
            self._try_again(task, waiting, str(content))

    def _bury(self, worker: _WorkerProcess, waiting: deque[_Task]) -> None:
        """The process is dead: another one gets its task."""
        task, worker.task = worker.task, None
        self._processes.remove(worker)
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        if task is not None:
            self._try_again(task, waiting, f"exit code {worker.process.exitcode}")

    def _try_again(self, task: _Task, waiting: deque[_Task], reason: str) -> None:
        logger.warning("chunk_worker_failed", extra={"kind": task.kind, "tries": task.tries, "reason": reason})
        if task.tries >= TRIES:
            raise ChunkFailed(f"{task.kind}: {reason}")
        waiting.append(task)


def _hangs(worker: _WorkerProcess) -> bool:
    return time.monotonic() - worker.heard_at > SILENT_SECONDS


def _length(task: _Task) -> float:
    start, end = task.values.get("span", (0.0, 0.0))
    return float(end - start)


def _file_of(recording: Recording) -> Path:
    if recording.file is None:
        raise ValueError("worker processes need a recording that was decoded into a file")
    return recording.file


def _start(settings: EngineSettings) -> _WorkerProcess:
    context = get_context("spawn")  # a forked copy of loaded engines and their threads would hang
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, asdict(settings)), name="chunk-worker", daemon=True)
    process.start()
    theirs.close()  # or the end of the process would go unnoticed
    return _WorkerProcess(process=process, pipe=ours)


@dataclass(slots=True)
class _Server:
    """The process's side: its engines, loaded once."""

    engines: ChunkEngines
    pipe: Connection[Message, Message]
    told: float = field(default=0.0)

    def answer(self, kind: str, file: Path, values: dict[str, Any]) -> dict[str, Any]:
        recording = open_decoded(file)
        if kind == "language":
            speech = [Span(start_seconds=start, end_seconds=end) for start, end in values["speech"]]
            options = TranscriptionOptions(model=Model(values["model"]), language=values["language"])
            return asdict(self.engines.transcriber.choose_language(recording, speech, options))
        order = ChunkOrder.from_values(values)
        result = work_on(self.engines, recording, order, lambda seconds: self.pipe.send(("progress", seconds)))
        return result.to_values()


def _serve(pipe: Connection[Message, Message], settings: dict[str, Any]) -> None:
    """The life of a worker process: it ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    server = _Server(engines=build_chunk_engines(EngineSettings(**settings)), pipe=pipe)
    while True:
        try:
            kind, (file, values) = pipe.recv()
        except (EOFError, OSError):
            sys.exit(0)
        try:
            pipe.send(("answer", server.answer(kind, Path(file), values)))
        except JobFailure as failure:
            pipe.send(("failure", (failure.code, failure.message)))
        except (BrokenPipeError, ConnectionResetError):
            sys.exit(0)
        except Exception as error:  # noqa: BLE001 - told to the parent, which decides
            pipe.send(("error", f"{type(error).__name__}: {error}"))
