"""A transcript as a file that other programs, or people, open: the text formats. Word is in shared.domain.docx.

Each function is pure and total: whatever a recording or a speaker's label holds, the file is well-formed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from shared.domain.graphemes import clean, columns, has_right_to_left, isolate
from shared.domain.scripts import join_texts
from shared.domain.subtitles import Cue, SubtitleStyle, cut
from shared.domain.transcripts import Segment, Summary, Transcript

PARAGRAPH_COLUMNS = 500  # a speaker who talks on gets a new paragraph at the next sentence after so much
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")
_MARKDOWN_LINE_START = re.compile(r"^(\d+)([.)])|^([-+=])")


class ExportFormat(StrEnum):
    """The files we can make."""

    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"
    TSV = "tsv"
    DOCX = "docx"
    MD = "md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a person reads: a title and paragraphs of talk. ``speaker`` is None where nobody was told apart."""

    title: str
    language: str
    duration_seconds: float
    paragraphs: tuple[Paragraph, ...]
    summary: Summary | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """Some sentences by one speaker, from a moment on (None where the customer wanted no times)."""

    text: str
    speaker: str | None
    start_seconds: float | None


def document_of(transcript: Transcript, title: str, *, timestamps: bool) -> Document:
    """The transcript as a document: a paragraph per turn, long ones divided between segments."""
    labels = labels_of(transcript)
    paragraphs: list[Paragraph] = []
    pending: list[Segment] = []
    for segment in transcript.segments:
        if not clean(segment.text):
            continue
        long = sum(columns(part.text) for part in pending) > PARAGRAPH_COLUMNS
        if pending and (segment.speaker_id != pending[0].speaker_id or long):
            paragraphs.append(_paragraph(pending, labels, timestamps=timestamps))
            pending = []
        pending.append(segment)
    if pending:
        paragraphs.append(_paragraph(pending, labels, timestamps=timestamps))
    return Document(
        title=clean(title) or "Transcript",
        language=transcript.language,
        duration_seconds=transcript.duration_seconds,
        paragraphs=tuple(paragraphs),
        summary=transcript.summary,
    )


def labels_of(transcript: Transcript) -> dict[str, str]:
    """Speaker id → the name to show."""
    return {speaker.id: clean(speaker.label) or speaker.id for speaker in transcript.speakers}


def to_txt(document: Document) -> str:
    """Plain text: a paragraph per turn, after the speaker's name where there is one."""
    return "".join(f"{_named(paragraph)}\n\n" for paragraph in document.paragraphs).rstrip("\n") + "\n"


def to_md(document: Document) -> str:
    """Markdown (CommonMark): title, summary, topics, then the talk with speakers and times."""
    blocks = [f"# {_escape_markdown(document.title)}"]
    if document.summary:
        blocks += ["## Summary", _escape_markdown(clean(document.summary.text))]
        if document.summary.topics:
            blocks.append("\n".join(f"- {_escape_markdown(clean(topic))}" for topic in document.summary.topics))
        blocks.append("## Transcript")
    for paragraph in document.paragraphs:
        head = f"**{_escape_markdown(paragraph.speaker)}**" if paragraph.speaker else ""
        if paragraph.start_seconds is not None:
            head += f"{' ' if head else ''}\\[{clock(paragraph.start_seconds)}\\]"
        blocks.append(f"{head}  \n{_escape_markdown(paragraph.text)}" if head else _escape_markdown(paragraph.text))
    return "\n\n".join(blocks) + "\n"


def to_tsv(transcript: Transcript) -> str:
    """A header, then start and end in milliseconds, speaker and text of each segment; no tab or break inside."""
    labels = labels_of(transcript)
    rows = ["start\tend\tspeaker\ttext"]
    for segment in transcript.segments:
        start, end = round(segment.start_seconds * 1000), round(segment.end_seconds * 1000)
        speaker = labels.get(segment.speaker_id or "", segment.speaker_id or "")
        rows.append(f"{start}\t{end}\t{speaker}\t{clean(segment.text)}")
    return "\n".join(rows) + "\n"


def to_srt(transcript: Transcript, style: SubtitleStyle) -> str:
    """SubRip. Names of speakers stand in the text, since the format has no place for them."""
    labels = labels_of(transcript)
    return "\n".join(
        f"{number}\n{_srt_time(cue.start_milliseconds)} --> {_srt_time(cue.end_milliseconds)}\n"
        + "".join(f"{line.replace('-->', '->')}\n" for line in cue.lines)
        for number, cue in enumerate(cut(transcript.segments, style, labels), start=1)
    )


def to_vtt(transcript: Transcript, style: SubtitleStyle) -> str:
    """WebVTT. Speakers are voice spans, which players can show and style."""
    labels = labels_of(transcript)
    blocks = ["WEBVTT\n"]
    blocks += [_vtt_cue(cue, labels) for cue in cut(transcript.segments, style)]
    return "\n".join(blocks)


def clock(seconds: float) -> str:
    """A moment for people: 00:01:05."""
    whole = int(seconds)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def _paragraph(segments: Sequence[Segment], labels: Mapping[str, str], *, timestamps: bool) -> Paragraph:
    speaker_id = segments[0].speaker_id
    return Paragraph(
        text=join_texts(clean(segment.text) for segment in segments),
        speaker=None if speaker_id is None else labels.get(speaker_id, speaker_id),
        start_seconds=segments[0].start_seconds if timestamps else None,
    )


def _named(paragraph: Paragraph) -> str:
    if paragraph.speaker is None:
        return paragraph.text
    if has_right_to_left(paragraph.speaker + paragraph.text):
        return f"{isolate(paragraph.speaker)}: {paragraph.text}"
    return f"{paragraph.speaker}: {paragraph.text}"


def _escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is. A number or a dash at the start would begin a list."""
    escaped = _MARKDOWN_SPECIAL.sub(r"\\\1", text)
    return _MARKDOWN_LINE_START.sub(lambda m: f"{m[1]}\\{m[2]}" if m[1] else f"\\{m[3]}", escaped)


def _srt_time(milliseconds: int) -> str:
    return _vtt_time(milliseconds).replace(".", ",")


def _vtt_time(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{clock(seconds)}.{rest:03}"


def _vtt_cue(cue: Cue, labels: Mapping[str, str]) -> str:
    times = f"{_vtt_time(cue.start_milliseconds)} --> {_vtt_time(cue.end_milliseconds)}"
    text = "\n".join(_escape_vtt(line) for line in cue.lines)
    if cue.speaker_id is not None:
        text = f"<v {_escape_vtt(labels.get(cue.speaker_id, cue.speaker_id))}>{text}"
    return f"{times}\n{text}\n"


def _escape_vtt(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
