"""Stereo with one speaker on each channel, from the file to the speakers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gpu_jobs.audio import Recording, decode_recording
from gpu_jobs.channels import turns_by_channel
from gpu_jobs.engines import EngineSet, EngineSettings, build_engines
from gpu_jobs.pipeline import SpeechPipeline
from gpu_jobs.speech import find_speech
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Transcript, Turn
from tests import sounds
from tests.data.recordings import BECKETT, TWO_CITIES

Sound = npt.NDArray[np.float32]
SPAN = 3.0  # somebody else speaks every three seconds


@pytest.fixture(scope="module")
def voice() -> Sound:
    """Nine seconds of talk."""
    return np.asarray(decode_recording(BECKETT).samples)[: (9 * 16_000)]


@pytest.fixture(scope="module")
def in_turn(voice: Sound) -> Sound:
    """The same talk, three seconds on one channel, three on the other, three on the first."""
    first = (np.arange(len(voice)) / 16_000 // SPAN).astype(int) % 2 == 0
    return np.stack([voice * first, voice * ~first])


def decoded(sound: Sound, folder: Path, **how: object) -> Recording:
    options = {"layout": "stereo"} | how
    return decode_recording(sounds.write_audio(folder / "two.wav", sound, **options))  # type: ignore[arg-type]


def turns(recording: Recording) -> tuple[Turn, ...] | None:
    return turns_by_channel(recording.levels, find_speech(recording))


def leaking(sound: Sound, decibels: float) -> Sound:
    """Each channel hears the other one, so much softer."""
    return sound + sound[::-1] * np.float32(10 ** (-decibels / 20))


@pytest.mark.parametrize("leak_db", [200.0, 20.0])
def test_the_channels_are_the_speakers_even_if_each_hears_the_other_a_little(
    in_turn: Sound, tmp_path: Path, leak_db: float
) -> None:
    found = turns(decoded(leaking(in_turn, leak_db), tmp_path))

    assert found
    assert found[0].speaker_id == "SPEAKER_00"
    for turn in found:
        middle = (turn.start_seconds + turn.end_seconds) / 2
        assert turn.speaker_id == ("SPEAKER_00" if middle // SPAN % 2 == 0 else "SPEAKER_01")
    spoken = sum(turn.end_seconds - turn.start_seconds for turn in found)
    assert spoken == pytest.approx(sum(s.duration_seconds for s in find_speech(decoded(in_turn, tmp_path))), rel=0.15)


def test_two_who_talk_at_once_are_both_heard(in_turn: Sound, voice: Sound, tmp_path: Path) -> None:
    both = in_turn.copy()
    both[1, : round(1.2 * 16_000)] = np.roll(voice, -round(4.0 * 16_000))[: round(1.2 * 16_000)]

    found = turns(decoded(both, tmp_path))

    assert found
    assert {turn.speaker_id for turn in found if turn.start_seconds < 1.2} == {"SPEAKER_00", "SPEAKER_01"}


def test_channels_that_do_not_separate_are_left_to_the_engine(in_turn: Sound, voice: Sound, tmp_path: Path) -> None:
    silent = np.stack([voice, np.zeros_like(voice)])

    assert turns(decoded(voice, tmp_path)) is None  # twice the same
    assert turns(decoded(silent, tmp_path)) is None  # nobody on the other one
    assert turns(decoded(leaking(in_turn, 6.0), tmp_path)) is None  # two microphones in one room
    assert turns(decoded(in_turn[0], tmp_path, layout="mono")) is None
    assert turns(decoded(voice, tmp_path, layout="5.1")) is None
    assert turns_by_channel(decoded(in_turn, tmp_path).levels, ()) is None


def gated(voice: Sound) -> Sound:
    """Nothing at all between words: what a microphone's gate, or a program that removes noise, leaves."""
    frames = voice[: len(voice) // 160 * 160].reshape(-1, 160)
    loud = np.sqrt(np.mean(frames**2, axis=1)) > 0.01
    is_open = np.convolve(loud, np.ones(5), "same") > 0
    return np.asarray(frames * is_open[:, np.newaxis], np.float32).reshape(-1)


def test_the_hiss_of_the_other_channel_is_nobody(tmp_path: Path) -> None:
    voice = gated(np.asarray(decode_recording(TWO_CITIES).samples))
    hiss = np.random.default_rng(1).normal(0, 0.001, len(voice)).astype(np.float32)

    assert turns(decoded(np.stack([voice, hiss]), tmp_path)) is None


class NoDiarizer:
    """An engine that says who was asked."""

    weight, engine = 0.1, "fake:one"

    def diarize(self, *_: object) -> tuple[Turn, ...]:
        return (Turn(start_seconds=0.0, end_seconds=9.0, speaker_id="SPEAKER_00"),)


def test_the_transcript_has_the_words_of_each_channel_under_its_own_speaker(in_turn: Sound, tmp_path: Path) -> None:
    file = sounds.write_audio(tmp_path / "call.wav", in_turn, layout="stereo")
    built = build_engines(EngineSettings())
    pipeline = SpeechPipeline(EngineSet(transcriber=built.transcriber, aligner=built.aligner, diarizer=NoDiarizer()))

    def transcribe(**options: int) -> Transcript:
        asked = TranscriptionOptions(diarization=True, word_timestamps=True, **options)  # type: ignore[arg-type]
        return pipeline.transcribe(file, asked, lambda *_: None)

    transcript = transcribe()
    assert transcript.engines.diarizer == "channels:stereo"
    assert [speaker.id for speaker in transcript.speakers] == ["SPEAKER_00", "SPEAKER_01"]
    for segment in transcript.segments:
        middle = (segment.start_seconds + segment.end_seconds) / 2
        assert segment.speaker_id == ("SPEAKER_00" if middle // SPAN % 2 == 0 else "SPEAKER_01"), segment
    three = transcribe(num_speakers=3)  # whoever counts three knows better
    assert three.engines.diarizer == "fake:one"
    assert any("not the 3 asked for" in warning for warning in three.warnings)
