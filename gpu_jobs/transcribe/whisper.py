"""Whisper by faster-whisper: ninety-nine languages, with word times and confidences of its own.

The model is a directory in CTranslate2's form, a size ("small") or a repository of the model hub.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_jobs.audio import Recording
from gpu_jobs.chunks import Span, Window, WindowRules, plan_windows
from gpu_jobs.transcribe import LanguageChoice, Passage, SecondsDone, Transcription
from gpu_jobs.transcribe.language import WINDOWS_OF_CHECK, decide_language, doubt_language, language_windows
from gpu_jobs.transcribe.whisper_decoding import (
    Asked,
    decode_again,
    failing_clearly,
    is_doubtful,
    passage_of,
    transcribe_windows,
)
from shared.domain.errors import JobFailure
from shared.domain.options import Model, TranscriptionOptions

logger = logging.getLogger(__name__)

WHISPER_OF_MODEL = {Model.LARGE_V3: "large-v3", Model.TURBO: "large-v3-turbo"}

WINDOWS = WindowRules(max_seconds=29.4, split_silence_seconds=math.inf, full_share=0.92, kept_silence_seconds=0.8)
"""Whisper hears 30 s at a time, and a shorter window costs it as much: silence is shortened, to what faster-whisper's
own detector leaves of it, so that windows are full of speech. The padding must fit in as well."""

BATCH_SIZE = 8
BATCHES_AT_ONCE = 2
"""The library computes the features of all the windows it is given before the first word: this bounds its memory."""

UNSURE_CONFIDENCE = 0.5
"""A chunk that the model is less sure of is listened to for another language; good speech is above 0.7."""

MAX_HOTWORD_TOKENS = 220
"""Half of Whisper's 448 positions, less the few that every prompt needs; the library cuts longer ones mid-word."""

