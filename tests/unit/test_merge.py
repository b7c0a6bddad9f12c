"""Words and turns become segments and speakers."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_jobs.merge import assign_speakers, cut_segments, in_order, join_words, name_speakers
from gpu_jobs.transcribe import Passage
from shared.domain.transcripts import Turn, Word


def spoken(text: str, start: float = 0.0, each: float = 0.5) -> Passage:
    """A passage whose words follow each other, ``each`` seconds long."""
    words = tuple(
        Word(text=word, start_seconds=start + index * each, end_seconds=start + (index + 1) * each, confidence=0.5)
        for index, word in enumerate(text.split())
    )
    return Passage(start_seconds=start, end_seconds=words[-1].end_seconds, text=text, words=words)


def turn(speaker: str, start: float, end: float) -> Turn:
    return Turn(start_seconds=start, end_seconds=end, speaker_id=speaker)


def said_by(passages: list[Passage], turns: list[Turn]) -> list[tuple[str | None, str]]:
    return [(segment.speaker_id, segment.text) for segment in cut_segments(passages, turns)]


def test_a_segment_ends_with_its_sentence() -> None:
    segments = cut_segments([spoken("It rained. Did it? Yes")], None)

    assert [s.text for s in segments] == ["It rained.", "Did it?", "Yes"]
    assert [s.speaker_id for s in segments] == [None, None, None]


def test_mister_is_not_the_end_of_a_sentence() -> None:
    assert len(cut_segments([spoken("Good day, Mr. Hale.")], None)) == 1


def test_a_sentence_may_run_over_two_passages() -> None:
    segments = cut_segments([spoken("we were all", 0.0), spoken("going to heaven.", 1.6)], None)

    assert [s.text for s in segments] == ["we were all going to heaven."]


def test_a_pause_ends_a_segment() -> None:
    segments = cut_segments([spoken("so anyway", 0.0), spoken("hello there", 3.0)], None)

    assert [s.text for s in segments] == ["so anyway", "hello there"]


def test_a_sentence_nobody_ends_is_cut_before_it_gets_unreadable() -> None:
    segments = cut_segments([spoken(" ".join(["word"] * 200))], None)

    assert all(s.end_seconds - s.start_seconds <= 30.0 for s in segments)
    assert sum(len(s.words) for s in segments) == 200


def test_segments_are_cut_where_the_speaker_changes() -> None:
    turns = [turn("A", 0.0, 1.0), turn("B", 1.0, 2.5)]

    assert said_by([spoken("how are you very well")], turns) == [("A", "how are"), ("B", "you very well")]


def test_a_word_on_the_edge_of_a_turn_goes_with_its_sentence() -> None:
    turns = [turn("A", 0.0, 1.8), turn("B", 1.75, 4.0)]  # "me?" lasts from 1.5 to 2.0: a little more of A than of B

    assert said_by([spoken("Do you hear me? Yes I do.")], turns) == [("A", "Do you hear me?"), ("B", "Yes I do.")]


def test_a_yes_with_a_turn_of_its_own_keeps_its_speaker_inside_a_sentence() -> None:
    turns = [turn("A", 0.0, 1.0), turn("B", 1.0, 1.5), turn("A", 1.5, 2.5)]

    assert said_by([spoken("so then yes we went")], turns) == [("A", "so then"), ("B", "yes"), ("A", "we went")]


@pytest.mark.parametrize("each", [0.5, 0.25])
def test_two_words_on_the_edges_of_two_turns_do_not_change_places(each: float) -> None:
    turns = [turn("A", 0.0, 0.4 * each), turn("B", 1.6 * each, 4.0)]  # less than half of either word

    assert said_by([spoken("really yes", each=each)], turns) == [("A", "really"), ("B", "yes")]


def test_words_around_an_edge_stay_though_no_turn_covers_them() -> None:
    turns = [turn("A", 0.0, 1.5), turn("B", 1.7, 1.9), turn("A", 2.1, 2.3)]

    assert said_by([spoken("so then we went home")], turns) == [("A", "so then we went home")]


def test_a_word_between_turns_goes_to_the_nearer_one() -> None:
    words = assign_speakers(
        spoken("well").words + spoken("right.", 4.0).words, [turn("A", 0.6, 2.0), turn("B", 3.9, 5.0)]
    )

    assert [word.speaker_id for word in words] == ["A", "B"]


def test_words_after_a_long_turn_are_its_speaker_s_whoever_said_mhm_during_it() -> None:
    turns = [turn("A", 0.0, 60.0), turn("B", 5.0, 5.4), turn("B", 64.0, 70.0)]

    assert said_by([spoken("that is all folks.", 60.2, each=0.3)], turns) == [("A", "that is all folks.")]


@given(
    turns=st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 30), st.integers(1, 9)), min_size=1, max_size=6),
    start=st.integers(0, 40),
    length=st.integers(0, 5),
)
def test_a_word_is_given_to_whom_a_look_at_every_turn_gives_it(
    turns: list[tuple[str, int, int]], start: int, length: int
) -> None:
    end = start + length
    covered: dict[str, set[int]] = {speaker: set() for speaker, _, _ in turns}
    distance = dict.fromkeys(covered, math.inf)
    for speaker, begin, lasts in turns:
        covered[speaker] |= {second for second in range(start, end) if begin <= second < begin + lasts}
        distance[speaker] = min(distance[speaker], max(begin - end, start - begin - lasts, 0))

    heard = [turn(speaker, begin, begin + lasts) for speaker, begin, lasts in turns]
    (word,) = assign_speakers([Word(text="so", start_seconds=start, end_seconds=end)], heard)

    assert word.speaker_id is not None
    assert len(covered[word.speaker_id]) == max(len(seconds) for seconds in covered.values())
    assert distance[word.speaker_id] == min(distance.values())


def test_words_without_any_turn_belong_to_one_speaker() -> None:
    assert {s for s, _ in said_by([spoken("Hello there. Hi.")], [])} == {"SPEAKER_00"}


def test_overlapping_turns_go_to_the_voice_that_covers_more_of_the_word() -> None:
    turns = [turn("A", 0.0, 2.0), turn("B", 0.4, 1.0)]

    assert said_by([spoken("one two three four")], turns) == [("A", "one two three four")]


def test_speakers_are_numbered_by_first_appearance_and_their_time_is_that_of_their_turns() -> None:
    turns = [turn("X", 0.0, 0.2), turn("B", 0.5, 1.5), turn("A", 1.5, 2.5), turn("B", 2.5, 3.0)]
    segments = cut_segments([spoken("Good day. Hello you. Bye.", 0.5)], turns)

    named, speakers = name_speakers(segments, turns)

    assert [s.speaker_id for s in named] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"]
    assert [(s.id, s.label, s.speaking_time_seconds) for s in speakers] == [
        ("SPEAKER_00", "Speaker 1", 1.5),
        ("SPEAKER_01", "Speaker 2", 1.0),
    ]  # X never says a word
    assert all(word.speaker_id == segment.speaker_id for segment in named for word in segment.words)


def test_a_passage_confidence_wins_over_its_words() -> None:
    passage = Passage(start_seconds=0, end_seconds=1, text="Hi.", confidence=0.9, words=spoken("Hi.").words)

    assert cut_segments([passage], None)[0].confidence == 0.9
    assert cut_segments([spoken("Hi.")], None)[0].confidence == 0.5


@given(times=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20))))
def test_whatever_times_an_engine_gives_they_come_out_monotone_and_inside_the_recording(
    times: list[tuple[float, float]],
) -> None:
    words = tuple(Word(text="so", start_seconds=start, end_seconds=end) for start, end in times)
    passage = Passage(start_seconds=0.0, end_seconds=20.0, text="", words=words)

    (ordered,) = in_order([passage], 10.0)

    edges = [edge for word in ordered.words for edge in (word.start_seconds, word.end_seconds)]
    assert edges == sorted(edges)
    assert len(ordered.words) == len(words)
    assert all(0 <= edge <= 10 for edge in edges)


def test_words_are_joined_with_the_spaces_they_were_written_with() -> None:
    chinese = [("我", False), ("用", False), ("open", False), ("source", True), ("软件。", False)]
    words = [Word(text=text, start_seconds=0, end_seconds=0, space_before=space) for text, space in chinese]

    assert join_words(words) == "我用open source软件。"
    assert join_words(spoken("one two").words) == "one two"
    assert join_words([]) == ""


@given(
    words=st.lists(st.tuples(st.sampled_from(["so", "yes.", "no?", "well,"]), st.integers(0, 2_000)), min_size=1),
    turns=st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 60_000), st.integers(1, 9_000))),
)
def test_no_word_is_lost_doubled_or_moved_whatever_the_turns(
    words: list[tuple[str, int]], turns: list[tuple[str, int, int]]
) -> None:
    at, timed = 0.0, []
    for text, milliseconds in words:
        timed.append(Word(text=text, start_seconds=at, end_seconds=at + milliseconds / 1000))
        at += milliseconds / 1000
    passage = Passage(start_seconds=0.0, end_seconds=at, text="", words=tuple(timed))
    heard = [turn(speaker, start / 1000, (start + length) / 1000) for speaker, start, length in turns]

    segments, speakers = name_speakers(cut_segments([passage], heard), heard)

    assert [word.text for segment in segments for word in segment.words] == [text for text, _ in words]
    for before, after in pairwise(segments):
        assert before.end_seconds <= after.start_seconds
    assert {segment.speaker_id for segment in segments} == {speaker.id for speaker in speakers}


@pytest.mark.parametrize(
    "text",
    [
        "یہ پہلا جملہ ہے۔ یہ دوسرا جملہ ہے۔",  # noqa: RUF001 - other full stops are the point
        "ပထမ စာကြောင်း။ ဒုတိယ စာကြောင်း။",
        "ሰላም ነው። ደህና ነው።",
        "Բարեւ ձեզ։ Ինչպես եք։",  # noqa: RUF001
        "សួស្តី។ អរគុណ។",
        "यह पहला है। यह दूसरा है।",
        "はい｡ いいえ｡",
        "はい． いいえ．",  # noqa: RUF001
        "（はい。） 「いいえ。」",  # noqa: RUF001
        "»Hej.« »Farvel.«",
        "”Hej.” ”Hejdå.”",
    ],
)
def test_a_sentence_ends_with_the_full_stop_of_its_script(text: str) -> None:
    assert len(cut_segments([spoken(text)], None)) == 2


@pytest.mark.parametrize("text", ["「 はい。 」 と", "（ 笑 了。 ） 好", "he left. )", "so. ” and", "好。 」』 吗"])  # noqa: RUF001
def test_no_segment_begins_with_a_closing_mark(text: str) -> None:
    assert len(cut_segments([spoken(text)], None)) == 1
