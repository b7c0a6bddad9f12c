"""What the Whisper engine does with words that it doubts itself, and on a device that is short of memory.

The model is of random weights: whatever it says is improbable and repeats itself, until the thresholds say otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpu_jobs.audio import Recording, decode_recording
from gpu_jobs.chunks import Span, Window
from gpu_jobs.speech import find_speech
from gpu_jobs.transcribe import Passage, whisper, whisper_decoding
from gpu_jobs.transcribe.whisper import WhisperSettings, WhisperTranscriber
from gpu_jobs.transcribe.whisper_decoding import TEMPERATURES, Asked, transcribe_windows
from shared.domain.errors import JobFailure
from shared.domain.options import TranscriptionOptions
from tests.data.recordings import BECKETT, TWO_CITIES

ENGLISH = TranscriptionOptions(language="en")
OUT_OF_MEMORY = "CUDA failed with error out of memory"
WINDOWS = tuple(Window(parts=(Span(start_seconds=at, end_seconds=at + 10.0),)) for at in (0.0, 10.0))
SILENCE = Recording(samples=np.zeros(20 * 16_000, np.float32))


@pytest.fixture(scope="module")
def two_cities() -> Recording:
    return decode_recording(TWO_CITIES)


@pytest.fixture(scope="module")
def beckett() -> Recording:
    return decode_recording(BECKETT)


def engine(micro_model: Path, **settings: Any) -> WhisperTranscriber:
    return WhisperTranscriber(
        WhisperSettings(model=str(micro_model), device="cpu", compute_type="int8", cpu_threads=2, **settings)
    )


def transcribe(transcriber: WhisperTranscriber, recording: Recording) -> tuple[Passage, ...]:
    return transcriber.transcribe(recording, find_speech(recording), ENGLISH, lambda _: None).passages


class Device:
    """Has room for so many windows at a time; remembers what it was asked for."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.asked: list[int] = []

    def __call__(
        self, model: Any, recording: Recording, windows: Sequence[Window], asked: Asked, batch_size: int
    ) -> list[Passage]:
        self.asked.append(batch_size)
        if batch_size > self.room:
            raise RuntimeError(OUT_OF_MEMORY)
        return transcribe_windows(model, recording, windows, asked, batch_size)


