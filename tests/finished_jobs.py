"""Jobs that have ended, put where the API finds them without a worker having run."""

from __future__ import annotations

import random
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.adapters.dynamodb.jobs import JobStore
from shared.bootstrap import Services
from shared.domain.ids import AccountId, AttemptId, JobId, KeyId
from shared.domain.job_keys import recording_key
from shared.domain.jobs import Hold, Job, JobState, Outcome, Recording, Stage
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Engines, Segment, Speaker, Summary, Transcript, Word

TRANSCRIPT = Transcript(
    duration_seconds=12.5,
    language="en",
    engines=Engines(transcriber="moonshine:tiny-en", diarizer="moonshine", summarizer="extractive"),
    segments=(
        Segment(start_seconds=0.0, end_seconds=2.0, text="Hello and welcome.", speaker_id="SPEAKER_00"),
        Segment(start_seconds=2.0, end_seconds=4.5, text="This is the show.", speaker_id="SPEAKER_00"),
        Segment(start_seconds=5.0, end_seconds=7.25, text="Thank you, Host.", speaker_id="SPEAKER_01"),
        Segment(start_seconds=8.0, end_seconds=9.0, text="Right.", speaker_id="SPEAKER_02"),
    ),
    speakers=(
        Speaker(id="SPEAKER_00", label="Speaker 1", speaking_time_seconds=4.5),
        Speaker(id="SPEAKER_01", label="Speaker 2", speaking_time_seconds=2.25),
        Speaker(id="SPEAKER_02", label="Speaker 3", speaking_time_seconds=1.0),
    ),
    summary=Summary(text="A short greeting.", topics=("greetings",)),
)

OPTIONS = TranscriptionOptions(diarization=True, summary=True)
SECONDS_PER_SEGMENT, WORDS_PER_SEGMENT = 5, 14  # a fast talker


def long_talk(hours: float) -> Transcript:
    """Two people over hours, with every word's time. The words are of our documents: repetition would deceive gzip."""
    chance = random.Random(1)
    vocabulary = re.findall(
        r"[a-z]{2,}", Path(__file__).parents[1].joinpath("docs/architecture.md").read_text().lower()
    )
    return Transcript(
        duration_seconds=hours * 3600.0,
        language="en",
        engines=Engines(transcriber="bench"),
        segments=tuple(
            _said(float(at), f"SPEAKER_0{number // 3 % 2}", chance.choices(vocabulary, k=WORDS_PER_SEGMENT), chance)
            for number, at in enumerate(range(0, round(hours * 3600), SECONDS_PER_SEGMENT))
        ),
        speakers=tuple(
            Speaker(id=f"SPEAKER_0{n}", label=f"Speaker {n + 1}", speaking_time_seconds=hours * 1800.0) for n in (0, 1)
        ),
    )


def _said(start: float, speaker_id: str, texts: list[str], chance: random.Random) -> Segment:
    step = (SECONDS_PER_SEGMENT - 0.5) / len(texts)
    words = tuple(
        Word(
            text=text,
            start_seconds=round(start + n * step, 3),
            end_seconds=round(start + (n + 1) * step, 3),
            confidence=chance.random(),
            speaker_id=speaker_id,
        )
        for n, text in enumerate(texts)
    )
    return Segment(
        start_seconds=start,
        end_seconds=words[-1].end_seconds,
        text=" ".join(texts),
        speaker_id=speaker_id,
        confidence=0.91,
        words=words,
    )


def store(services: Services) -> JobStore:
    """The jobs table."""
    return services.jobs._ports.store


def put_job(
    services: Services,
    account_id: AccountId,
    state: JobState = JobState.COMPLETED,
    *,
    transcript: Transcript = TRANSCRIPT,
    webhook_url: str | None = None,
    created_at: datetime | None = None,
    options: TranscriptionOptions = OPTIONS,
) -> Job:
    """A job in ``state``, with its recording and, when completed, its transcript in the bucket."""
    job_id, created_at = JobId(str(uuid.uuid4())), created_at or datetime.now(UTC)
    key = recording_key(account_id, job_id)
    job = Job(
        job_id=job_id,
        account_id=account_id,
        key_id=KeyId("key"),
        state=state,
        stage=Stage.TRANSCRIBING,
        progress_percent=100 if state is JobState.COMPLETED else 45,
        options=options,
        recording=Recording(key=key, filename="talk.mp3", content_type="audio/mpeg", size_bytes=4),
        price=services.settings.prices.price_of(options),
        hold=Hold(),
        created_at=created_at,
        expires_at=(created_at + timedelta(days=365)).replace(microsecond=0),
        estimated_seconds=12.5,
        webhook_url=webhook_url,
        outcome=_outcome(services, account_id, job_id, state, transcript, created_at),
    )
    services.bucket.put(key, b"RIFF", "audio/mpeg")
    return store(services).replace(job)


def _outcome(
    services: Services,
    account_id: AccountId,
    job_id: JobId,
    state: JobState,
    transcript: Transcript,
    at: datetime,
) -> Outcome | None:
    if not state.is_final:
        return None
    if state is JobState.COMPLETED:
        key = services.results.put(account_id, job_id, AttemptId("attempt"), transcript)
        return Outcome(
            finished_at=at, used_millicredits=300, duration_seconds=transcript.duration_seconds, result_key=key
        )
    if state is JobState.FAILED:
        return Outcome(finished_at=at, error_code="audio_unreadable", error_message="This is no audio.")
    return Outcome(finished_at=at)
