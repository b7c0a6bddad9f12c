"""Word times for a text whose engine gives none: the known words are forced onto the sound by pocketsphinx.

Its en-us model and dictionary install with the package. As a recogniser it is poor; told what was said, it knows when.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording, Samples
from gpu_jobs.chunks import Span, speech_within
from gpu_jobs.pronounce import sound_out, spoken_tokens
from gpu_jobs.speech import leveled
from gpu_jobs.transcribe import Passage
from shared.domain.transcripts import Word

ENGINE = "pocketsphinx:en-us"
FRAME_SECONDS = 0.01
EDGE_SECONDS = 0.2
SETTINGS = {"lm": None, "loglevel": "FATAL", "cmn": "batch", "beam": 1e-80, "wbeam": 1e-60, "pbeam": 1e-80}

SCORE_SLOPE, SCORE_MIDPOINT = 0.348, -7.68
"""A logistic fit of "this word is right" to its score, over 740 words of Moonshine on LibriSpeech test-other.

So a confidence is a calibrated probability there: of the worst tenth of words 72 % are right, of the best 93 %, of all
87 %. It says where to look, not what is wrong.
"""

UNALIGNED_CONFIDENCE = 0.72
"""That of the worst tenth above: a word that the sound cannot be fitted to is no likelier to be right than those."""

SLOW_LETTER_SECONDS, SLOW_SIGN_SECONDS = 0.2, 0.5
"""The longest that a text takes for a lower-case letter, and for all else that is said: a digit, a capital that may be
spelt, a Chinese character. Measured: of 50 passages of read and free English the slowest takes 0.13 s for a letter, the
median 0.08."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Timed:
    """A spoken token found in the sound. ``score`` is the log-likelihood per frame against the best sound there."""

    start_seconds: float
    end_seconds: float
    score: float


class Aligner:
    """Gives every word of an English passage a time. The model loads on first use; one call at a time."""

    def __init__(self) -> None:
        self._decoder: Any = None
        self._lock = threading.Lock()

    def align(self, passage: Passage, recording: Recording, speech: Sequence[Span]) -> Passage:
        """The passage with one Word per written word: in order, times monotone and inside the passage.

        ``confidence`` is how well the sound there fits the word. A word that is not sound ("—"), or a passage that does
        not fit its text at all, is put into its place in the speech and marked ``aligned=False``, with a low one.
        """
        written = passage.text.split()
        if not written:
            return replace(passage, words=())
        samples = recording.slice(passage.start_seconds, passage.end_seconds)
        with self._lock:
            timed = self._time_words(written, samples)
        return replace(passage, words=tuple(_words(written, timed, passage, speech)))

    def _time_words(self, written: Sequence[str], samples: Samples) -> list[_Timed | None]:
        """One entry per written word, None where it could not be aligned."""
        tokens_of = [self._sayable(spoken_tokens(word, self._knows)) for word in written]
        tokens = [token for tokens in tokens_of for token in tokens]
        remaining = iter(self._force(tokens, samples) if tokens else ())
        return [_joined([next(remaining) for _ in tokens]) for tokens in tokens_of]

    def _sayable(self, tokens: Sequence[str]) -> list[str]:
        """Teach the dictionary what it lacks; drop what cannot be sounded out."""
        sayable = []
        for token in tokens:
            if not self._knows(token):
                phones = sound_out(token)
                if not phones:
                    continue
                self._model().add_word(token, phones, True)
            sayable.append(token)
        return sayable

    def _force(self, tokens: Sequence[str], samples: Samples) -> list[_Timed | None]:
        """One entry per token. The search may end before the last words, if the sound is cut off in them."""
        decoder = self._model()
        try:
            decoder.set_align_text(" ".join(tokens))
            decoder.start_utt()
            decoder.process_raw(_as_pcm(samples), full_utt=True)
            decoder.end_utt()
            segments = [s for s in decoder.seg() or () if not s.word.startswith(("<", "["))]
        except RuntimeError:  # the only exception it has: no path through the text, or too short a sound
            self._decoder = None  # it may be left inside an utterance
            segments = []
        heard = [segment.word.partition("(")[0] for segment in segments]  # "that(2)" is a second way to say it
        if heard != list(tokens[: len(heard)]) or len(heard) < len(tokens) / 2:
            return [None] * len(tokens)
        return [*(_timed(segment) for segment in segments), *([None] * (len(tokens) - len(heard)))]

    def _knows(self, token: str) -> bool:
        return self._model().lookup_word(token) is not None

    def _model(self) -> Any:
        if self._decoder is None:
            import pocketsphinx

            self._decoder = pocketsphinx.Decoder(
                hmm=pocketsphinx.get_model_path("en-us/en-us"),
                dict=pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"),
                **SETTINGS,
            )
        return self._decoder


