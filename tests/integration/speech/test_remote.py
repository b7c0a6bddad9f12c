"""Machines elsewhere, played by threads of this process on a real (moto) bucket: the same words, and nothing twice."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import numpy as np
import pytest
from moto import mock_aws

from gpu_jobs import remote
from gpu_jobs.audio import Recording, decode_recording
from gpu_jobs.chunk_work import ChunkEngines
from gpu_jobs.chunks import Span
from gpu_jobs.diarize import SpeakerCount
from gpu_jobs.engines import build_engines
from gpu_jobs.fanout import ChunkFailed
from gpu_jobs.pipeline import SpeechPipeline, transcribe_recording
from gpu_jobs.remote import AUDIO
from gpu_jobs.shelf import BucketShelf
from gpu_jobs.weights import WEIGHTS, fetch_missing
from shared.adapters.s3 import Bucket
from shared.adapters.s3_uploads import UploadBucket
from shared.domain.errors import JobFailure
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Transcript
from tests.data.recordings import BECKETT
from tests.drivers import driver
from tests.integration.speech.machines import SETTINGS, Elsewhere

PREFIX = "work/acc/job/"


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    with mock_aws():
        client = boto3.client(
            "s3", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )
        client.create_bucket(Bucket="speech-work")
        yield Elsewhere(Bucket(client, "speech-work"), UploadBucket(client, "speech-work"))


def transcribe(elsewhere: Elsewhere, **options: Any) -> Transcript:
    pipeline = SpeechPipeline(elsewhere.crew)
    asked = TranscriptionOptions(**({"diarization": True, "word_timestamps": True} | options))
    return pipeline.transcribe(BECKETT, asked, lambda *_: None, BucketShelf(elsewhere.bucket, PREFIX))


def test_many_machines_give_the_words_of_one_process_and_the_plan_and_prices_of_their_own(elsewhere: Elsewhere) -> None:
    found = transcribe(elsewhere)

    alone = transcribe_recording(
        decode_recording(BECKETT), TranscriptionOptions(), build_engines(SETTINGS), lambda *_: None
    )
    assert found.text == alone.text
    assert [speaker.id for speaker in found.speakers] == ["SPEAKER_00"]
    assert found.plan is not None
    assert found.plan.gpu == "L4"
    assert found.plan.expected_cost_usd > 0
    assert found.plan.wall_seconds is not None
    assert found.plan.wall_seconds >= max(found.compute_seconds[part] for part in ("decoding", "finding_speech"))
    assert found.coverage is not None
    assert found.coverage.covered_seconds + found.coverage.lost_seconds == pytest.approx(found.coverage.speech_seconds)


def test_what_waits_for_a_machine_elsewhere_is_timed_by_that_machine_and_from_when_it_begins(
    elsewhere: Elsewhere, tmp_path: Path
) -> None:
    waited = Elsewhere(elsewhere.bucket, elsewhere.reader, queue_seconds=1.0)
    with driver(tmp_path, "echo NVIDIA L40S"):
        found = transcribe(waited, summary=True)

    assert found.summary is not None
    seconds = found.compute_seconds
    parts = {"transcribing", "aligning", "choosing_language", "diarizing", "summarizing"}
    assert {f"{part}@L40S" for part in parts} <= set(seconds)
    assert not {"choosing_language", "summarizing"} & set(seconds)
    for part in ("choosing_language@L40S", "diarizing@L40S", "summarizing@L40S", "diarizing"):
        assert seconds[part] < 0.5, "no second of the queue"


def test_a_run_again_has_the_seconds_of_the_work_that_it_found_done(elsewhere: Elsewhere, tmp_path: Path) -> None:
    with driver(tmp_path, "echo NVIDIA L40S"):
        first = transcribe(elsewhere)
    again = transcribe(elsewhere)

    for part in ("transcribing@L40S", "choosing_language@L40S", "diarizing@L40S"):
        assert again.compute_seconds[part] == first.compute_seconds[part]


def test_a_run_again_does_nothing_again(elsewhere: Elsewhere) -> None:
    first = transcribe(elsewhere)
    done = list(elsewhere.orders)
    objects = {found.key for found in elsewhere.bucket.find(PREFIX)}

    assert transcribe(elsewhere).segments == first.segments
    assert elsewhere.orders == done
    assert {found.key for found in elsewhere.bucket.find(PREFIX)} == objects
    assert f"{PREFIX}{AUDIO}" in objects


@pytest.mark.parametrize("part", ["choose_language", "diarize"])
def test_what_was_found_for_a_run_that_died_meanwhile_is_not_worked_for_again(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    find = getattr(elsewhere, part)

    def find_for_the_dead(prefix: str, values: dict[str, Any]) -> None:
        find(prefix, values)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(elsewhere, part, find_for_the_dead)
        with pytest.raises(KeyboardInterrupt):
            transcribe(elsewhere)
    elsewhere.orders.clear()

    assert transcribe(elsewhere).speakers
    assert {"choose_language": "language", "diarize": "speakers"}[part] not in elsewhere.orders


def test_an_order_for_speakers_that_comes_twice_is_answered_from_the_shelf(elsewhere: Elsewhere) -> None:
    transcribe(elsewhere)

    def broken(*_: object) -> None:
        raise AssertionError("the speakers are known")

    voices: Any = SimpleNamespace(diarize=broken)
    again = remote.diarize(voices, elsewhere.bucket, PREFIX, asdict(SpeakerCount()))
    assert [turn["speaker_id"] for turn in again["turns"]] == ["SPEAKER_00"]


def test_a_stage_run_again_calls_no_machine_for_the_words(elsewhere: Elsewhere) -> None:
    pipeline = SpeechPipeline(elsewhere.crew)
    base = transcribe(elsewhere, diarization=False)
    elsewhere.orders.clear()
    shelf = BucketShelf(elsewhere.bucket, "work/acc/again/")
    options = TranscriptionOptions(diarization=True, num_speakers=1)

    found = pipeline.diarize_again(BECKETT, base, options, lambda *_: None, shelf)
    summed_up = pipeline.summarize_again(found, lambda *_: None, shelf)

    assert elsewhere.orders == ["speakers", "summary"]
    assert found.text == base.text
    assert [speaker.id for speaker in found.speakers] == ["SPEAKER_00"]
    assert found.plan is None
    assert summed_up.summary is not None
    assert summed_up.summary.text == "Waiting."
    assert summed_up.engines.summarizer == "llm:fake"
    assert set(found.compute_seconds) == {"decoding", "finding_speech", "diarizing", "diarizing@cpu"}
    assert set(summed_up.compute_seconds) == {"summarizing@cpu"}


def test_an_order_that_comes_twice_is_answered_from_the_shelf(elsewhere: Elsewhere) -> None:
    transcribe(elsewhere)
    shelf = BucketShelf(elsewhere.bucket, PREFIX)
    key = next(found.key for found in elsewhere.bucket.find(f"{PREFIX}chunk-"))
    before = elsewhere.bucket.get(key)

    shelf.put(key.removeprefix(PREFIX).removesuffix(".json.gz"), {"other": "values"})

    assert elsewhere.bucket.get(key) == before


def test_a_driver_that_fails_costs_no_work(elsewhere: Elsewhere, tmp_path: Path) -> None:
    with driver(tmp_path, "exit 9"):
        found = transcribe(elsewhere, diarization=False)
    assert found.segments
    assert "transcribing@unknown" in found.compute_seconds


def test_a_damaged_result_is_worked_for_again(elsewhere: Elsewhere) -> None:
    shelf = BucketShelf(elsewhere.bucket, PREFIX)
    elsewhere.bucket.put(shelf.key("x"), b"half a gz", "application/gzip")

    assert shelf.get("x") is None


def test_a_chunk_that_fails_on_every_machine_fails_the_run_and_leaves_the_others_results(elsewhere: Elsewhere) -> None:
    elsewhere.broken = RuntimeError("CUDA failed with error out of memory")

    with pytest.raises(ChunkFailed):
        transcribe(elsewhere, diarization=False)
    assert elsewhere.orders == ["language", "0"]  # nobody begins a chunk of a recording that is lost


@pytest.mark.parametrize("reason", [RuntimeError("CUDA error"), KeyboardInterrupt()])
def test_a_run_that_ends_badly_does_not_wait_for_the_speakers(elsewhere: Elsewhere, reason: BaseException) -> None:
    """A machine that is taken away has half a minute left, to say so."""
    let_go, heard = threading.Event(), threading.Event()

    def slowly(*_: object) -> dict[str, Any]:
        let_go.wait(60)
        heard.set()
        return {"turns": [], "compute_seconds": {}}

    elsewhere.diarize = slowly  # type: ignore[method-assign,assignment]
    elsewhere.broken = reason
    with pytest.raises(KeyboardInterrupt if isinstance(reason, KeyboardInterrupt) else ChunkFailed):
        transcribe(elsewhere)
    assert not heard.is_set()
    let_go.set()
    assert heard.wait(60)  # the thread ends by itself


class Stop(Exception):
    """The job was cancelled."""


class Queue:
    """A call that waits for a machine until it is let go, and the hook of a run that is stopped meanwhile."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._asked, self._let_go = threading.Event(), threading.Event()
        self._signs = 0

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go.set()

    def call(self, *_: object) -> None:
        self._asked.set()
        self._let_go.wait(15)
        raise AssertionError("the run should have been stopped by now")

    def on_progress(self, stage: str, completed_seconds: float, total_seconds: float) -> None:
        self._signs += stage == self._stage and self._asked.is_set()
        if self._signs == 2:
            raise Stop


