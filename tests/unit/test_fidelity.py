"""Loops, gaps and inventions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_jobs.chunks import Span
from gpu_jobs.fidelity import fill_gaps, find_gaps, without_invented, without_loops
from gpu_jobs.transcribe import Passage
from shared.domain.transcripts import Word


def spoken(text: str, start: float = 0.0, pace: float = 0.5) -> Passage:
    texts = text.split()
    words = tuple(
        Word(text=word, start_seconds=start + pace * i, end_seconds=start + pace * (i + 0.9))
        for i, word in enumerate(texts)
    )
    return Passage(start_seconds=start, end_seconds=start + pace * len(texts), text=text, words=words)


def span(start: float, end: float) -> Span:
    return Span(start_seconds=start, end_seconds=end)


def test_a_loop_is_said_once_and_counted() -> None:
    loop = "and I think that " * 9
    (passage,), loops = without_loops([spoken(f"Well, {loop}is it.")], "en")

    assert passage.text == "Well, and I think that is it."
    assert loops == 1
    assert [word.text for word in passage.words] == passage.text.split()


def test_a_loop_that_goes_on_from_passage_to_passage_is_said_once_and_a_vote_is_counted_out() -> None:
    loop = [spoken("Thank you.", 2.0 * index) for index in range(9)]
    vote = [spoken("Yes.", 2.0 * index) for index in range(20)]

    left, loops = without_loops([*loop, spoken("Goodbye.", 18.0)], "en")

    assert [passage.text for passage in left] == ["Thank you.", "Goodbye."]
    assert loops == 1
    assert without_loops(vote, "en") == (tuple(vote), 0)


def test_people_may_repeat_themselves() -> None:
    passages = [spoken("No, no, no, no, no! Very, very, very good. Ha ha ha ha ha."), spoken("try again " * 5)]

    assert without_loops(passages, "en") == (tuple(passages), 0)


def spaceless(text: str, start: float = 0.0) -> Passage:
    """A passage whose every letter is a word, as Whisper gives Chinese."""
    words = tuple(
        Word(text=letter, start_seconds=start + 0.2 * i, end_seconds=start + 0.2 * (i + 1), space_before=i == 0)
        for i, letter in enumerate(text)
    )
    return Passage(start_seconds=start, end_seconds=words[-1].end_seconds, text=text, words=words)


@pytest.mark.parametrize(
    ("once", "times", "language"),
    [
        ("请不吝点赞订阅转发打赏支持明镜与点点栏目", 10, "zh"),
        ("请不吝点赞订阅转发打赏支持明镜与点点栏目", 4, "zh"),
        ("谢谢大家", 10, "zh"),
        ("ご視聴ありがとうございました", 5, "ja"),
        ("字幕由社群提供感谢您的观看请点赞订阅转发打赏支持明镜与点点栏目", 6, "yue"),
        ("ขอบคุณครับ", 12, "th"),
    ],
)
def test_a_loop_in_a_script_without_spaces_is_measured_in_letters(once: str, times: int, language: str) -> None:
    (passage,), loops = without_loops([spaceless("好" + once * times + "完")], language)

    assert (passage.text, loops) == (f"好{once}完", 1)


@pytest.mark.parametrize("text", ["加油" * 6, "对不对" * 4, "没关系" * 4, "哈" * 12, "1" * 12, "はい" * 6])
def test_chants_and_laughter_in_a_script_without_spaces_stay(text: str) -> None:
    passages = (spaceless(text),)

    assert without_loops(passages, "ja") == (passages, 0)


def test_a_vote_in_a_script_without_spaces_is_counted_out() -> None:
    vote = [spaceless("同意", 2.0 * index) for index in range(30)]

    assert without_loops(vote, "zh") == (tuple(vote), 0)


def test_a_long_sentence_over_and_over_is_a_loop_and_one_said_four_times_is_not() -> None:
    sentence = "thank you for watching please subscribe to my channel and see you next time "
    (passage,), loops = without_loops([spoken("So " + sentence * 8 + "bye")], "en")

    assert (passage.text, loops) == (f"So {sentence}bye", 1)
    assert without_loops([spoken(sentence * 4)], "en")[1] == 0


def test_hours_of_votes_and_of_numbers_are_no_loops() -> None:
    votes = [spoken("Yes.", 2.0 * index) for index in range(20_000)]
    talk = [spoken(f"{index} and {index % 7} or so on", 3.0 * index) for index in range(10_000)]

    assert without_loops(votes, "en")[1] == 0
    assert without_loops(talk, "en")[1] == 0


@given(texts=st.lists(st.sampled_from("哈对不"), max_size=90))
def test_what_is_left_of_chinese_has_no_loop(texts: list[str]) -> None:
    (left,), _ = without_loops([spaceless("好" + "".join(texts))], "zh")

    assert without_loops([left], "zh") == ((left,), 0)


@given(texts=st.lists(st.sampled_from(["a", "b", "c"]), max_size=60))
def test_what_is_left_has_no_loop_and_is_in_the_order_it_was(texts: list[str]) -> None:
    (left,), _ = without_loops([spoken(" ".join(texts))], "en")

    assert without_loops([left], "en") == ((left,), 0)
    remaining = iter(texts)
    assert all(word.text in remaining for word in left.words)  # a subsequence


def test_speech_without_words_is_a_gap_and_a_short_stretch_is_not() -> None:
    words = spoken("one two three", start=0.0).words + spoken("four five", start=10.0).words

    assert find_gaps([span(0, 3.0), span(5, 9), span(9.9, 11)], words) == (span(1.85, 3.0), span(5, 9))
    assert find_gaps([span(0, 2.5)], spoken("one two three").words) == ()
    assert find_gaps([], words) == ()


def test_a_mark_that_nobody_found_in_the_sound_covers_no_speech() -> None:
    mark = Word(text="—", start_seconds=2.0, end_seconds=2.0, aligned=False)
    found = replace(mark, aligned=True)

    assert find_gaps([span(1.0, 3.0)], [mark]) == (span(1.0, 3.0),)
    assert find_gaps([span(1.0, 3.0)], [found]) == ()


def test_new_words_stand_in_their_gap_and_no_old_word_changes() -> None:
    old = [spoken("one two", 0.0), spoken("seven eight", 8.0)]
    found = [spoken("two three four five six seven", 1.0, pace=1.0)]

    filled = fill_gaps(old, [span(2.0, 6.0)], found)

    said = [word.text for passage in filled for word in passage.words]
    assert said == ["one", "two", "three", "four", "five", "six", "seven", "eight"]


def test_a_gap_in_the_middle_of_a_passage_splits_it() -> None:
    passage = Passage(
        start_seconds=0.0, end_seconds=10.0, text="", words=spoken("a b", 0.0).words + spoken("e f", 8.0).words
    )

    filled = fill_gaps([passage], [span(2.0, 7.0)], [spoken("c d", 3.0)])

    assert [p.text for p in filled] == ["a b", "c d", "e f"]


def test_words_where_nobody_speaks_are_dropped() -> None:
    passages = [spoken("Hello there.", 1.0), spoken("Thanks for watching!", 20.0)]

    assert without_invented(passages, [span(0.9, 2.2)]) == (passages[0],)
