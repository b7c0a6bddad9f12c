"""A finished transcript with one part of it made anew: its speakers, or its summary. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gpu_jobs.merge import cut_segments, name_speakers, without_words
from gpu_jobs.speakers import NUMBER_DOUBT, doubts_about_number
from gpu_jobs.transcribe import Passage
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Segment, Summary, Transcript, Turn, Word

NO_SUMMARY = "The summary could not be made. The transcript is complete."


def with_turns(
    base: Transcript,
    turns: Sequence[Turn],
    options: TranscriptionOptions,
    engine: str,
    compute_seconds: Mapping[str, float],
) -> Transcript:
    """The same words, given to the speakers of ``turns`` and cut into segments where those change.

    A warning about the number of speakers is about these and what ``options`` asked for.
    ``compute_seconds`` is what this cost; what the words once cost is in the first job's receipt.
    """
    passages = [_passage(segment) for segment in base.segments]
    segments, speakers = name_speakers(cut_segments(passages, turns), turns)
    if not all(segment.words for segment in base.segments):
        segments = without_words(segments)
    return replace(
        base,
        segments=segments,
        speakers=speakers,
        engines=replace(base.engines, diarizer=engine),
        warnings=(
            *(warning for warning in base.warnings if not warning.startswith(NUMBER_DOUBT)),
            *doubts_about_number(options, turns, speakers),
        ),
        compute_seconds=dict(compute_seconds),
        plan=None,
    )


def with_summary(
    base: Transcript, summary: Summary | None, engine: str, compute_seconds: Mapping[str, float]
) -> Transcript:
    """The same transcript with another summary."""
    return replace(
        base,
        summary=summary,
        engines=replace(base.engines, summarizer=engine),
        warnings=tuple(warning for warning in base.warnings if warning != NO_SUMMARY),
        compute_seconds=dict(compute_seconds),
        plan=None,
    )


def _passage(segment: Segment) -> Passage:
    """A segment as the engines gave it. One without words is a word of its own: it goes to one speaker as a whole."""
    whole = Word(text=segment.text, start_seconds=segment.start_seconds, end_seconds=segment.end_seconds, aligned=False)
    return Passage(
        text=segment.text,
        start_seconds=segment.start_seconds,
        end_seconds=segment.end_seconds,
        confidence=segment.confidence,
        words=tuple(replace(word, speaker_id=None) for word in segment.words or (whole,)),
    )
