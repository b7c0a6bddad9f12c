"""Word times by forced alignment, on a real recording and on texts that fight back."""

from __future__ import annotations

from itertools import pairwise

import pytest

from gpu_jobs.align import UNALIGNED_CONFIDENCE, Aligner, spread_over
from gpu_jobs.audio import Recording, decode_recording
from gpu_jobs.chunks import Span
from gpu_jobs.speech import find_speech
from gpu_jobs.transcribe import Passage
from shared.domain.transcripts import Word
from tests.data.recordings import BECKETT

TEXT = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner()


@pytest.fixture(scope="module")
def beckett() -> Recording:
    return decode_recording(BECKETT)


def align(aligner: Aligner, recording: Recording, text: str, start: float = 0.0, end: float = 9.9) -> list[Word]:
    passage = Passage(start_seconds=start, end_seconds=end, text=text)
    words = list(aligner.align(passage, recording, find_speech(recording)).words)
    assert [word.text for word in words] == text.split()
    for word in words:
        assert start <= word.start_seconds <= word.end_seconds <= end
        assert word.confidence is not None
        assert word.aligned or word.confidence == UNALIGNED_CONFIDENCE
    for before, after in pairwise(words):
        assert before.end_seconds <= after.start_seconds + 1e-6
    return words


def test_words_are_found_where_the_voice_detector_hears_them(aligner: Aligner, beckett: Recording) -> None:
    words = align(aligner, beckett, TEXT)

    assert all(word.aligned for word in words)
    sentences = [words[index : index + 2] for index in range(0, 12, 2)]
    for span, (first, last) in zip(find_speech(beckett), sentences, strict=True):
        assert first.start_seconds == pytest.approx(span.start_seconds, abs=0.25)
        assert last.end_seconds == pytest.approx(span.end_seconds, abs=0.25)


def test_the_right_words_have_more_confidence_than_wrong_ones(aligner: Aligner, beckett: Recording) -> None:
    def mean(words: list[Word]) -> float:
        return sum(word.confidence or 0.0 for word in words) / len(words)

    wrong = align(aligner, beckett, "Umbrella shop. Purple zebra. Go home. Milk please. Seven oranges. Sunny beach.")

    assert mean(align(aligner, beckett, TEXT)) > mean(wrong)


def test_words_no_dictionary_has_are_sounded_out(aligner: Aligner, beckett: Recording) -> None:
    words = align(aligner, beckett, TEXT.replace("failed", "faylded"))

    assert all(word.aligned for word in words)


def test_what_has_no_sound_is_placed_between_its_neighbours_and_marked(aligner: Aligner, beckett: Recording) -> None:
    words = align(aligner, beckett, "Ever tried. — Ever failed. 你好 No matter. Try again. Fail again. Fail better. …")

    assert [word.text for word in words if not word.aligned] == ["—", "你好", "…"]
    _, _, dash, ever, *_, better, dots = words
    assert dash.start_seconds == dash.end_seconds == pytest.approx(ever.start_seconds)
    assert dots.start_seconds == dots.end_seconds == better.end_seconds


def test_a_text_that_does_not_fit_is_spread_over_the_speech(aligner: Aligner, beckett: Recording) -> None:
    words = align(aligner, beckett, " ".join(["incomprehensibilities"] * 60), end=3.0)

    assert not any(word.aligned for word in words)
    assert words[0].start_seconds == pytest.approx(0.2, abs=0.3)


def test_too_little_sound_for_a_word_still_gives_it_a_place(aligner: Aligner, beckett: Recording) -> None:
    align(aligner, beckett, "Nevertheless", start=0.0, end=0.05)
    assert all(word.aligned for word in align(aligner, beckett, TEXT))  # and the aligner still works


def test_an_empty_text_has_no_words(aligner: Aligner, beckett: Recording) -> None:
    passage = Passage(start_seconds=0.0, end_seconds=1.0, text="  ")

    assert aligner.align(passage, beckett, ()).words == ()


def test_a_word_not_found_in_the_sound_is_put_where_there_is_speech(aligner: Aligner, beckett: Recording) -> None:
    passage = Passage(start_seconds=0.0, end_seconds=9.9, text=TEXT.replace("tried.", "tried. 你好"))
    speech = [Span(start_seconds=0.1, end_seconds=1.0), Span(start_seconds=1.5, end_seconds=9.9)]

    _, tried, hello, ever, *_ = aligner.align(passage, beckett, speech).words

    assert tried.end_seconds < hello.start_seconds == 1.5
    assert hello.end_seconds == pytest.approx(ever.start_seconds)


def test_spreading_leaves_out_the_silence_between_places() -> None:
    places = [Span(start_seconds=1.0, end_seconds=2.0), Span(start_seconds=5.0, end_seconds=6.0)]

    words = spread_over(["slippers", "slippery"], places)

    assert [(w.start_seconds, w.end_seconds) for w in words] == [(1.0, 2.0), (2.0, 6.0)]


def test_words_are_drawn_no_longer_than_somebody_slow_would_and_marks_take_no_time() -> None:
    words = spread_over(["well", "—", "B2", "你"], [Span(start_seconds=10.0, end_seconds=60.0)])

    assert [(w.start_seconds, w.end_seconds) for w in words] == [(10.0, 10.8), (10.8, 10.8), (10.8, 11.8), (11.8, 12.3)]
