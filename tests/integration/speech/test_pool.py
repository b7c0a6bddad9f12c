"""Chunks on real processes: the same words as without them, and none lost when a process dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpu_jobs.audio import Recording, decode_recording
from gpu_jobs.chunk_work import ChunkEngines, OwnProcess
from gpu_jobs.chunks import Span, plan_chunks
from gpu_jobs.engines import EngineSettings, build_chunk_engines
from gpu_jobs.fanout import ChunkFailed, ChunkOrder, ChunkResult, NoShelf, merge_results, run_orders
from gpu_jobs.pool import SILENT_SECONDS, ProcessPool
from gpu_jobs.pool import _start as real_start
from gpu_jobs.speech import find_speech
from shared.domain.errors import JobFailure
from shared.domain.options import TranscriptionOptions
from tests.data.recordings import TWO_CITIES

SETTINGS = EngineSettings(cpu_threads=1)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    pool = ProcessPool(SETTINGS, 2)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def engines() -> ChunkEngines:
    return build_chunk_engines(SETTINGS)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return decode_recording(TWO_CITIES, keep_in=tmp_path_factory.mktemp("decoded") / "samples")


@pytest.fixture(scope="module")
def speech(recording: Recording) -> tuple[Span, ...]:
    return find_speech(recording)


def orders(recording: Recording, speech: tuple[Span, ...], engines: ChunkEngines, seconds: float) -> list[ChunkOrder]:
    chunks = plan_chunks(speech, recording.duration_seconds, engines.transcriber.windows, seconds)
    options = TranscriptionOptions(language="en")
    return [ChunkOrder(chunk=chunk, options=options, engine="moonshine:tiny-en") for chunk in chunks]


THREADS_STARTED = """
import os, sys
from pathlib import Path
from gpu_jobs.audio import decode_recording
from gpu_jobs.chunks import Span
from gpu_jobs.transcribe.moonshine import MoonshineTranscriber
from shared.domain.options import TranscriptionOptions
recording = decode_recording(Path(sys.argv[1]))
before = len(os.listdir("/proc/self/task"))
speech = (Span(start_seconds=0.0, end_seconds=5.0),)
engine = MoonshineTranscriber()
heard = engine.transcribe(recording, speech, TranscriptionOptions(language="en"), lambda _: None)
assert heard.passages
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_the_engine_starts_no_thread_that_would_take_another_workers_core() -> None:
    command = [sys.executable, "-c", THREADS_STARTED, str(TWO_CITIES)]
    run = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "0"


def test_two_processes_hear_the_very_words_that_one_hears_in_one_piece(
    pool: ProcessPool, engines: ChunkEngines, recording: Recording, speech: tuple[Span, ...]
) -> None:
    split, whole = orders(recording, speech, engines, 12.0), orders(recording, speech, engines, 1_000.0)
    assert len(split) >= 3
    assert len(whole) == 1
    progress: list[float] = []

    parts = run_orders(pool, NoShelf(), recording, split, progress.append)
    one = run_orders(OwnProcess(engines), NoShelf(), recording, whole, lambda _: None)

    def words(results: tuple[ChunkResult, ...], of: list[ChunkOrder]) -> list[str]:
        merged = merge_results(results, [order.chunk.span for order in of])
        return [word.text for passage in merged for word in passage.words]

    assert words(parts, split) == words(one, whole)
    assert progress[-1] == pytest.approx(recording.duration_seconds)
    assert pool.choose_language(recording, speech, TranscriptionOptions(), lambda _: None).language == "en"


def test_a_process_that_is_killed_costs_its_chunk_a_try_and_nobody_a_word(
    pool: ProcessPool, engines: ChunkEngines, recording: Recording, speech: tuple[Span, ...]
) -> None:
    split = orders(recording, speech, engines, 12.0)
    killed: list[int] = []

    def kill_one(_: float) -> None:
        if not killed and pool._processes:
            killed.append(pool._processes[0].process.pid)
            os.kill(killed[0], signal.SIGKILL)

    results = run_orders(pool, NoShelf(), recording, split, kill_one)

    assert killed
    assert len(results) == len(split)
    assert all(result.passages for result in results)


def test_processes_that_died_while_nobody_asked_for_them_cost_nobody_a_try(recording: Recording) -> None:
    pool = ProcessPool(SETTINGS, 2)
    pool._processes = [real_start(SETTINGS), real_start(SETTINGS)]
    for worker in pool._processes:
        worker.process.kill()
        worker.process.join()

    try:
        choice = pool.choose_language(recording, (), TranscriptionOptions(), lambda _: None)
    finally:
        pool.close()

    assert choice.language == "en"


def test_a_process_that_hangs_is_noticed_and_its_chunk_is_done_by_another(
    pool: ProcessPool, engines: ChunkEngines, recording: Recording, speech: tuple[Span, ...]
) -> None:
    split = orders(recording, speech, engines, 12.0)
    stopped: list[int] = []

    def stop_one(_: float) -> None:
        if not stopped and pool._processes and pool._processes[0].task:
            stopped.append(pool._processes[0].process.pid)
            os.kill(stopped[0], signal.SIGSTOP)
        for worker in pool._processes:
            if worker.process.pid in stopped:
                worker.heard_at -= 2 * SILENT_SECONDS  # an hour goes by

    results = run_orders(pool, NoShelf(), recording, split, stop_one)

    assert stopped
    assert all(result.passages for result in results)
    assert not Path(f"/proc/{stopped[0]}").exists()


def test_a_chunk_whose_process_dies_twice_fails_the_run(
    engines: ChunkEngines, recording: Recording, speech: tuple[Span, ...]
) -> None:
    pool = ProcessPool(SETTINGS, 1)

    def kill_all(_: float) -> None:
        for worker in pool._processes:
            os.kill(worker.process.pid, signal.SIGKILL)

    with pytest.raises(ChunkFailed):
        pool.run(recording, orders(recording, speech, engines, 1_000.0), lambda *_: None, kill_all)
    assert pool._processes == []


def test_what_the_engine_refuses_reaches_the_customer(pool: ProcessPool, recording: Recording) -> None:
    with pytest.raises(JobFailure) as caught:
        pool.choose_language(recording, (), TranscriptionOptions(language="fr"), lambda _: None)

    assert caught.value.code == "language_unsupported"


def test_an_engine_that_fails_is_tried_in_another_process_before_the_customer_hears_of_it(
    recording: Recording, speech: tuple[Span, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = ProcessPool(EngineSettings(transcriber="faster-whisper", whisper_model=str(tmp_path)), 1)
    pids: list[int] = []

    def start(settings: EngineSettings) -> Any:
        worker = real_start(settings)
        pids.append(worker.process.pid)
        return worker

    monkeypatch.setattr("gpu_jobs.pool._start", start)

    with pytest.raises(JobFailure) as caught:
        pool.choose_language(recording, speech, TranscriptionOptions(), lambda _: None)
    assert "CTranslate2" in caught.value.message
    assert len(pids) == 2


def test_a_run_that_is_stopped_leaves_no_process_behind(
    engines: ChunkEngines, recording: Recording, speech: tuple[Span, ...]
) -> None:
    pool = ProcessPool(SETTINGS, 2)
    seen: list[int] = []

    def stop(_: float) -> None:
        seen.extend(worker.process.pid for worker in pool._processes)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.run(recording, orders(recording, speech, engines, 12.0), lambda *_: None, stop)
    with pytest.raises(KeyboardInterrupt):
        pool.choose_language(recording, speech, TranscriptionOptions(), stop)
    assert len(seen) == 3
    assert not any(Path(f"/proc/{pid}").exists() for pid in seen)
