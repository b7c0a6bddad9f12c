"""Promises of the subtitle cutter that hold for every transcript, kept under Hypothesis."""

from __future__ import annotations

from itertools import pairwise

import pysubs2
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.exports import to_srt, to_vtt
from shared.domain.graphemes import columns, graphemes
from shared.domain.subtitles import FLOOR_MILLISECONDS, SubtitleStyle, cut
from shared.domain.transcripts import Engines, Segment, Speaker, Transcript, Word

WORDS = [
    "the", "a", "Extraordinarily", "it's", "time.", "times,", "end?", "well—", "e\u0301te\u0301", "naïve", "«oui»",
    "שלום", "עולם.", "مرحبا", "بالعالم،", "「東京」", "ラーメン", "한국어", "नमस्ते", "क्षत्रिय",
    "这是一个很长的句子，没有空格。",  # noqa: RUF001 - full-width punctuation is the point
    "ภาษาไทยไม่มีช่องว่าง", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "🇩🇪🇫🇷", "👍🏽", "x" * 70, "漢" * 50,
    "<b>", "-->", "&amp;", "1.", "1\u0301",
]  # fmt: skip
MARKS = "\u200e\u202b\u202c"  # direction marks that lines may carry
STYLES = st.builds(
    SubtitleStyle,
    max_columns=st.integers(16, 60),
    max_lines=st.integers(1, 3),
    columns_per_second=st.sampled_from([12.0, 17.0, 20.0]),
)


@st.composite
def segments(draw: st.DrawFn, *, overlapping: bool = False) -> list[Segment]:
    made, at = [], draw(st.floats(0, 5))
    for _ in range(draw(st.integers(1, 8))):
        words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=25))
        length = draw(st.floats(0.0, 14))
        speaker = draw(st.sampled_from(["A", "B", None]))
        made.append(_segment(words, at, length, speaker, with_words=draw(st.booleans())))
        at += draw(st.floats(0, 2)) if overlapping else length + draw(st.floats(0, 3))
    return made


def _segment(words: list[str], at: float, length: float, speaker: str | None, *, with_words: bool) -> Segment:
    step = length / len(words)
    timed = tuple(
        Word(text=word, start_seconds=at + index * step, end_seconds=at + (index + 1) * step, speaker_id=speaker)
        for index, word in enumerate(words)
    )
    return Segment(
        start_seconds=at,
        end_seconds=at + length,
        text=" ".join(words),
        speaker_id=speaker,
        words=timed if with_words else (),
    )


def _solid(text: str) -> str:
    return "".join(text.split())


@given(segments(), STYLES)
def test_every_word_is_shown_once_and_in_order(talk: list[Segment], style: SubtitleStyle) -> None:
    shown = "".join(_solid(line.strip(MARKS)) for cue in cut(talk, style) for line in cue.lines)
    assert shown == "".join(_solid(segment.text) for segment in talk)


@given(segments(overlapping=True), STYLES)
def test_no_word_is_lost_when_people_talk_over_one_another(talk: list[Segment], style: SubtitleStyle) -> None:
    shown = "".join(_solid(line.strip(MARKS)) for cue in cut(talk, style) for line in cue.lines)
    assert sorted(shown) == sorted("".join(_solid(segment.text) for segment in talk))


@given(segments(overlapping=True), STYLES, st.booleans())
def test_cues_fit_their_lines(talk: list[Segment], style: SubtitleStyle, named: bool) -> None:
    for cue in cut(talk, style, {"A": "Anna Anderson", "B": "ישראל"} if named else None):
        assert 1 <= len(cue.lines) <= style.max_lines
        assert all(columns(line) <= style.max_columns for line in cue.lines), cue


@given(segments(overlapping=True), STYLES)
def test_cues_never_overlap_and_last_long_enough(talk: list[Segment], style: SubtitleStyle) -> None:
    cues = cut(talk, style)
    for cue in cues:
        assert 0 < cue.end_milliseconds - cue.start_milliseconds <= 1000 * style.max_seconds
    for cue, following in pairwise(cues):
        assert cue.end_milliseconds <= following.start_milliseconds
        lasts = cue.end_milliseconds - cue.start_milliseconds
        assert lasts >= min(1000 * style.min_seconds, following.start_milliseconds - cue.start_milliseconds)
        assert lasts >= FLOOR_MILLISECONDS


@given(segments(overlapping=True), STYLES)
def test_a_cue_has_words_of_one_speaker_only(talk: list[Segment], style: SubtitleStyle) -> None:
    marks = {"A": "δ", "B": "β", None: "λ"}
    marked = [
        Segment(
            start_seconds=segment.start_seconds,
            end_seconds=segment.end_seconds,
            text=" ".join(marks[segment.speaker_id] * len(word) for word in segment.text.split()),
            speaker_id=segment.speaker_id,
        )
        for segment in talk
    ]
    for cue in cut(marked, style):
        assert set(_solid("".join(cue.lines))) == {marks[cue.speaker_id]}


@given(segments(), STYLES)
def test_no_letter_is_cut_in_two(talk: list[Segment], style: SubtitleStyle) -> None:
    """The oracle is the regex library's \\X, an independent implementation of Unicode's clusters."""
    whole = [cluster for segment in talk for word in segment.text.split() for cluster in regex.findall(r"\X", word)]
    lines = [line.strip(MARKS) for cue in cut(talk, style) for line in cue.lines]
    assert [cluster for line in lines for word in line.split() for cluster in regex.findall(r"\X", word)] == whole


@given(st.lists(st.sampled_from([*WORDS, "\u200d", "\r\n", "가", "각", "ᄀ", "ᅡ", "ᆨ"]), max_size=6).map("".join))
def test_our_clusters_are_those_of_the_regex_library(text: str) -> None:
    assert list(graphemes(text)) == regex.findall(r"\X", text)


@given(segments(overlapping=True))
@settings(max_examples=50)
def test_subtitle_files_read_back_with_the_same_times(talk: list[Segment]) -> None:
    speakers = tuple(Speaker(id=name, label=f"<{name}> & co", speaking_time_seconds=1) for name in "AB")
    transcript = Transcript(
        duration_seconds=200, language="en", engines=Engines(transcriber="t"), segments=tuple(talk), speakers=speakers
    )
    cues = cut(talk, SubtitleStyle(), {"A": "<A> & co", "B": "<B> & co"})
    srt = pysubs2.SSAFile.from_string(to_srt(transcript, SubtitleStyle()), format_="srt")
    assert [(event.start, event.end) for event in srt] == [
        (cue.start_milliseconds, cue.end_milliseconds) for cue in cues
    ]
    vtt = pysubs2.SSAFile.from_string(to_vtt(transcript, SubtitleStyle()), format_="vtt")
    plain = cut(talk, SubtitleStyle())
    assert [(event.start, event.end) for event in vtt] == [
        (cue.start_milliseconds, cue.end_milliseconds) for cue in plain
    ]
