"""The faster-whisper engine on its true path, with a model of random weights: nonsense in the right form."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from faster_whisper import BatchedInferencePipeline

from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording, decode_recording
from gpu_jobs.engines import EngineSettings, build_engines
from gpu_jobs.pipeline import SpeechPipeline
from gpu_jobs.speech import find_speech
from gpu_jobs.transcribe import Transcription
from gpu_jobs.transcribe.whisper import MAX_HOTWORD_TOKENS, WhisperSettings, WhisperTranscriber
from gpu_jobs.transcribe.whisper_decoding import by_window
from shared.domain.errors import JobFailure
from shared.domain.options import TranscriptionOptions
from tests import sounds
from tests.data.recordings import BECKETT, TWO_CITIES


@pytest.fixture(scope="module")
def whisper(micro_model: Path) -> WhisperTranscriber:
    # Random weights are always improbable: test_whisper_doubts has what comes of that.
    settings = WhisperSettings(
        model=str(micro_model), device="cpu", compute_type="int8", cpu_threads=2, falls_back=False
    )
    return WhisperTranscriber(settings)


@pytest.fixture(scope="module")
def beckett() -> Recording:
    return decode_recording(BECKETT)


def run(whisper: WhisperTranscriber, recording: Recording, **options: object) -> Transcription:
    asked = TranscriptionOptions(**options)  # type: ignore[arg-type]  # the test names the fields
    return whisper.transcribe(recording, find_speech(recording), asked, lambda _: None)


def test_words_have_monotone_times_inside_the_recording_and_confidences(whisper: WhisperTranscriber) -> None:
    recording = decode_recording(TWO_CITIES)
    done: list[float] = []

    found = whisper.transcribe(recording, find_speech(recording), TranscriptionOptions(language="en"), done.append)

    assert found.engine == "faster-whisper:micro"
    words = [word for passage in found.passages for word in passage.words]
    assert len(words) > 20
    assert len(found.passages) >= 2
    for passage in found.passages:  # the last word may reach into the next one: the merge draws it back
        for before, after in pairwise(passage.words):
            assert before.start_seconds <= before.end_seconds <= after.end_seconds
            assert before.start_seconds <= after.start_seconds
    assert words[-1].end_seconds <= recording.duration_seconds + 0.5
    assert all(0 <= (word.confidence or 0) <= 1 and word.aligned for word in words)
    assert all(type(word.start_seconds) is float for word in words)
    assert all(passage.confidence is not None for passage in found.passages)
    assert done == sorted(done)
    assert done[-1] == pytest.approx(42.0, abs=1.0)


def test_a_language_asked_for_is_used_and_otherwise_one_is_detected(
    whisper: WhisperTranscriber, beckett: Recording
) -> None:
    assert run(whisper, beckett, language="de").language == "de"
    detected = run(whisper, beckett).language
    assert len(detected) in {2, 3}
    assert run(whisper, beckett).language == detected


def test_a_segment_stays_in_its_window_though_its_start_is_rounded_into_the_one_before() -> None:
    first, second = SimpleNamespace(start=0.1, end=28.7), SimpleNamespace(start=28.88, end=49.0)

    assert by_window([first, second], [0.0, 28.8867, 50.0]) == [[first], [second]]


def test_a_wrong_language_is_used_as_asked_and_doubted_where_the_words_are_improbable(
    micro_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = EngineSettings(transcriber="faster-whisper", whisper_model=str(micro_model), device="cpu")
    pipeline = SpeechPipeline(build_engines(settings))
    listened: list[int] = []

    def hear_english(_self: object, audio: object) -> tuple[str, float, list[tuple[str, float]]]:
        listened.append(1)
        return "en", 0.98, [("en", 0.98), ("de", 0.001)]  # random weights hear any language

    monkeypatch.setattr("faster_whisper.WhisperModel.detect_language", hear_english)
    transcript = pipeline.transcribe(BECKETT, TranscriptionOptions(language="de"), lambda *_: None)

    assert transcript.language == "de"
    assert any("sound like 'en', not 'de'" in warning for warning in transcript.warnings)
    assert len(listened) == 1  # ten seconds have one window


def test_a_long_pause_costs_no_window_and_no_word_lands_in_it(
    whisper: WhisperTranscriber, beckett: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = beckett.slice(0.0, beckett.duration_seconds)[: 5 * SAMPLE_RATE_HZ]
    pause = np.zeros(60 * SAMPLE_RATE_HZ, np.float32)
    recording = Recording(samples=np.concatenate([half, pause, half]))
    heard: list[int] = []
    real = BatchedInferencePipeline.transcribe

    def listening(self: object, sound: Any, **options: Any) -> Any:
        heard.extend([len(options["clip_timestamps"]), len(sound)])
        return real(self, sound, **options)

    monkeypatch.setattr(BatchedInferencePipeline, "transcribe", listening)
    words = [word for passage in run(whisper, recording, language="en").passages for word in passage.words]

    assert heard[0] == 1
    assert heard[1] < 12 * SAMPLE_RATE_HZ
    before = [word for word in words if word.end_seconds <= 6.0]
    after = [word for word in words if word.start_seconds >= 64.0]
    assert before
    assert after
    assert len(before) + len(after) == len(words)


def test_chinese_words_are_kept_apart_but_written_together(whisper: WhisperTranscriber, beckett: Recording) -> None:
    passage = run(whisper, beckett, language="zh").passages[0]

    assert len(passage.words) > 1
    assert "".join(passage.text.split()) == "".join(word.text for word in passage.words).replace(" ", "")


def test_the_vocabulary_goes_into_the_prompt_and_changes_what_is_heard(
    whisper: WhisperTranscriber, beckett: Recording
) -> None:
    plain = run(whisper, beckett, language="en")
    primed = run(whisper, beckett, language="en", vocabulary=("Vladimir", "Estragon"))

    assert [p.text for p in plain.passages] != [p.text for p in primed.passages]
    assert primed.warnings == ()


def test_a_vocabulary_of_thousands_is_cut_to_the_prompt_with_a_warning(
    whisper: WhisperTranscriber, beckett: Recording
) -> None:
    found = run(whisper, beckett, language="en", vocabulary=tuple(f"term{index}" for index in range(5_000)))

    assert found.passages
    (warning,) = found.warnings
    left_out = int("".join(character for character in warning if character.isdigit()))
    assert 5_000 - MAX_HOTWORD_TOKENS <= left_out < 5_000


def test_silence_never_reaches_the_model(micro_model: Path, tmp_path: Path) -> None:
    recording = decode_recording(sounds.write_audio(tmp_path / "a.wav", sounds.silence(3.0)))
    unloaded = WhisperTranscriber(WhisperSettings(model=str(micro_model / "missing")))

    assert run(unloaded, recording).passages == ()


def test_an_unknown_language_is_refused(whisper: WhisperTranscriber, beckett: Recording) -> None:
    with pytest.raises(JobFailure) as caught:
        run(whisper, beckett, language="tlh")

    assert caught.value.code == "language_unsupported"


@pytest.mark.parametrize("name", ["no-such-size", "nobody/no-such-repository"])
def test_a_model_that_cannot_be_had_names_the_settings_to_change(
    beckett: Recording, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(JobFailure) as caught:
        run(WhisperTranscriber(WhisperSettings(model=name)), beckett)

    assert caught.value.code == "engine_failed"
    assert "MODEL" in caught.value.message
    assert "ENGINE=moonshine" in caught.value.message


def test_a_directory_without_a_model_says_what_must_be_in_it(beckett: Recording, tmp_path: Path) -> None:
    with pytest.raises(JobFailure) as caught:
        run(WhisperTranscriber(WhisperSettings(model=str(tmp_path))), beckett)

    assert caught.value.code == "engine_failed"
    assert "CTranslate2" in caught.value.message


def test_the_pipeline_takes_whispers_own_word_times(micro_model: Path) -> None:
    settings = EngineSettings(transcriber="faster-whisper", whisper_model=str(micro_model), device="cpu")
    pipeline = SpeechPipeline(build_engines(settings))

    transcript = pipeline.transcribe(BECKETT, TranscriptionOptions(word_timestamps=True), lambda *_: None)

    assert transcript.engines.transcriber == "faster-whisper:micro"
    assert transcript.engines.aligner is None
    assert transcript.segments
    for before, after in pairwise(word for segment in transcript.segments for word in segment.words):
        assert before.end_seconds <= after.start_seconds