@pytest.mark.parametrize(
    ("part", "stage"), [("choose_language", "transcribing"), ("diarize", "diarizing"), ("summarise", "summarizing")]
)
def test_a_run_that_waits_for_a_machine_gives_signs_of_life_and_notices_that_it_must_stop(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, part: str, stage: str
) -> None:
    options = TranscriptionOptions(diarization=part == "diarize", summary=part == "summarise")
    shelf = BucketShelf(elsewhere.bucket, PREFIX)
    with Queue(stage) as queue:
        monkeypatch.setattr(elsewhere, part, queue.call)
        with pytest.raises(Stop):
            SpeechPipeline(elsewhere.crew).transcribe(BECKETT, options, queue.on_progress, shelf)


def test_a_stage_run_again_notices_too_that_it_must_stop(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    base = transcribe(elsewhere, diarization=False)
    pipeline, shelf = SpeechPipeline(elsewhere.crew), BucketShelf(elsewhere.bucket, "work/acc/again/")
    options = TranscriptionOptions(diarization=True)
    with Queue("diarizing") as queue:
        monkeypatch.setattr(elsewhere, "diarize", queue.call)
        with pytest.raises(Stop):
            pipeline.diarize_again(BECKETT, base, options, queue.on_progress, shelf)
    with Queue("summarizing") as queue:
        monkeypatch.setattr(elsewhere, "summarise", queue.call)
        with pytest.raises(Stop):
            pipeline.summarize_again(base, queue.on_progress, shelf)


def test_an_engines_failure_is_raised_for_the_platform_to_try_elsewhere_and_keeps_its_message(
    elsewhere: Elsewhere,
) -> None:
    class Broken:
        """An engine whose device has had enough."""

        def transcribe(self, *_: object) -> None:
            raise JobFailure("engine_failed", "The speech engine failed on this recording.")

    words = elsewhere.engines
    elsewhere.engines = ChunkEngines(transcriber=Broken(), aligner=words.aligner)  # type: ignore[arg-type]
    english: dict[str, Any] = {"language": "en", "confidence": None, "compute_seconds": {}}
    elsewhere.choose_language = lambda *_: english  # type: ignore[method-assign]

    with pytest.raises(JobFailure) as caught:
        transcribe(elsewhere, diarization=False)
    assert caught.value.message == "The speech engine failed on this recording."
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message  # as it crosses between machines


def test_a_language_that_the_engine_lacks_reaches_the_customer(elsewhere: Elsewhere) -> None:
    with pytest.raises(JobFailure) as caught:
        transcribe(elsewhere, language="fr")

    assert caught.value.code == "language_unsupported"


def test_speakers_that_are_known_in_number_are_told_to_the_engine(elsewhere: Elsewhere) -> None:
    transcribe(elsewhere, num_speakers=2)
    transcribe(elsewhere, num_speakers=3)

    assert elsewhere.orders.count("speakers") == 2
    assert asdict(SpeakerCount(num_speakers=2))["num_speakers"] == 2


def test_sixteen_bits_are_enough(elsewhere: Elsewhere) -> None:
    recording = Recording(samples=np.linspace(-1, 1, 16_000, dtype=np.float32))
    shelf = BucketShelf(elsewhere.bucket, PREFIX)
    remote.publish(recording, elsewhere.bucket, shelf)

    part = remote.fetch_part(elsewhere.reader, PREFIX, 0.25, 0.75)

    assert np.max(np.abs(part.samples - recording.samples[4_000:12_000])) < 1e-4


def test_weights_are_fetched_once_and_again_where_a_fetch_broke_off(tmp_path: Path) -> None:
    fetched: list[str] = []

    def download(weights: Any, home: Path) -> None:
        fetched.append(weights.name)
        home.mkdir(exist_ok=True)
        if len(fetched) == 2:
            raise OSError("broken off")

    with pytest.raises(OSError, match="broken off"):
        fetch_missing(tmp_path, download)
    assert len(fetch_missing(tmp_path, download)) == len(WEIGHTS) - 1
    assert fetch_missing(tmp_path, download) == []


def test_the_language_is_decided_from_a_few_windows_of_a_long_recording(elsewhere: Elsewhere) -> None:
    hour = Recording(samples=np.tile(np.linspace(-0.5, 0.5, 16_000, dtype=np.float32), 3600))
    shelf = BucketShelf(elsewhere.bucket, PREFIX)
    crew = elsewhere.crew(shelf)
    reads: list[int] = []
    read = elsewhere.reader.read

    def counted(key: str, offset: int, length: int) -> bytes:
        reads.append(length)
        return read(key, offset, length)

    elsewhere.reader.read = counted  # type: ignore[method-assign]
    speech = [Span(start_seconds=100.0 * n, end_seconds=100.0 * n + 80.0) for n in range(36)]
    assert crew.chunks.choose_language(hour, speech, TranscriptionOptions(), lambda _: None).language == "en"
    assert reads == [30 * 16_000 * 2] * 7, "seven windows of thirty seconds, of an hour"
