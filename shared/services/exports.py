"""Exports: a finished transcript as a file, small ones in the answer, large ones by a link to the bucket."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.parse import quote

from shared.adapters.s3 import Bucket, Link
from shared.domain import docx
from shared.domain.errors import Conflict
from shared.domain.exports import ExportFormat, document_of, to_md, to_srt, to_tsv, to_txt, to_vtt
from shared.domain.graphemes import clean
from shared.domain.job_keys import export_key
from shared.domain.jobs import Job, JobState
from shared.domain.subtitles import SubtitleStyle
from shared.services.results import LINK_LIFE, Results

# A synchronous Lambda answer is 6 MB at most; base64 makes 3 bytes 4, and the headers need room too.
MAX_INLINE_BYTES = 4_000_000
RENDERING = 1  # part of the ETag: raise it when a format's bytes change for the same transcript

CONTENT_TYPES = {
    ExportFormat.TXT: "text/plain; charset=utf-8",
    ExportFormat.SRT: "application/x-subrip; charset=utf-8",
    ExportFormat.VTT: "text/vtt; charset=utf-8",
    ExportFormat.JSON: "application/json",
    ExportFormat.TSV: "text/tab-separated-values; charset=utf-8",
    ExportFormat.DOCX: docx.CONTENT_TYPE,
    ExportFormat.MD: "text/markdown; charset=utf-8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What to make of a transcript; ``style`` matters to subtitles only."""

    format: ExportFormat
    style: SubtitleStyle


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFile:
    """A file and how to call it."""

    content_type: str
    content_disposition: str
    body: bytes


class Exports:
    """Makes files of finished transcripts."""

    def __init__(self, results: Results, bucket: Bucket) -> None:
        self._results = results
        self._bucket = bucket

    def make(self, job: Job, request: ExportRequest) -> ExportFile:
        """The file. Raises Conflict before the job has completed, NotFound when its result is gone."""
        check_completed(job)
        return ExportFile(
            content_type=CONTENT_TYPES[request.format],
            content_disposition=content_disposition(job.recording.filename, request.format.value),
            body=self._render(job, request),
        )

    def link(self, job: Job, request: ExportRequest, file: ExportFile) -> str:
        """Store a file that is too large for an answer; a link that works for an hour."""
        key = export_key(job.account_id, job.job_id, f"{etag_of(job, request)}.{request.format.value}")
        self._bucket.put(key, file.body, file.content_type)
        return self._bucket.link(Link(key=key, content_disposition=file.content_disposition, life=LINK_LIFE))

    def _render(self, job: Job, request: ExportRequest) -> bytes:
        if request.format is ExportFormat.JSON:
            return json.dumps(self._results.view(job, segments=True), ensure_ascii=False, indent=2).encode() + b"\n"
        subtitles = request.format in {ExportFormat.SRT, ExportFormat.VTT}
        transcript = self._results.load(job, words=subtitles)
        if request.format is ExportFormat.TSV:
            return to_tsv(transcript).encode()
        if request.format is ExportFormat.SRT:
            return to_srt(transcript, request.style).encode()
        if request.format is ExportFormat.VTT:
            return to_vtt(transcript, request.style).encode()
        document = document_of(transcript, job.recording.filename, timestamps=job.options.timestamps)
        if request.format is ExportFormat.DOCX:
            return docx.to_docx(document)
        return (to_md(document) if request.format is ExportFormat.MD else to_txt(document)).encode()


def check_completed(job: Job) -> None:
    """Raise Conflict unless the job has a result."""
    if job.state is JobState.COMPLETED:
        return
    if job.state.is_final:
        raise Conflict(f"This transcription is {job.status}: it has no result.")
    raise Conflict("This transcription is still processing. Try again when its status is 'completed'.")


def etag_of(job: Job, request: ExportRequest) -> str:
    """Names the bytes of a file: the same version of a job always makes the same ones."""
    style = request.style
    shape = f"{style.max_columns}-{style.max_lines}-{style.columns_per_second:g}"
    return f"{job.version}-{RENDERING}-{request.format.value}-{shape}"


def content_disposition(filename: str, extension: str) -> str:
    """The header that names the file like its recording, in ASCII for old clients and in UTF-8 (RFC 6266)."""
    stem = clean(filename).rpartition(".")[0] or clean(filename) or "transcript"
    ascii_stem = re.sub(r"[^A-Za-z0-9 ._()-]", "_", stem)[:100]
    utf8_stem = quote(stem[:100].encode(), safe="")
    return f"attachment; filename=\"{ascii_stem}.{extension}\"; filename*=UTF-8''{utf8_stem}.{extension}"
