"""The second look at short turns."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from gpu_jobs.audio import Recording, decode_recording
from gpu_jobs.diarize.voices import at_most, second_look
from shared.domain.transcripts import Turn
from tests import sounds
from tests.data.recordings import ENDGAME, ENDGAME_LINES, NAGG, NELL

# When each line of ENDGAME_LINES is spoken, in seconds.
TIMES = [
    *((0.03, 1.03), (1.57, 1.89), (2.43, 3.37), (3.93, 4.27), (4.81, 8.06), (8.70, 11.40), (11.98, 14.09)),
    *((14.64, 17.01), (17.58, 18.96), (19.40, 20.01), (20.33, 22.07), (22.46, 23.22), (23.64, 27.40), (28.03, 28.26)),
]
TRUTH = tuple(
    Turn(start_seconds=start, end_seconds=end, speaker_id=speaker)
    for (start, end), (speaker, _) in zip(TIMES, ENDGAME_LINES, strict=True)
)
LAUGHING, NOT_NOW = 9, 11


@pytest.fixture(scope="module")
def endgame() -> Recording:
    return decode_recording(ENDGAME)


def with_speaker(turns: tuple[Turn, ...], index: int, speaker: str) -> tuple[Turn, ...]:
    return (*turns[:index], replace(turns[index], speaker_id=speaker), *turns[index + 1 :])


def test_right_turns_stay_as_they_are(endgame: Recording) -> None:
    assert second_look(endgame, TRUTH) == TRUTH


@pytest.mark.parametrize("index", [LAUGHING, NOT_NOW])
def test_a_short_line_swallowed_by_the_other_voice_is_given_back(endgame: Recording, index: int) -> None:
    assert second_look(endgame, with_speaker(TRUTH, index, NAGG)) == TRUTH


def test_a_single_voice_is_left_alone(endgame: Recording) -> None:
    turns = tuple(replace(turn, speaker_id=NELL) for turn in TRUTH)

    assert second_look(endgame, turns) == turns


def test_a_voice_heard_too_little_to_know_takes_nothing(endgame: Recording) -> None:
    nell_lines = {index for index, turn in enumerate(TRUTH) if turn.speaker_id == NELL}
    turns = TRUTH
    for index in nell_lines - {1}:  # of hers only the first "Yes." is left
        turns = with_speaker(turns, index, NAGG)

    assert second_look(endgame, turns) == turns


def test_whoever_is_one_too_many_is_taken_for_the_voice_they_have(endgame: Recording) -> None:
    split = with_speaker(with_speaker(TRUTH, 10, "a third"), 7, "a fourth")  # a line of his, a line of hers

    assert at_most(endgame, split, 2) == TRUTH
    assert at_most(endgame, split, 4) == split
    assert {turn.speaker_id for turn in at_most(endgame, split, 1)} == {NAGG}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("longest_seconds", [0.02, 0.04, 2.0])
def test_turns_too_short_to_have_a_sound_are_taken_for_whoever_says_most(
    endgame: Recording, longest_seconds: float
) -> None:
    short = Turn(start_seconds=3.0, end_seconds=3.01, speaker_id="a")
    other = Turn(start_seconds=5.0, end_seconds=5.015, speaker_id="b")
    long = Turn(start_seconds=6.0, end_seconds=6.0 + longest_seconds, speaker_id="c")

    assert [turn.speaker_id for turn in at_most(endgame, (short, other, long), 1)] == ["c", "c", "c"]
    assert [turn.speaker_id for turn in at_most(endgame, (short, other, long), 2)] == ["c", "b", "c"]


def test_a_turn_of_minutes_needs_no_more_memory_than_one_of_a_minute() -> None:
    recording = Recording(samples=sounds.noise(240.0))
    turns = (
        Turn(start_seconds=0.0, end_seconds=5.0, speaker_id="a"),
        Turn(start_seconds=5.0, end_seconds=240.0, speaker_id="b"),
    )

    tracemalloc.start()
    try:
        assert second_look(recording, turns) == turns
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 300_000_000


def test_no_turns_are_no_turns(endgame: Recording) -> None:
    assert second_look(endgame, ()) == ()
