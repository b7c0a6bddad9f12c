"""Where speech is, from the detector's probabilities: as the library that the detector comes with says, or better."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import faster_whisper.vad
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_jobs import speech
from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording, Samples, decode_recording
from gpu_jobs.speech import (
    FRAME_SAMPLES,
    MAX_SPAN_FRAMES,
    REACH_FRAMES,
    cut,
    find_speech,
    leveled,
    not_alone,
    speech_frames,
)
from tests import sounds
from tests.data.recordings import TWO_CITIES

LEVELS = st.sampled_from([0.0, 0.1, 0.19, 0.21, 0.25, 0.34, 0.36, 0.49, 0.51, 0.9])
RUNS = st.lists(st.tuples(LEVELS, st.integers(1, 12)), max_size=40)


def probabilities(runs: list[tuple[float, int]]) -> Samples:
    return np.array([level for level, count in runs for _ in range(count)], dtype=np.float32)


def libraries_frames(heard: Samples) -> list[tuple[int, int]]:
    """What faster-whisper makes of the same probabilities, with our numbers as its options."""
    options = faster_whisper.vad.VadOptions(
        threshold=speech.THRESHOLD,
        neg_threshold=speech.SILENCE_THRESHOLD,
        min_silence_duration_ms=200,
        min_speech_duration_ms=100,
        speech_pad_ms=0,
    )
    samples = np.zeros(len(heard) * FRAME_SAMPLES, np.float32)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(faster_whisper.vad, "get_vad_model", lambda: lambda _: heard)
        found: list[dict[str, Any]] = faster_whisper.vad.get_speech_timestamps(samples, options)
    return [(span["start"] // FRAME_SAMPLES, span["end"] // FRAME_SAMPLES) for span in found]


@given(runs=RUNS)
def test_speech_begins_and_ends_where_the_library_says(runs: list[tuple[float, int]]) -> None:
    heard = probabilities(runs)
    assert list(speech_frames(heard)) == libraries_frames(heard)


@given(
    first=st.integers(0, 50),
    length=st.integers(1, 5 * MAX_SPAN_FRAMES),
    dips=st.lists(st.integers(0, 5 * MAX_SPAN_FRAMES), max_size=8),
)
def test_pieces_of_long_speech_are_short_enough_and_lose_nothing(first: int, length: int, dips: list[int]) -> None:
    heard = np.full(first + 5 * MAX_SPAN_FRAMES + 1, 0.9, np.float32)
    heard[[first + dip for dip in dips]] = 0.3
    pieces = cut(heard, (first, first + length))
    assert (pieces[0][0], pieces[-1][1]) == (first, first + length)
    assert all(before[1] == after[0] for before, after in pairwise(pieces))
    assert all(0 < end - start <= MAX_SPAN_FRAMES for start, end in pieces)


def test_a_doubtful_sound_counts_near_sure_speech_and_not_alone() -> None:
    heard = np.zeros(3_000, np.float32)
    sure, near, far = (100, 150), (150 + REACH_FRAMES, 480), (2_000, 2_010)
    for frames, probability in ((sure, 0.95), (near, 0.6), (far, 0.6)):
        heard[slice(*frames)] = probability
    assert not_alone([sure, near, far], heard) == [sure, near]
    assert not_alone([near, far], heard) == []


def test_a_doubtful_word_in_a_short_recording_counts() -> None:
    heard = np.full(REACH_FRAMES, 0.6, np.float32)
    assert not_alone([(10, 20)], heard) == [(10, 20)]


@pytest.mark.parametrize("seed", [0, 2, 5, 7])
def test_music_is_no_speech_though_the_detector_takes_some_of_it_for_speech(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tune = Recording(samples=sounds.music(seconds=30.0, seed=seed))
    assert find_speech(tune) == ()
    monkeypatch.setattr(speech, "SURE_THRESHOLD", speech.LIKELY_THRESHOLD)
    assert find_speech(tune) != ()


def test_long_speech_is_cut_where_it_is_least_like_speech() -> None:
    heard = np.full(1_500, 0.9, np.float32)
    heard[700] = 0.4
    assert cut(heard, (0, 1_500)) == [(0, 700), (700, 1_500)]


def test_blocks_leave_no_mark_on_a_recording(tmp_path: Path) -> None:
    once = leveled(np.asarray(decode_recording(TWO_CITIES).samples))
    recording = Recording(samples=np.resize(once, 40 * SAMPLE_RATE_HZ))
    whole = find_speech(recording)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(speech, "BLOCK_FRAMES", 200)
        in_blocks = find_speech(recording)
    assert len(whole) > 5
    assert len(in_blocks) == len(whole)
    for one, other in zip(whole, in_blocks, strict=True):
        assert one.start_seconds == pytest.approx(other.start_seconds, abs=0.1)
        assert one.end_seconds == pytest.approx(other.end_seconds, abs=0.1)


@pytest.mark.parametrize("count", [0, 1, FRAME_SAMPLES, SAMPLE_RATE_HZ])
def test_silence_of_any_length_has_no_speech(count: int) -> None:
    assert find_speech(Recording(samples=np.zeros(count, np.float32))) == ()
