"""Speakers as their owner knows them: renamed, or two voices found that are one person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shared.domain.errors import InvalidRequest
from shared.domain.graphemes import clean
from shared.domain.transcripts import Segment, Speaker, Transcript

MAX_LABEL_CHARS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerEdit:
    """What is to become of a speaker: another name, or part of another speaker."""

    speaker_id: str
    label: str | None = None
    merge_into: str | None = None


def edit_speakers(transcript: Transcript, edits: Sequence[SpeakerEdit]) -> Transcript:
    """The transcript with its speakers renamed and merged. Raises InvalidRequest for what does not fit together."""
    _check(transcript, edits)
    merged = {edit.speaker_id: edit.merge_into for edit in edits if edit.merge_into is not None}
    labels = {edit.speaker_id: clean(edit.label) for edit in edits if edit.label is not None}
    seconds: dict[str, float] = {}
    for speaker in transcript.speakers:
        into = merged.get(speaker.id, speaker.id)
        seconds[into] = seconds.get(into, 0.0) + speaker.speaking_time_seconds
    speakers = tuple(
        Speaker(
            id=speaker.id,
            label=labels.get(speaker.id, speaker.label),
            speaking_time_seconds=round(seconds[speaker.id], 3),
        )
        for speaker in transcript.speakers
        if speaker.id not in merged
    )
    return replace(
        transcript,
        speakers=speakers,
        segments=tuple(_reassign(segment, merged) for segment in transcript.segments)
        if merged
        else transcript.segments,
    )


def _reassign(segment: Segment, merged: Mapping[str, str]) -> Segment:
    if segment.speaker_id not in merged and not any(word.speaker_id in merged for word in segment.words):
        return segment
    words = tuple(
        replace(word, speaker_id=merged.get(word.speaker_id or "", word.speaker_id)) for word in segment.words
    )
    return replace(segment, speaker_id=merged.get(segment.speaker_id or "", segment.speaker_id), words=words)


def _check(transcript: Transcript, edits: Sequence[SpeakerEdit]) -> None:
    known = {speaker.id for speaker in transcript.speakers}
    merged = {edit.speaker_id for edit in edits if edit.merge_into is not None}
    named: set[str] = set()
    for edit in edits:
        for speaker_id in (edit.speaker_id, edit.merge_into):
            if speaker_id is not None and speaker_id not in known:
                shown = ", ".join(sorted(known)) or "none"
                raise _problem(f"There is no speaker '{speaker_id[:40]}' in this transcription. There are: {shown}.")
        if edit.speaker_id in named:
            raise _problem(f"Speaker {edit.speaker_id} was given twice.")
        named.add(edit.speaker_id)
        if edit.merge_into in merged:
            raise _problem(f"Speaker {edit.speaker_id} cannot go into {edit.merge_into}, which goes into another.")
        if (edit.label is None) == (edit.merge_into is None):
            raise _problem(f"Give speaker {edit.speaker_id} either a 'label' or a 'merge_into'.")
        if edit.label is not None and not 1 <= len(clean(edit.label)) <= MAX_LABEL_CHARS:
            raise _problem(f"A label has 1 to {MAX_LABEL_CHARS} printable characters.")


def _problem(message: str) -> InvalidRequest:
    return InvalidRequest(message, field="speakers")
