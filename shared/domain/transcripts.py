"""What the speech pipeline produces: words, segments, turns, speakers, transcript.

All times are seconds from the start of the recording, as floats; intervals are half-open ``[start, end)``.
Confidences are probabilities in [0, 1], or None where the engine gives none.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.domain.plans import WorkPlan
from shared.domain.scripts import join_texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One spoken word with its time. ``aligned`` is False where the time was interpolated, not measured.

    ``space_before`` is False where the word is written together with the one before it in its segment, as in Chinese.
    """

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float | None = None
    aligned: bool = True
    speaker_id: str | None = None
    space_before: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A sentence-like piece of talk by one speaker. ``words`` is empty unless word times were asked for."""

    start_seconds: float
    end_seconds: float
    text: str
    speaker_id: str | None = None
    confidence: float | None = None
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Somebody speaks during this interval; turns of different speakers may overlap."""

    start_seconds: float
    end_seconds: float
    speaker_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """One voice of the recording. ``id`` is SPEAKER_00, SPEAKER_01 … in order of first appearance."""

    id: str
    label: str
    speaking_time_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A short text about the talk and its topics, most important first."""

    text: str
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """Which engine made each part, as ``name`` or ``name:model`` (None: the part was not asked for)."""

    transcriber: str
    diarizer: str | None = None
    aligner: str | None = None
    summarizer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of the speech has words, in seconds of speech as the speech detector found it.

    ``lost_seconds`` are in stretches of a second or more without a word, though ``retried_seconds`` were transcribed
    twice; the rest is ``covered_seconds``. ``removed_loops`` counts the repetitions that an engine had fallen into.
    """

    speech_seconds: float = 0.0
    covered_seconds: float = 0.0
    retried_seconds: float = 0.0
    lost_seconds: float = 0.0
    removed_loops: int = 0

    def plus(self, other: Coverage) -> Coverage:
        """The coverage of both together."""
        return Coverage(
            speech_seconds=round(self.speech_seconds + other.speech_seconds, 3),
            covered_seconds=round(self.covered_seconds + other.covered_seconds, 3),
            retried_seconds=round(self.retried_seconds + other.retried_seconds, 3),
            lost_seconds=round(self.lost_seconds + other.lost_seconds, 3),
            removed_loops=self.removed_loops + other.removed_loops,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """The whole result of a recording, complete in itself. Empty ``segments`` means silence.

    ``compute_seconds`` is machine time by part of the work: ``part``, or ``part@device`` where it ran elsewhere than
    the process's own COMPUTE_DEVICE (a name in the price table's [compute]).
    """

    duration_seconds: float
    language: str
    engines: Engines
    segments: tuple[Segment, ...] = ()
    speakers: tuple[Speaker, ...] = ()
    summary: Summary | None = None
    warnings: tuple[str, ...] = ()
    compute_seconds: dict[str, float] = field(default_factory=dict)
    coverage: Coverage | None = None  # None: made before it was measured
    plan: WorkPlan | None = None  # None: nothing was shared out
    language_confidence: float | None = None  # None: given, or the engine knows one language

    @property
    def text(self) -> str:
        """The plain transcript: segment texts with single spaces between them, none where Chinese or Japanese meet."""
        return join_texts(segment.text for segment in self.segments)
