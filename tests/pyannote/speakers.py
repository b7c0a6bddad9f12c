"""pyannote's pipeline behind our port, on its true code path, with random weights that the test makes.

    make test-pyannote

Who is found is chance; that turns, numbers of speakers, progress, memory and refusals are handled is not.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording, open_decoded
from gpu_jobs.diarize import SpeakerCount
from gpu_jobs.diarize.pyannote import PyannoteDiarizer, PyannoteSettings, load_pipeline
from shared.domain.errors import JobFailure
from shared.domain.transcripts import Turn
from tests.pyannote import random_pipeline

SECONDS = 14.0


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_pipeline.build(tmp_path_factory.mktemp("speaker-diarization-community-1"))


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Two "voices" in turn, decoded into a file as the pipeline does it: its samples are read-only."""
    time = np.arange(round(SECONDS * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    pitch = np.where(time % 4 < 2, 110.0, 230.0)
    noise = np.random.default_rng(5).normal(0, 0.02, len(time))
    samples = sum(np.sin(2 * np.pi * harmonic * pitch * time) / harmonic for harmonic in range(1, 12)) * 0.1 + noise
    file = tmp_path_factory.mktemp("decoded") / "samples"
    file.write_bytes(samples.astype(np.float32).tobytes())
    return open_decoded(file)


@pytest.fixture(scope="session")
def diarizer(folder: Path) -> PyannoteDiarizer:
    return PyannoteDiarizer(PyannoteSettings(model=str(folder)))


@pytest.fixture(scope="session")
def progress() -> list[float]:
    return []


@pytest.fixture(scope="session")
def turns(diarizer: PyannoteDiarizer, recording: Recording, progress: list[float]) -> tuple[Turn, ...]:
    return diarizer.diarize(recording, progress.append)


def voices(turns: tuple[Turn, ...]) -> set[str]:
    return {turn.speaker_id for turn in turns}


def test_turns_are_in_order_inside_the_recording_and_speakers_numbered_as_they_appear(turns: tuple[Turn, ...]) -> None:
    assert turns
    assert [turn.start_seconds for turn in turns] == sorted(turn.start_seconds for turn in turns)
    assert all(0 <= turn.start_seconds < turn.end_seconds <= SECONDS for turn in turns)
    appeared = list(dict.fromkeys(turn.speaker_id for turn in turns))
    assert appeared == [f"SPEAKER_{index:02d}" for index in range(len(appeared))]


def test_progress_is_in_seconds_of_the_recording_and_reaches_its_end(
    turns: tuple[Turn, ...], progress: list[float]
) -> None:
    assert turns
    assert progress == sorted(progress)
    assert len(set(progress)) >= 3
    assert progress[-1] == pytest.approx(SECONDS)


def test_the_engine_keeps_to_the_number_of_speakers_it_is_told(
    diarizer: PyannoteDiarizer, recording: Recording
) -> None:
    assert len(voices(diarizer.diarize(recording, lambda _: None, SpeakerCount(max_speakers=1)))) == 1
    assert len(voices(diarizer.diarize(recording, lambda _: None, SpeakerCount(num_speakers=2)))) == 2


def test_what_the_hook_raises_ends_the_work(diarizer: PyannoteDiarizer, recording: Recording) -> None:
    class Stop(Exception):
        """The job was lost."""

    def stop(_: float) -> None:
        raise Stop

    with pytest.raises(Stop):
        diarizer.diarize(recording, stop)


def test_a_device_out_of_memory_gets_smaller_batches_until_none_is_smaller(
    folder: Path, recording: Recording, turns: tuple[Turn, ...]
) -> None:
    import torch

    asked: list[int] = []

    class Small:
        """The real pipeline on a device that has room for so many windows at once."""

        def __init__(self, pipeline: Any, room: int) -> None:
            self.__dict__.update(pipeline=pipeline, room=room)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.pipeline, name)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(self.pipeline, name, value)

        def __call__(self, *arguments: Any, **options: Any) -> Any:
            asked.append(self.pipeline.segmentation_batch_size)
            if self.pipeline.segmentation_batch_size > self.room:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
            return self.pipeline(*arguments, **options)

    settings = PyannoteSettings(model=str(folder))

    assert PyannoteDiarizer(settings, lambda s: Small(load_pipeline(s), 1)).diarize(recording, lambda _: None) == turns
    assert asked == [4, 2, 1]
    with pytest.raises(JobFailure) as caught:
        PyannoteDiarizer(settings, lambda s: Small(load_pipeline(s), 0)).diarize(recording, lambda _: None)
    assert caught.value.code == "engine_failed"


def test_a_folder_without_a_pipeline_says_which_setting_is_wrong(tmp_path: Path, recording: Recording) -> None:
    with pytest.raises(JobFailure) as caught:
        PyannoteDiarizer(PyannoteSettings(model=str(tmp_path))).diarize(recording, lambda _: None)

    assert "PYANNOTE_MODEL" in caught.value.message


def test_nothing_about_a_customers_recording_is_sent_to_the_librarys_makers(turns: tuple[Turn, ...]) -> None:
    from pyannote.audio.telemetry.metrics import is_metrics_enabled

    assert turns
    assert os.environ["PYANNOTE_METRICS_ENABLED"] == "0"
    assert not is_metrics_enabled()