def test_a_device_short_of_memory_gets_half_as_many_windows_and_says_the_same(
    micro_model: Path, two_cities: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = transcribe(engine(micro_model, falls_back=False), two_cities)
    device = Device(room=2)
    monkeypatch.setattr(whisper, "transcribe_windows", device)
    small = engine(micro_model, falls_back=False)

    found = transcribe(small, two_cities)

    assert device.asked == [8, 4, 2]
    assert [passage.text for passage in found] == [passage.text for passage in plain]
    transcribe(small, two_cities)
    assert device.asked == [8, 4, 2, 2]  # it is remembered


def test_a_device_without_room_for_one_window_fails_the_chunk(
    micro_model: Path, beckett: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(room=0)
    monkeypatch.setattr(whisper, "transcribe_windows", device)

    with pytest.raises(JobFailure) as caught:
        transcribe(engine(micro_model), beckett)

    assert device.asked == [8, 4, 2, 1]
    assert caught.value.code == "engine_failed"
    assert "memory" not in caught.value.message  # nothing that a customer could do anything about


def test_what_else_a_device_fails_with_is_not_tried_in_smaller_batches(
    micro_model: Path, beckett: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def broken(*_: object) -> list[Passage]:
        calls.append(1)
        raise RuntimeError("cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED")

    monkeypatch.setattr(whisper, "transcribe_windows", broken)
    with pytest.raises(JobFailure):
        transcribe(engine(micro_model), beckett)
    assert len(calls) == 1


class Library:
    """Stands in for the model and for its batched decoder: what each says about every window."""

    def __init__(self, batched: list[Any], again: list[list[Any]]) -> None:
        self.batched, self.again = batched, again
        self.temperatures: list[list[float]] = []
        self.seconds: list[float] = []

    def transcribe(self, samples: Any, *, temperature: list[float], **_: object) -> tuple[list[Any], None]:
        self.temperatures.append(temperature)
        self.seconds.append(len(samples) / 16_000)
        return self.again.pop(0), None


def segment(text: str, start: float, *, logprob: float = -0.2, ratio: float = 1.2, silence: float = 0.01) -> Any:
    """As the library gives them, two seconds long."""
    words = [SimpleNamespace(word=f" {word}", start=start, end=start + 2.0, probability=0.9) for word in text.split()]
    return SimpleNamespace(
        start=start,
        end=start + 2.0,
        words=words,
        avg_logprob=logprob,
        compression_ratio=ratio,
        no_speech_prob=silence,
    )


def decoded(library: Library, monkeypatch: pytest.MonkeyPatch, **asked: Any) -> list[Passage]:
    class Batched:
        def __init__(self, _model: Any) -> None: ...

        def transcribe(self, *_: object, **__: object) -> tuple[list[Any], None]:
            return library.batched, None

    monkeypatch.setattr("faster_whisper.BatchedInferencePipeline", Batched)
    return transcribe_windows(library, SILENCE, WINDOWS, Asked(language="en", **asked), 8)


def test_only_the_doubtful_window_is_decoded_again_at_rising_temperatures(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(
        [segment("good words", 1.0), segment("la la la", 11.0, ratio=3.1)], again=[[segment("better words", 2.0)]]
    )

    passages = decoded(library, monkeypatch)

    assert [(passage.text, passage.start_seconds) for passage in passages] == [
        ("good words", 1.0),
        ("better words", 12.0),  # the second decoder counts from the window's start
    ]
    assert library.temperatures == [list(TEMPERATURES)]
    assert library.seconds == [10.0]


@pytest.mark.parametrize(
    "again",
    [
        pytest.param([], id="nothing at all"),
        pytest.param([segment("still worse", 1.0, logprob=-1.9)], id="less probable"),
        pytest.param([segment("no no no no", 1.0, logprob=-0.1, ratio=4.0)], id="probable but over and over"),
    ],
)
def test_a_second_decoding_that_is_no_better_changes_nothing(again: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library([segment("mumbled words", 1.0, logprob=-1.2)], again=[again])
    assert [passage.text for passage in decoded(library, monkeypatch)] == ["mumbled words"]


def test_what_the_model_itself_hears_no_speech_in_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = segment("Thanks for watching!", 1.0, logprob=-1.4, silence=0.9)
    sure = segment("Thank you.", 11.0, logprob=-0.3, silence=0.9)
    library = Library([made_up, sure], again=[[]])
    assert [passage.text for passage in decoded(library, monkeypatch)] == ["Thank you."]


def test_words_and_confidences_come_out_of_the_real_fallback(
    micro_model: Path, beckett: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = transcribe(engine(micro_model, falls_back=False), beckett)
    monkeypatch.setattr(whisper_decoding, "REPETITIVE", 0.0)  # every text repeats itself, so the likelier one counts

    found = transcribe(engine(micro_model), beckett)

    assert sum(p.confidence or 0 for p in found) / len(found) >= sum(p.confidence or 0 for p in first) / len(first)
    assert all(passage.words and 0 <= (passage.confidence or 0) <= 1 for passage in found)


def test_the_second_try_keeps_to_its_gap_and_leaves_out_what_stays_doubtful(
    micro_model: Path, two_cities: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcriber, done = engine(micro_model), list[float]()
    gaps = (Span(start_seconds=3.0, end_seconds=7.0), Span(start_seconds=20.0, end_seconds=23.0))

    assert transcriber.transcribe_again(two_cities, gaps, ENGLISH, done.append).passages == ()
    assert len(done) == 2

    monkeypatch.setattr(whisper_decoding, "IMPROBABLE", -math.inf)
    monkeypatch.setattr(whisper_decoding, "REPETITIVE", math.inf)
    found = transcriber.transcribe_again(two_cities, gaps, ENGLISH, done.append).passages
    assert found
    for passage in found:
        assert any(
            gap.start_seconds - 1.0 <= passage.start_seconds <= passage.end_seconds <= gap.end_seconds + 1.0
            for gap in gaps
        ), passage


@pytest.mark.parametrize("reason", [RuntimeError("CUDA error"), ValueError("Invalid audio")])
def test_a_second_try_that_breaks_says_so_as_the_first_does(
    micro_model: Path, beckett: Recording, reason: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise reason

    monkeypatch.setattr("faster_whisper.WhisperModel.transcribe", broken)
    with pytest.raises(JobFailure) as caught:
        engine(micro_model).transcribe_again(beckett, find_speech(beckett), ENGLISH, lambda _: None)
    assert caught.value.code == "engine_failed"
