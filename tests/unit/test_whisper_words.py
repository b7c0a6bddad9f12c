"""Whisper's tokens become the words of a text that reads as the model wrote it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from faster_whisper.transcribe import merge_punctuations

from gpu_jobs.chunks import Span, Window
from gpu_jobs.fanout import ChunkResult
from gpu_jobs.fidelity import without_loops
from gpu_jobs.merge import cut_segments
from gpu_jobs.rebuild import with_turns
from gpu_jobs.transcribe import Passage
from gpu_jobs.transcribe.whisper_decoding import passage_of
from shared.domain.options import TranscriptionOptions
from shared.domain.transcript_values import from_values, to_values, word_rows
from shared.domain.transcripts import Coverage, Engines, Transcript, Turn, Word

PREPENDED, APPENDED = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001 - the library's own defaults
WINDOW = Window(parts=(Span(start_seconds=0.0, end_seconds=600.0),))

# What the tokenizer of Whisper makes of these texts.
CHINESE = "我们|在|20|24|年|使|用|Open|AI|的|Chat|G|P|T|模|型|，|价|格|是|3|.|14|美元|，|共|15|00|人|。"  # noqa: RUF001
JAPANESE = "20|23|年|12|月|に|P|y|thon|3|を|イ|ン|スト|ール|しました|。|価|格|は|19|,|800|円|です|。"
THAI = "ส|ว|ั|ส|ด|ี|คร|ั|บ| |ว|ั|นน|ี้|อ|าก|า|ศ|ด|ี| |ร|า|ค|า| 12|50| |บ|า|ท"
ENGLISH = " It|'s| a| well|-|known| fact|:| 3|.14| dollars|,| 1500| people|."


def heard(tokens: str, language: str, start: float = 0.0) -> Passage:
    """The passage of such tokens, 0.2 s each, the n-th of probability 0.9 minus n thousandths."""
    timed = [
        {"word": token, "tokens": [1], "start": 0.2 * i, "end": 0.2 * i + 0.2, "probability": 0.9 - i / 1000}
        for i, token in enumerate(tokens.split("|"))
    ]
    merge_punctuations(timed, PREPENDED, APPENDED)
    words = [SimpleNamespace(**each) for each in timed if each["word"]]
    segment = SimpleNamespace(words=words, start=start, end=start + 0.2 * len(timed), avg_logprob=-0.1)
    return passage_of(segment, WINDOW, -start, language)


def written(passage: Passage) -> list[str]:
    return [word.text for word in passage.words]


@pytest.mark.parametrize(
    ("tokens", "language"), [(CHINESE, "zh"), (JAPANESE, "ja"), (THAI, "th"), (ENGLISH, "en"), ("是|的| OK| ", "yue")]
)
def test_the_text_is_what_the_model_wrote(tokens: str, language: str) -> None:
    passage = heard(tokens, language)

    said = " ".join(tokens.replace("|", "").split())
    assert passage.text == said
    assert "".join(segment.text for segment in cut_segments([passage], None)).replace(" ", "") == said.replace(" ", "")


def test_numbers_and_names_are_words_again() -> None:
    assert written(heard(CHINESE, "zh"))[:9] == ["我们", "在", "2024", "年", "使", "用", "OpenAI", "的", "ChatGPT"]
    assert {"3.14", "1500", "模", "型，"} < set(written(heard(CHINESE, "zh")))  # noqa: RUF001
    japanese = written(heard(JAPANESE, "ja"))
    assert {"2023", "Python3", "インストール", "しました。", "19,800"} < set(japanese)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ("用|G|PT|-|4|和|C|OV|ID|-|19", ["用", "GPT-4", "和", "COVID-19"]),
        ("看|audio|to|text|.|com|吧", ["看", "audiototext.com", "吧"]),
        ("Open| Source|软|件", ["Open", "Source", "软", "件"]),
        ("他|说|：|「|好|的|。|」|走", ["他", "说：", "「好", "的。」", "走"]),  # noqa: RUF001
        ("是|$|5|00|，|50|%|的", ["是", "$500，", "50%", "的"]),  # noqa: RUF001
        ("1|,|2|和|A|,|B", ["1,2", "和", "A,", "B"]),
        ("ก|็|ไ|ป|แ|ล|้|ว", ["ก็", "ไป", "แล้", "ว"]),
        ("き|ゃ|っ|と", ["きゃっ", "と"]),
        ("、|そう", ["、", "そう"]),
    ],
)
def test_a_word_ends_where_its_script_lets_it(tokens: str, words: list[str]) -> None:
    assert written(heard(tokens, "ja")) == words


def test_a_word_lasts_from_its_first_token_to_its_last_and_is_as_sure_as_the_least_sure() -> None:
    number = heard(CHINESE, "zh").words[2]

    assert (number.text, number.start_seconds, number.end_seconds, number.confidence) == ("2024", 0.4, 0.8, 0.897)
    assert heard("「|好|」", "zh").words[0].confidence == pytest.approx(0.899)  # a mark is not heard


def test_a_number_without_end_is_cut_and_so_found_to_be_a_loop() -> None:
    passage = heard("|".join(["1"] * 300), "zh")

    assert max(map(len, written(passage))) == 30
    assert without_loops([passage], "zh")[1] == 1


def test_a_decimal_point_ends_no_sentence() -> None:
    def texts(*words: Word) -> list[str]:
        passage = Passage(start_seconds=0.0, end_seconds=1.0, text="", words=words)
        return [segment.text for segment in cut_segments([passage], None)]

    three = Word(text="是3.", start_seconds=0.0, end_seconds=0.5)
    after = Word(text="14", start_seconds=0.5, end_seconds=1.0, space_before=False)
    assert texts(three, after) == ["是3.14"]
    assert texts(three, Word(text="14", start_seconds=0.5, end_seconds=1.0)) == ["是3.", "14"]


def test_spaces_survive_chunks_storage_and_another_look_for_speakers() -> None:
    chinese, thai = heard("Open|AI| 很|好|我|用| i|OS", "zh"), heard(THAI, "th", start=10.0)
    result = ChunkResult(engine="e", language="zh", passages=(chinese, thai), coverage=Coverage())
    assert ChunkResult.from_values(result.to_values()) == result

    segments = cut_segments(result.passages, None)
    assert [segment.text for segment in segments] == ["OpenAI 很好我用 iOS", "สวัสดีครับ วันนี้อากาศดี ราคา 1250 บาท"]
    transcript = Transcript(duration_seconds=20.0, language="zh", engines=Engines(transcriber="e"), segments=segments)
    stored = from_values(to_values(transcript), word_rows(transcript))
    assert stored == transcript

    turns = [Turn(start_seconds=0.0, end_seconds=20.0, speaker_id="A")]
    assert with_turns(stored, turns, TranscriptionOptions(), "d", {}).text == transcript.text


def test_passages_of_one_sentence_are_joined_as_their_script_is_written() -> None:
    def joined(language: str, first: str, second: str) -> str:
        (segment,) = cut_segments([heard(first, language), heard(second, language, start=0.6)], None)
        return segment.text

    assert joined("zh", "我们|今天", "去|北京") == "我们今天去北京"
    assert joined("zh", "我们|用", "Open|AI") == "我们用 OpenAI"
    assert joined("th", "ไป|ไหน", "มา") == "ไปไหน มา"
    assert joined("en", " we| went", " home") == "we went home"