def spread_over(written: Sequence[str], places: Sequence[Span]) -> list[Word]:
    """Words laid over the places in proportion to their letters: the fallback where nothing can be measured.

    They begin with the places and end before them if that would be slower than anybody speaks: the rest holds something
    that was not written. Marks ("—") take no time; not all may be marks.
    """
    longest = [_longest_seconds(text) for text in written]
    available = sum(place.duration_seconds for place in places)
    pace = min(1.0, available / sum(longest))
    words, passed = [], 0.0
    for text, seconds in zip(written, longest, strict=True):
        start = _at(places, passed)
        passed += seconds * pace
        end = max(start, _at(places, passed))
        words.append(_unaligned(text, start, end))
    return words


def _longest_seconds(text: str) -> float:
    return sum(SLOW_LETTER_SECONDS if c.islower() else SLOW_SIGN_SECONDS for c in text if c.isalnum())


def _unaligned(text: str, start: float, end: float) -> Word:
    return Word(text=text, start_seconds=start, end_seconds=end, confidence=UNALIGNED_CONFIDENCE, aligned=False)


def _at(places: Sequence[Span], seconds: float) -> float:
    """The time after ``seconds`` of the places have passed."""
    for place in places:
        if seconds <= place.duration_seconds:
            return place.start_seconds + seconds
        seconds -= place.duration_seconds
    return places[-1].end_seconds


def _between(written: Sequence[str], place: Span, speech: Sequence[Span], *, is_last: bool) -> list[Word]:
    """Words that were not found, in the speech of their place. Marks go with the word after them, the last before."""
    if not any(_longest_seconds(text) for text in written):
        at = place.start_seconds if is_last else place.end_seconds
        return [_unaligned(text, at, at) for text in written]
    return spread_over(written, speech_within(speech, place) or [place])


def _as_pcm(samples: Samples) -> bytes:
    """16-bit sound with a little quiet around it: the search wants a silence to end in. The quiet is not quite zero."""
    quiet = np.resize(np.array([1e-4, -1e-4], np.float32), round(EDGE_SECONDS * SAMPLE_RATE_HZ))
    return (np.concatenate([quiet, leveled(samples), quiet]) * 32767).astype(np.int16).tobytes()


def _timed(segment: Any) -> _Timed:
    frames = segment.end_frame - segment.start_frame + 1
    score = math.log(max(segment.ascore, 1e-300)) / frames
    start = segment.start_frame * FRAME_SECONDS - EDGE_SECONDS
    return _Timed(start_seconds=start, end_seconds=start + frames * FRAME_SECONDS, score=score)


def _joined(tokens: Sequence[_Timed | None]) -> _Timed | None:
    """One written word may be several spoken ones: "1984"."""
    found = [token for token in tokens if token is not None]
    if not found or len(found) < len(tokens):
        return None
    seconds = sum(token.end_seconds - token.start_seconds for token in found)
    score = sum(token.score * (token.end_seconds - token.start_seconds) for token in found) / seconds
    return _Timed(start_seconds=found[0].start_seconds, end_seconds=found[-1].end_seconds, score=score)


def _words(
    written: Sequence[str], timed: Sequence[_Timed | None], passage: Passage, speech: Sequence[Span]
) -> list[Word]:
    """Times in the recording's own clock; runs that could not be aligned are spread between their neighbours."""
    words: list[Word] = []
    latest = passage.start_seconds
    for is_aligned, run in groupby(zip(written, timed, strict=True), key=lambda pair: pair[1] is not None):
        pairs = list(run)
        if not is_aligned:
            following = timed[len(words) + len(pairs)] if len(words) + len(pairs) < len(timed) else None
            until = passage.start_seconds + following.start_seconds if following else passage.end_seconds
            place = Span(start_seconds=latest, end_seconds=max(latest, until))
            words += _between([text for text, _ in pairs], place, speech, is_last=following is None)
        for text, time in pairs:
            if time is not None:
                words.append(_word(text, time, latest, passage))
                latest = words[-1].end_seconds
        latest = words[-1].end_seconds
    return words


def _word(text: str, time: _Timed, earliest: float, passage: Passage) -> Word:
    start = min(max(earliest, passage.start_seconds + time.start_seconds), passage.end_seconds)
    end = min(max(start, passage.start_seconds + time.end_seconds), passage.end_seconds)
    confidence = 1 / (1 + math.exp(-(time.score - SCORE_MIDPOINT) * SCORE_SLOPE))
    return Word(text=text, start_seconds=round(start, 3), end_seconds=round(end, 3), confidence=round(confidence, 3))
