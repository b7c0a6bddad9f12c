"""Where sentences of different scripts meet."""

from __future__ import annotations

import pytest

from shared.domain.exports import document_of, to_srt, to_txt
from shared.domain.scripts import join_texts
from shared.domain.subtitles import SubtitleStyle
from shared.domain.transcripts import Engines, Segment, Transcript


@pytest.mark.parametrize(
    ("texts", "joined"),
    [
        (["It rained.", "Did it?"], "It rained. Did it?"),
        (["我们走。", "好的。"], "我们走。好的。"),
        (["今天下雨", "明天不下"], "今天下雨明天不下"),
        (["时々", "々します"], "时々々します"),
        (["他说：“走吧。”", "“好。”"], "他说：“走吧。”“好。”"),  # noqa: RUF001 - Chinese marks are the point
        (["我用OpenAI", "很好。"], "我用OpenAI 很好。"),
        (["是真的。", "2024年"], "是真的。2024年"),
        (["OK.", "我们走。"], "OK. 我们走。"),
        (["はい。", "「いいえ」", "（笑）"], "はい。「いいえ」（笑）"),  # noqa: RUF001
        (["สวัสดีครับ", "วันนี้"], "สวัสดีครับ วันนี้"),
        (["大韓民國은", "그렇다."], "大韓民國은 그렇다."),
        (["“Hello.”", "“Bye.”"], "“Hello.” “Bye.”"),
        (["…", "", "so"], "… so"),
        ([], ""),
    ],
)
def test_a_space_stands_between_sentences_where_their_scripts_have_one(texts: list[str], joined: str) -> None:
    assert join_texts(texts) == joined


def test_a_chinese_transcript_reads_without_spaces_in_text_files_and_subtitles() -> None:
    sentences = ["我们走。", "好的。", "OK.", "再见。"]
    segments = [Segment(start_seconds=i, end_seconds=i + 1.0, text=text) for i, text in enumerate(sentences)]
    transcript = Transcript(
        duration_seconds=4, language="zh", engines=Engines(transcriber="t"), segments=tuple(segments)
    )
    text = "我们走。好的。OK. 再见。"

    assert transcript.text == text
    assert to_txt(document_of(transcript, "a", timestamps=False)) == text + "\n"
    assert to_srt(transcript, SubtitleStyle()).splitlines()[2] == text
