"""The export formats, each read back by something that is not ours."""

from __future__ import annotations

import io
from dataclasses import replace

import docx
import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.docx import to_docx
from shared.domain.exports import document_of, to_md, to_srt, to_tsv, to_txt, to_vtt
from shared.domain.subtitles import SubtitleStyle
from shared.domain.transcripts import Engines, Segment, Speaker, Summary, Transcript

STYLE = SubtitleStyle()


@pytest.fixture
def transcript() -> Transcript:
    return Transcript(
        duration_seconds=12.5,
        language="en",
        engines=Engines(transcriber="moonshine:tiny-en"),
        segments=(
            Segment(start_seconds=0.0, end_seconds=2.0, text="Hello & welcome.", speaker_id="SPEAKER_00"),
            Segment(start_seconds=2.0, end_seconds=4.5, text="This is the <show>.", speaker_id="SPEAKER_00"),
            Segment(start_seconds=5.0, end_seconds=7.25, text="Thank\tyou,\nHost.", speaker_id="SPEAKER_01"),
        ),
        speakers=(
            Speaker(id="SPEAKER_00", label="Host", speaking_time_seconds=4.5),
            Speaker(id="SPEAKER_01", label="Guest", speaking_time_seconds=2.25),
        ),
        summary=Summary(text="A *short* greeting.", topics=("greetings", "shows")),
    )


def test_plain_text_names_each_turn_once(transcript: Transcript) -> None:
    text = to_txt(document_of(transcript, "a.mp3", timestamps=True))
    assert text == "Host: Hello & welcome. This is the <show>.\n\nGuest: Thank you, Host.\n"


def test_srt_puts_the_name_before_the_first_cue_of_a_turn(transcript: Transcript) -> None:
    assert to_srt(transcript, STYLE) == (
        "1\n00:00:00,000 --> 00:00:04,500\nHost: Hello & welcome. This is the <show>.\n\n"
        "2\n00:00:05,000 --> 00:00:07,250\nGuest: Thank you, Host.\n"
    )


def test_vtt_marks_voices_and_escapes_markup(transcript: Transcript) -> None:
    vtt = to_vtt(transcript, STYLE)
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:04.500\n<v Host>Hello &amp; welcome.")
    assert "&lt;show&gt;" in vtt
    assert "\n\n00:00:05.000 --> 00:00:07.250\n<v Guest>Thank you, Host.\n" in vtt


def test_tsv_keeps_one_line_per_segment(transcript: Transcript) -> None:
    rows = [line.split("\t") for line in to_tsv(transcript).splitlines()]
    assert rows == [
        ["start", "end", "speaker", "text"],
        ["0", "2000", "Host", "Hello & welcome."],
        ["2000", "4500", "Host", "This is the <show>."],
        ["5000", "7250", "Guest", "Thank you, Host."],
    ]


def test_markdown_escapes_what_would_be_markup(transcript: Transcript) -> None:
    text = to_md(document_of(transcript, "my_talk.mp3", timestamps=True))
    assert text.startswith("# my\\_talk.mp3\n\n## Summary\n\nA \\*short\\* greeting.\n\n- greetings\n- shows\n")
    assert "**Host** \\[00:00:00\\]  \nHello & welcome. This is the \\<show\\>." in text


def test_word_file_opens_in_a_library_that_is_not_ours(transcript: Transcript) -> None:
    document = docx.Document(io.BytesIO(to_docx(document_of(transcript, "a.mp3", timestamps=True))))
    paragraphs = [
        (paragraph.style.name if paragraph.style else "", paragraph.text) for paragraph in document.paragraphs
    ]
    assert paragraphs == [
        ("Title", "a.mp3"),
        ("Heading 1", "Summary"),
        ("Normal", "A *short* greeting."),
        ("Normal", "Topics: greetings, shows"),
        ("Heading 1", "Transcript"),
        ("Speaker", "Host [00:00:00]"),
        ("Normal", "Hello & welcome. This is the <show>."),
        ("Speaker", "Guest [00:00:05]"),
        ("Normal", "Thank you, Host."),
    ]


def test_word_file_lays_hebrew_out_from_the_right(transcript: Transcript) -> None:
    hebrew = replace(transcript, segments=(replace(transcript.segments[0], text="שלום לכולם"),))
    document = docx.Document(io.BytesIO(to_docx(document_of(hebrew, "a.mp3", timestamps=False))))
    xml = document.paragraphs[-1]._p.xml
    assert "<w:bidi/>" in xml
    assert "<w:rtl/>" in xml


@given(st.text(), st.text())
def test_any_text_and_any_name_make_well_formed_files(text: str, name: str) -> None:
    made = Transcript(
        duration_seconds=5,
        language="en",
        engines=Engines(transcriber="t"),
        segments=(Segment(start_seconds=0, end_seconds=4, text=text, speaker_id="S"),),
        speakers=(Speaker(id="S", label=name, speaking_time_seconds=4),),
    )
    document = document_of(made, name, timestamps=True)
    docx.Document(io.BytesIO(to_docx(document)))
    to_md(document)
    assert all(row.count("\t") == 3 for row in to_tsv(made).splitlines())
    blocks = to_vtt(made, STYLE).split("\n\n")
    assert blocks[0].strip() == "WEBVTT"
    assert all(block.count("-->") == 1 for block in blocks[1:])
    pysubs2.SSAFile.from_string(to_srt(made, STYLE), format_="srt")


def test_times_are_left_out_where_the_customer_wanted_none(transcript: Transcript) -> None:
    assert "00:00" not in to_md(document_of(transcript, "a", timestamps=False))
    assert "00:00" not in to_txt(document_of(transcript, "a", timestamps=False))


def test_an_empty_transcript_makes_empty_files(transcript: Transcript) -> None:
    silent = replace(transcript, segments=(), summary=None)
    assert to_srt(silent, STYLE) == ""
    assert to_vtt(silent, STYLE) == "WEBVTT\n"
    assert to_txt(document_of(silent, "a", timestamps=True)) == "\n"