WINDOWS_OF_SECOND_TRY = WindowRules(max_seconds=15.0, split_silence_seconds=1.5, padding_seconds=0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhisperSettings:
    """``model`` "" takes the model the customer asked for; ``cpu_threads`` 0 leaves the choice to the library."""

    model: str = ""
    folder: str = ""
    device: str = "auto"
    compute_type: str = "default"
    cpu_threads: int = 0
    batch_size: int = BATCH_SIZE
    falls_back: bool = True


class WhisperTranscriber:
    """The Transcriber for every language of Whisper. A model loads when first asked for; one call at a time."""

    weight = 0.5
    windows = WINDOWS

    def __init__(self, settings: WhisperSettings) -> None:
        self._settings = settings
        self._batch_size = settings.batch_size
        self._models: dict[str, Any] = {}
        self._lock = threading.Lock()

    def engine(self, options: TranscriptionOptions) -> str:
        """``faster-whisper:`` and the model."""
        return f"faster-whisper:{Path(self._name(options)).name}"

    def choose_language(
        self, recording: Recording, speech: Sequence[Span], options: TranscriptionOptions
    ) -> LanguageChoice:
        """The language asked for, else a majority of windows. Raises JobFailure language_unsupported, engine_failed."""
        if not speech:
            return LanguageChoice(language=options.language)
        with self._lock:
            return _language(self._loaded(self._name(options)), recording, speech, options.language)

    def transcribe(
        self,
        recording: Recording,
        speech: Sequence[Span],
        options: TranscriptionOptions,
        on_progress: SecondsDone,
    ) -> Transcription:
        """Transcribe in batches of windows, all in one language.

        Raises JobFailure language_unsupported or engine_failed.
        """
        engine = self.engine(options)
        if not speech:
            return Transcription(engine=engine, language=options.language, passages=())
        with self._lock:
            model = self._loaded(self._name(options))
            language = _decided(model, recording, speech, options.language)
            hotwords, warnings = _hotwords(model, options.vocabulary)
            asked = Asked(language=language, hotwords=hotwords, falls_back=self._settings.falls_back)
            passages: list[Passage] = []
            windows = plan_windows(speech, recording.duration_seconds, WINDOWS)
            step = self._batch_size * BATCHES_AT_ONCE
            for first in range(0, len(windows), step):
                batch = windows[first : first + step]
                passages += self._transcribe_batch(model, recording, batch, asked)
                on_progress(batch[-1].end_seconds)
            if _is_unsure(passages):  # as it is in a language that is not spoken
                votes = _votes(model, recording, language_windows(speech, WINDOWS_OF_CHECK))
                doubt = doubt_language(language, votes)
                warnings = (*warnings, doubt) if doubt else warnings
        return Transcription(engine=engine, language=language, passages=tuple(passages), warnings=warnings)

    def transcribe_again(
        self,
        recording: Recording,
        speech: Sequence[Span],
        options: TranscriptionOptions,
        on_progress: SecondsDone,
    ) -> Transcription:
        """Without the vocabulary, from other windows, at rising temperatures; what stays improbable is left out."""
        passages: list[Passage] = []
        with self._lock:
            model = self._loaded(self._name(options))
            language = _decided(model, recording, speech, options.language)
            for window in plan_windows(speech, recording.duration_seconds, WINDOWS_OF_SECOND_TRY):
                with failing_clearly():
                    found = decode_again(model, recording.heard(window), Asked(language=language))
                passages += [passage_of(s, window, 0.0, language) for s in found if not is_doubtful(s)]
                on_progress(window.end_seconds)
        heard = tuple(passage for passage in passages if passage.words)
        return Transcription(engine=self.engine(options), language=language, passages=heard)

    def _transcribe_batch(
        self, model: Any, recording: Recording, windows: Sequence[Window], asked: Asked
    ) -> list[Passage]:
        """The passages of some neighbouring windows. A device that runs out of memory gets half as many at once."""
        while True:
            try:
                return transcribe_windows(model, recording, windows, asked, self._batch_size)
            except (RuntimeError, ValueError) as error:
                if "out of memory" not in str(error).lower() or self._batch_size == 1:
                    raise JobFailure("engine_failed", "The speech engine failed on this recording.") from error
                self._batch_size //= 2
                logger.warning("batch_halved", extra={"batch_size": self._batch_size})

    def _name(self, options: TranscriptionOptions) -> str:
        settings = self._settings
        if settings.folder and not settings.model:
            return str(Path(settings.folder) / options.model.value)
        return settings.model or WHISPER_OF_MODEL[options.model]

    def _loaded(self, name: str) -> Any:
        if name not in self._models:
            from faster_whisper import WhisperModel

            settings = self._settings
            try:
                self._models[name] = WhisperModel(
                    name, device=settings.device, compute_type=settings.compute_type, cpu_threads=settings.cpu_threads
                )
            except Exception as error:
                raise JobFailure("engine_failed", _why_not_loaded(name)) from error
        return self._models[name]


def _why_not_loaded(name: str) -> str:
    if Path(name).is_dir():
        return (
            f"The speech model in '{Path(name).name}' could not be loaded. MODEL must name a directory with a Whisper "
            "model in CTranslate2's form that fits DEVICE and COMPUTE_TYPE."
        )
    return (
        f"The speech model '{name}' could not be loaded: it is not on this machine and the model hub was not reached, "
        "or it does not fit DEVICE and COMPUTE_TYPE. Set MODEL to a model directory, or ENGINE=moonshine for English."
    )


def _is_unsure(passages: Sequence[Passage]) -> bool:
    known = [passage.confidence for passage in passages if passage.confidence is not None]
    return bool(known) and sum(known) / len(known) < UNSURE_CONFIDENCE


def _decided(model: Any, recording: Recording, speech: Sequence[Span], asked: str) -> str:
    """The language of a chunk: given, since it was decided for the whole recording, unless this is all there is."""
    if asked and asked in model.supported_languages:
        return asked
    return _language(model, recording, speech, asked).language


def _language(model: Any, recording: Recording, speech: Sequence[Span], asked: str) -> LanguageChoice:
    """The language asked for, else that of most of several windows of speech from the whole recording."""
    if not model.model.is_multilingual:
        if asked not in {"", "en"}:
            raise JobFailure("language_unsupported", f"The speech model knows English only, not '{asked}'.")
        return LanguageChoice(language="en")
    if asked:
        if asked not in model.supported_languages:
            raise JobFailure("language_unsupported", f"The speech model does not know the language '{asked}'.")
        return LanguageChoice(language=asked)
    return decide_language(_votes(model, recording, language_windows(speech)))


def _votes(model: Any, recording: Recording, windows: Sequence[Span]) -> list[dict[str, float]]:
    """What each window sounds like."""
    votes = []
    for window in windows:
        _, _, probabilities = model.detect_language(audio=recording.slice(window.start_seconds, window.end_seconds))
        votes.append(dict(probabilities))
    return votes


def _hotwords(model: Any, vocabulary: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """As many terms as the prompt holds, in the customer's order, and a warning if some were left out."""
    taken: list[str] = []
    tokens = 0
    for term in vocabulary:
        tokens += len(model.hf_tokenizer.encode(f" {term},", add_special_tokens=False).ids)
        if tokens > MAX_HOTWORD_TOKENS:
            break
        taken.append(term)
    left_out = len(vocabulary) - len(taken)
    warning = f"The vocabulary is too long for the speech model: its last {left_out} terms were not used."
    return ", ".join(taken) or None, ((warning,) if left_out else ())
