"""The stand-in of the speech engine: it says what it heard by a checksum of the samples, and takes its time over it.

Everything around it is the product's: decoding, finding speech, planning, merging, storing, settling. A mixed-up,
cut or altered recording gives other words.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

from gpu_jobs.align import Aligner
from gpu_jobs.audio import Recording
from gpu_jobs.chunks import Span, WindowRules
from gpu_jobs.diarize import SpeakerCount
from gpu_jobs.engines import EngineSet
from gpu_jobs.transcribe import LanguageChoice, Passage, SecondsDone, Transcription
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Turn, Word

ENGINE = "checksum:sha256"
TOO_LONG_SECONDS = 3.5  # a recording that is longer breaks the engine, every time
WORD_SECONDS = 0.25
STEPS = 4  # of work on a recording, each with a progress call


class ChecksumTranscriber:
    """The Transcriber. ``longest_pause_seconds`` is what a recording takes at most."""

    weight = 0.1
    windows = WindowRules(max_seconds=30.0)

    def __init__(self, *, longest_pause_seconds: float) -> None:
        self._longest_pause_seconds = longest_pause_seconds

    def engine(self, options: TranscriptionOptions) -> str:
        """The one engine there is."""
        return ENGINE

    def choose_language(
        self, recording: Recording, speech: Sequence[Span], options: TranscriptionOptions
    ) -> LanguageChoice:
        """English."""
        return LanguageChoice(language="en")

    def transcribe(
        self, recording: Recording, speech: Sequence[Span], options: TranscriptionOptions, on_progress: SecondsDone
    ) -> Transcription:
        """One word for each quarter of a second of speech, made of the recording's checksum."""
        if recording.duration_seconds > TOO_LONG_SECONDS:
            raise RuntimeError("this engine breaks on long recordings")
        digest = hashlib.sha256(recording.samples.tobytes()).hexdigest()
        for step in range(1, STEPS + 1):
            time.sleep(self._longest_pause_seconds * int(digest[:2], 16) / 255 / STEPS)
            on_progress(recording.duration_seconds * step / STEPS)
        return Transcription(engine=ENGINE, language="en", passages=tuple(_passages(speech, digest)))

    def transcribe_again(
        self, recording: Recording, speech: Sequence[Span], options: TranscriptionOptions, on_progress: SecondsDone
    ) -> Transcription:
        """It heard everything the first time."""
        return Transcription(engine=ENGINE, language="en", passages=())


def _passages(speech: Sequence[Span], digest: str) -> list[Passage]:
    number, passages = 0, []
    for span in speech:
        words = []
        count = max(1, int(span.duration_seconds / WORD_SECONDS))
        width = span.duration_seconds / count
        for index in range(count):
            start = span.start_seconds + index * width
            letters = "".join(digest[(number * 5 + offset) % len(digest)] for offset in range(5))
            words.append(Word(text=letters, start_seconds=start, end_seconds=start + width, confidence=1.0))
            number += 1
        text = " ".join(word.text for word in words)
        passages.append(
            Passage(start_seconds=span.start_seconds, end_seconds=span.end_seconds, text=text, words=tuple(words))
        )
    return passages


class OneVoice:
    """The Diarizer: everybody sounds the same to it."""

    weight = 0.05
    engine = "one-voice:none"

    def diarize(
        self, recording: Recording, on_progress: Callable[[float], None], count: SpeakerCount | None = None
    ) -> tuple[Turn, ...]:
        """One turn over all of it."""
        on_progress(recording.duration_seconds)
        return (Turn(start_seconds=0.0, end_seconds=recording.duration_seconds, speaker_id="SPEAKER_00"),)


def checksum_engines(*, longest_pause_seconds: float) -> EngineSet:
    """The stand-ins; word times need no aligner, summaries are the product's own."""
    return EngineSet(
        transcriber=ChecksumTranscriber(longest_pause_seconds=longest_pause_seconds),
        diarizer=OneVoice(),
        aligner=Aligner(),
    )
