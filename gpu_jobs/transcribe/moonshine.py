"""Moonshine tiny-en: English on a CPU, with weights that install with the package, so it works with no network.

Source of the settings: measured on 40 LibriSpeech test-other clips joined to five minutes. The library's own cutting
gives 16.7 % WER; chunks of at most 15 s cut at long silences, levelled, give 12.3 % (10 s: 15.4 %, 28 s: 13.8 %).
Its second thread makes it a tenth faster and keeps a second core busy waiting: two processes with two threads each were
1.04 times as fast as one, with one thread each 1.97 times (``make bench-workers``).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from typing import Any

from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording, Samples
from gpu_jobs.chunks import Span, WindowRules, plan_windows
from gpu_jobs.speech import leveled
from gpu_jobs.transcribe import LanguageChoice, Passage, SecondsDone, Transcription
from shared.domain.errors import JobFailure
from shared.domain.options import TranscriptionOptions

ENGINE = "moonshine:tiny-en"
WINDOWS = WindowRules(max_seconds=15.0)
WINDOWS_OF_SECOND_TRY = WindowRules(max_seconds=8.0, split_silence_seconds=1.0, padding_seconds=0.5)
MIN_SAMPLES = SAMPLE_RATE_HZ // 10

ONE_THREAD = {"MOONSHINE_ORT_SINGLE_THREAD": "1"}  # read by the library when it loads a model; no option says it
OPTIONS = {
    "return_audio_data": "false",
    "vad_threshold": "0",  # our chunks are speech already: its own detector would cut them again
    "vad_max_segment_duration": "60",
    "max_tokens_per_second": "10",  # its 6.5 clips fast talkers; a loop still ends
}


class MoonshineTranscriber:
    """The Transcriber for English. The model loads on first use; one call at a time, on one core."""

    weight = 0.06
    windows = WINDOWS

    def __init__(self) -> None:
        self._model: Any = None
        self._lock = threading.Lock()

    def engine(self, options: TranscriptionOptions) -> str:  # noqa: ARG002 - the one model, whatever was asked for
        """The one engine there is."""
        return ENGINE

    def choose_language(
        self,
        recording: Recording,  # noqa: ARG002 - nothing to listen for: it knows one language
        speech: Sequence[Span],  # noqa: ARG002
        options: TranscriptionOptions,
    ) -> LanguageChoice:
        """English. Raises JobFailure language_unsupported for any other language."""
        if options.language not in {"", "en"}:
            raise JobFailure(
                "language_unsupported",
                f"The speech engine of this installation knows English only, not '{options.language}'. "
                "Ask for language 'en', or have the operator switch to the faster-whisper engine.",
            )
        return LanguageChoice(language="en")

    def transcribe(
        self,
        recording: Recording,
        speech: Sequence[Span],
        options: TranscriptionOptions,
        on_progress: SecondsDone,
    ) -> Transcription:
        """Transcribe window by window. Raises JobFailure language_unsupported for any language but English."""
        passages = self._transcribe(recording, speech, WINDOWS, options, on_progress)
        warnings = ("The vocabulary was not used: this speech engine takes none.",) if options.vocabulary else ()
        return Transcription(engine=ENGINE, language="en", passages=passages, warnings=warnings)

    def transcribe_again(
        self,
        recording: Recording,
        speech: Sequence[Span],
        options: TranscriptionOptions,
        on_progress: SecondsDone,
    ) -> Transcription:
        """Shorter windows with more around them: what came out empty in one cut rarely does so in another."""
        passages = self._transcribe(recording, speech, WINDOWS_OF_SECOND_TRY, options, on_progress)
        return Transcription(engine=ENGINE, language="en", passages=passages)

    def _transcribe(
        self,
        recording: Recording,
        speech: Sequence[Span],
        rules: WindowRules,
        options: TranscriptionOptions,
        on_progress: SecondsDone,
    ) -> tuple[Passage, ...]:
        self.choose_language(recording, speech, options)
        passages: list[Passage] = []
        for window in plan_windows(speech, recording.duration_seconds, rules):
            text = self._transcribe_window(recording.heard(window))
            if text:
                passages.append(Passage(start_seconds=window.start_seconds, end_seconds=window.end_seconds, text=text))
            on_progress(window.end_seconds)
        return tuple(passages)

    def _transcribe_window(self, samples: Samples) -> str:
        if len(samples) < MIN_SAMPLES:
            return ""
        from moonshine_voice import MoonshineError

        with self._lock:
            try:
                result = self._loaded().transcribe_without_streaming(leveled(samples).tolist(), SAMPLE_RATE_HZ)
            except MoonshineError as error:
                raise JobFailure("engine_failed", "The speech engine failed on this recording.") from error
            return tidy(" ".join(line.text for line in result.lines))

    def _loaded(self) -> Any:
        if self._model is None:
            from moonshine_voice import ModelArch, Transcriber, get_model_path

            os.environ.update(ONE_THREAD)
            self._model = Transcriber(str(get_model_path("tiny-en")), ModelArch.TINY, options=OPTIONS)
        return self._model


def tidy(text: str) -> str:
    """Mend what this model gets wrong in writing: doubled marks, stray quotes, a small letter after a full stop."""
    text = re.sub(r"([,.;:])(?:\s*,)+", r"\1", " ".join(text.split()))
    if text.count('"') % 2:
        text = text.replace('"', "")
    text = re.sub(r"(?<=[.?!] )[a-z]", lambda match: match.group().upper(), text)
    return text[:1].upper() + text[1:]
