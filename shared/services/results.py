"""Results: transcripts in the bucket, and jobs as the contract shows them."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.adapters.s3 import Bucket, Link, ObjectMissing
from shared.domain.amounts import to_credits
from shared.domain.errors import NotFound
from shared.domain.ids import AccountId, JobId
from shared.domain.job_keys import export_key, result_key
from shared.domain.jobs import Job, JobState, Run
from shared.services.receipts import receipt_view

if TYPE_CHECKING:
    from shared.domain.transcripts import Coverage, Segment, Transcript, Word

CONTENT_TYPE = "application/gzip"
LINK_LIFE = timedelta(hours=1)
TIME_DIGITS = 3  # milliseconds
CONFIDENCE_DIGITS = 4


class Results:
    """Stores transcripts and shows jobs."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def store(self, job: Job, run: Run, transcript: Transcript) -> str:
        """Store a run's transcript; its key, which no other run has: a late one overwrites nothing."""
        return self.put(job.account_id, job.job_id, f"{run.attempt_id}-{run.run_token}", transcript)

    def put(self, account_id: AccountId, job_id: JobId, name: str, transcript: Transcript) -> str:
        """Store a job's transcript under a name of its own; its key."""
        from shared.domain.transcript_values import to_values, word_rows

        key = result_key(account_id, job_id, name)
        # One line for what every answer needs, one for the words: who needs none of them never parses them.
        parts = to_values(transcript), word_rows(transcript)
        body = "\n".join(json.dumps(part, ensure_ascii=False, separators=(",", ":")) for part in parts).encode()
        self._bucket.put(key, gzip.compress(body, compresslevel=6, mtime=0), CONTENT_TYPE)
        return key

    def load(self, job: Job, *, words: bool = True) -> Transcript:
        """The transcript of a completed job, with every word's time or without. Raises NotFound: retention is over."""
        if job.outcome is None or job.outcome.result_key is None:
            raise NotFound("This transcription has no result.")
        return self.at(job.outcome.result_key, words=words)

    def at(self, key: str, *, words: bool = True) -> Transcript:
        """The transcript under a key. Raises NotFound."""
        from shared.domain.transcript_values import from_values  # not at start: most polls find a job at work

        try:
            body = self._bucket.get(key)
        except ObjectMissing as error:
            raise NotFound("The result of this transcription was deleted when its retention ended.") from error
        head, _, rows = gzip.decompress(body).partition(b"\n")
        return from_values(json.loads(head), json.loads(rows) if words and rows else None)

    def link(self, job: Job, body: bytes) -> str:
        """Store ``body``, a job's view that is too large for where it should go; a link that works for an hour."""
        key = export_key(job.account_id, job.job_id, f"result-{hashlib.sha256(body).hexdigest()[:32]}.json")
        self._bucket.put(key, gzip.compress(body, compresslevel=6, mtime=0), "application/json", "gzip")
        return self._bucket.link(Link(key=key, life=LINK_LIFE))

    def view(self, job: Job, *, segments: bool) -> dict[str, Any]:
        """The job as GET /api/v1/transcribe/{id}/ answers it (and as webhooks carry it)."""
        if job.state is JobState.COMPLETED:
            # Words are always stored, for subtitles and for speakers found anew; shown to who asked for them.
            words = segments and job.options.word_timestamps
            return _completed_view(job, self.load(job, words=words), segments=segments)
        if job.state is JobState.FAILED and job.outcome is not None:
            return {
                "id": job.job_id,
                "status": job.status,
                "error_code": job.outcome.error_code,
                "error_message": job.outcome.error_message,
                "credits_used": to_credits(job.outcome.used_millicredits),
            }
        if job.state.is_final:
            used = job.outcome.used_millicredits if job.outcome else 0
            return {"id": job.job_id, "status": job.status, "credits_used": to_credits(used)}
        return {"id": job.job_id, "status": job.status, "progress": job.progress_percent, "stage": job.stage.value}


def _completed_view(job: Job, transcript: Transcript, *, segments: bool) -> dict[str, Any]:
    used = job.outcome.used_millicredits if job.outcome else 0
    engines = transcript.engines
    view: dict[str, Any] = {
        "id": job.job_id,
        "status": job.status,
        "transcript": transcript.text,
        "duration_seconds": round(transcript.duration_seconds, TIME_DIGITS),
        "language": transcript.language,
        "language_confidence": transcript.language_confidence,
        "credits_used": to_credits(used),
        "speakers": [
            {
                "id": speaker.id,
                "label": speaker.label,
                "speaking_time": round(speaker.speaking_time_seconds, TIME_DIGITS),
            }
            for speaker in transcript.speakers
        ],
        "summary": transcript.summary.text if transcript.summary else None,
        "topics": list(transcript.summary.topics) if transcript.summary else [],
        "engine": {
            "transcriber": engines.transcriber,
            "diarizer": engines.diarizer,
            "aligner": engines.aligner,
            "summarizer": engines.summarizer,
        },
        "coverage": None if transcript.coverage is None else _coverage_view(transcript.coverage),
        "warnings": list(transcript.warnings),
        "receipt": receipt_view(job, engines) | {"plan": asdict(transcript.plan) if transcript.plan else None},
    }
    if segments:
        labels = {speaker.id: speaker.label for speaker in transcript.speakers}
        view["segments"] = [
            _segment_view(segment, labels, timestamps=job.options.timestamps) for segment in transcript.segments
        ]
    return view


def _coverage_view(coverage: Coverage) -> dict[str, Any]:
    return {
        "speech_seconds": coverage.speech_seconds,
        "covered_seconds": coverage.covered_seconds,
        "retried_seconds": coverage.retried_seconds,
        "lost_seconds": coverage.lost_seconds,
        "removed_loops": coverage.removed_loops,
    }


def _segment_view(segment: Segment, labels: dict[str, str], *, timestamps: bool) -> dict[str, Any]:
    view: dict[str, Any] = {}
    if timestamps:
        view["start"] = round(segment.start_seconds, TIME_DIGITS)
        view["end"] = round(segment.end_seconds, TIME_DIGITS)
    view["text"] = segment.text
    if segment.speaker_id is not None:
        view["speaker"] = labels.get(segment.speaker_id, segment.speaker_id)
    if segment.confidence is not None:
        view["confidence"] = round(segment.confidence, CONFIDENCE_DIGITS)
    if segment.words:
        view["words"] = [_word_view(word) for word in segment.words]
    return view


def _word_view(word: Word) -> dict[str, Any]:
    view: dict[str, Any] = {
        "word": word.text,
        "start": round(word.start_seconds, TIME_DIGITS),
        "end": round(word.end_seconds, TIME_DIGITS),
        "confidence": None if word.confidence is None else round(word.confidence, CONFIDENCE_DIGITS),
    }
    if not word.aligned:
        view["aligned"] = False
    return view
