"""What the speaker engines found becomes turns."""

from __future__ import annotations

from types import SimpleNamespace

from gpu_jobs.diarize import numbered, turns_within
from gpu_jobs.diarize.moonshine import joined_turns
from shared.domain.transcripts import Turn


def turn(speaker: str, start: float, end: float) -> Turn:
    return Turn(start_seconds=start, end_seconds=end, speaker_id=speaker)


def line(*spans: tuple[float, float, int]) -> SimpleNamespace:
    """A line of the library: spans of start, duration and speaker."""
    found = [SimpleNamespace(start_time=start, duration=lasts, speaker_index=who) for start, lasts, who in spans]
    return SimpleNamespace(speaker_spans=found or None)


def test_turns_end_with_the_recording_and_what_lies_outside_it_is_none() -> None:
    spans = [(10.05, 10.4, "late"), (9.5, 10.4, "B"), (-0.2, 1.0, "A"), (-0.5, -0.1, "early"), (10.0, 10.1, "late")]

    assert turns_within(spans, 10.0) == (turn("A", 0.0, 1.0), turn("B", 9.5, 10.0))


def test_speakers_are_numbered_as_they_appear() -> None:
    found = numbered((turn("x", 0.0, 1.0), turn("b", 0.5, 2.0), turn("x", 3.0, 4.0)))

    assert [each.speaker_id for each in found] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"]


def test_what_lines_cut_of_one_turn_is_joined_and_a_span_past_the_end_is_no_turn() -> None:
    lines = [line((0.0, 2.0, 0), (1.5, 1.0, 1)), line(), line((2.01, 1.0, 0), (5.0, 0.04, 1)), line((10.05, 0.5, 1))]

    turns = joined_turns(lines, 10.0)

    assert [(each.speaker_id, each.start_seconds, each.end_seconds) for each in turns] == [
        ("0", 0.0, 3.01),
        ("1", 1.5, 2.5),
    ]
