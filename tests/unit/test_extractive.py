"""Summaries and topics without a model."""

from __future__ import annotations

from gpu_jobs.summarize.extractive import MAX_SENTENCES_AT_ONCE, summarize
from shared.domain.transcripts import Segment

TALK = """
The city council met on Monday to decide on the new tram line. The tram line will run from the harbour to the
university. Several residents spoke against the tram line because of the noise. The mayor said that the tram line will
bring the university closer to the harbour. Lunch was served at noon. A study of the noise found that trams are
quieter than buses. The council voted for the tram line by nine to four. Construction of the tram line begins in
spring. Somebody lost an umbrella in the lobby. The harbour station will be the first to open. Residents will be told
about the noise in writing. The university has promised a third of the money for the tram line.
"""


def segments_of(text: str) -> list[Segment]:
    sentences = [f"{sentence.strip()}." for sentence in " ".join(text.split()).split(".") if sentence.strip()]
    return [Segment(start_seconds=i, end_seconds=i + 1, text=text) for i, text in enumerate(sentences)]


def test_a_summary_is_made_of_sentences_of_the_talk_in_their_order() -> None:
    segments = segments_of(TALK)

    summary = summarize(segments, "en")

    assert summary is not None
    texts = [segment.text for segment in segments]
    chosen = [text for text in texts if text in summary.text]
    assert summary.text == " ".join(chosen)
    assert len(chosen) == 2
    assert all("tram line" in text for text in chosen)


def test_topics_are_what_the_talk_is_about() -> None:
    summary = summarize(segments_of(TALK), "en")

    assert summary is not None
    assert any("tram" in topic for topic in summary.topics[:3])
    assert len(summary.topics) <= 8
    assert not [t for t in summary.topics for other in summary.topics if t != other and t in other]


def test_a_talk_in_a_script_without_spaces_is_not_its_own_topic() -> None:
    summary = summarize(segments_of("สวัสดีครับวันนี้เราจะพูดถึงเรื่องการเงิน" * 40), "th")

    assert summary is not None
    assert summary.topics == ()
    short = summarize(segments_of("การเงิน ประเทศไทย. การเงิน ประเทศไทย."), "th")
    assert short is not None
    assert short.topics


def test_nothing_said_has_no_summary() -> None:
    assert summarize([], "en") is None
    assert summarize(segments_of("   "), "en") is None


def test_a_single_word_is_its_own_summary() -> None:
    summary = summarize(segments_of("Yes."), "en")

    assert summary is not None
    assert summary.text == "Yes."


def test_a_repeated_sentence_is_said_once() -> None:
    summary = summarize(segments_of("We want more trams now. " * 30), "en")

    assert summary is not None
    assert summary.text == "We want more trams now."


def test_other_languages_work_without_their_own_stop_words() -> None:
    summary = summarize(segments_of("Miasto zbuduje linię tramwajową. Linia tramwajowa ruszy wiosną."), "xx")

    assert summary is not None
    assert "Linia tramwajowa" in summary.text


def test_a_talk_of_many_hours_is_ranked_in_parts() -> None:
    text = " ".join(f"Speaker number {i} talks about item {i % 37} of the long agenda." for i in range(3_000))

    summary = summarize(segments_of(text), "en")

    assert len(segments_of(text)) > 2 * MAX_SENTENCES_AT_ONCE
    assert summary is not None
    assert 0 < len(summary.text) < 1_000


def test_a_sentence_with_pauses_in_it_is_kept_whole() -> None:
    said = ("And so my fellow Americans", "ask not", "what your country can do for you,", "ask what you can do for it.")
    segments = [Segment(start_seconds=i, end_seconds=i + 1, text=text) for i, text in enumerate(said)]

    summary = summarize(segments, "en")

    assert summary is not None
    assert summary.text == " ".join(said)


def test_two_speakers_make_no_sentence_together() -> None:
    segments = [
        Segment(start_seconds=0, end_seconds=1, text="I think that we should", speaker_id="A"),
        Segment(start_seconds=1, end_seconds=2, text="Never in all of my life!", speaker_id="B"),
    ]

    summary = summarize(segments, "en")

    assert summary is not None
    assert summary.text == "I think that we should … Never in all of my life!"


def test_words_without_any_full_stop_are_no_sentence_of_an_hour() -> None:
    segments = [Segment(start_seconds=i, end_seconds=i + 1, text=f"and then {i} more of them came") for i in range(600)]

    summary = summarize(segments, "en")

    assert summary is not None
    assert all(len(part.split()) <= 60 for part in summary.text.split(" … "))


def test_a_talk_without_spaces_or_full_stops_is_not_its_own_summary() -> None:
    said = "今天我们讨论这个项目的进展然后再看看下一步要怎么做"
    segments = [Segment(start_seconds=i, end_seconds=i + 1, text=f"{said}{i}") for i in range(600)]

    summary = summarize(segments, "zh")

    assert summary is not None
    assert 0 < len(summary.text) < 1_500
