"""A finished transcript with its speakers found anew: what it says of their number is true of the new ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gpu_jobs.rebuild import NO_SUMMARY, with_turns
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Engines, Segment, Transcript, Turn

TALK = Transcript(
    duration_seconds=12.0,
    language="en",
    engines=Engines(transcriber="fixed:1"),
    segments=(Segment(start_seconds=0.0, end_seconds=12.0, text="So it goes on and on."),),
)


def found_again(base: Transcript, voices: int, **asked: Any) -> Transcript:
    length = base.duration_seconds / max(voices, 1)
    turns = [
        Turn(start_seconds=n * length, end_seconds=(n + 1) * length, speaker_id=f"SPEAKER_{n:02d}")
        for n in range(voices)
    ]
    return with_turns(base, turns, TranscriptionOptions(diarization=True, **asked), "fixed:speakers", {})


def test_speakers_found_again_in_another_number_than_asked_for_are_doubted() -> None:
    assert found_again(TALK, 2, num_speakers=4).warnings == (
        "The speaker engine could tell 2 voices apart, not the 4 asked for.",
    )
    assert found_again(TALK, 1, min_speakers=3).warnings == (
        "The speaker engine could tell 1 voice apart, not the 3 asked for.",
    )
    assert found_again(TALK, 3, max_speakers=1).warnings == (
        "The speaker engine could tell 3 voices apart, not the 1 asked for.",
    )


def test_words_of_nobody_that_was_found_are_one_voice_s() -> None:
    assert found_again(TALK, 0, num_speakers=5).warnings == (
        "The speaker engine could tell 1 voice apart, not the 5 asked for.",
    )
    assert found_again(TALK, 0, num_speakers=1).warnings == ()
    assert found_again(replace(TALK, segments=()), 0, num_speakers=5).warnings == ()


def test_a_doubt_about_the_number_goes_with_the_speakers_it_was_about() -> None:
    first = found_again(TALK, 1, num_speakers=3)
    earlier = "The speaker engine could tell 1 voices apart, not the 3 that were asked for."

    assert found_again(first, 3, num_speakers=3).warnings == ()
    assert found_again(replace(TALK, warnings=(earlier, NO_SUMMARY)), 3, num_speakers=3).warnings == (NO_SUMMARY,)
    assert len(found_again(first, 2, num_speakers=3).warnings) == 1
