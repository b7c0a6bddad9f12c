"""The models of answers, for the OpenAPI document.

Answers are not built from these models: a result of ten hours is sent as it lies, not validated word by word. A test
holds real answers against the document instead.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from functions.api.described import Described

_ID = "550e8400-e29b-41d4-a716-446655440000"


class Error(Described):
    """Every error has this shape."""

    error: str = Field(description="A stable code.", examples=["invalid_request"])
    message: str = Field(description="What is wrong and what to do, for a person.")
    request_id: str = Field(description="Name it when you ask for help; also in the X-Request-Id header.")
    field: str | None = Field(default=None, description="The field that is wrong, if it is one.")


class Submitted(Described):
    """A transcription that has begun."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"id": _ID, "status": "processing", "estimated_credits": 5.5}}
    )
    id: str
    status: Literal["processing", "completed", "failed", "cancelled"] = Field(
        description="`processing`; with reuse=true `completed`; where the same was asked before, how it stands by now."
    )
    estimated_credits: float | None = Field(description="Null where the length of the recording could not be told yet.")
    warnings: list[str] | None = Field(default=None, description="Fields that were ignored, if any.")
    reused_from: str | None = Field(default=None, description="With reuse=true: whose result this is, for 0 credits.")


class Quote(Described):
    """What a transcription would cost and how long it would take; nothing was created."""

    dry_run: Literal[True]
    duration_seconds: float | None = Field(description="Null where it could not be told from the file's headers.")
    estimated_credits: float | None
    available_credits: float
    sufficient_credits: bool
    expected_wait_seconds: float | None = Field(description="From submission to result, as your last jobs went.")
    reused_from: str | None = Field(default=None, description="With reuse=true: the result that would be given again.")
    warnings: list[str] | None = None


class Speaker(Described):
    """One voice of the recording."""

    id: str
    label: str
    speaking_time: float = Field(description="Seconds.")


class Word(Described):
    """One word with its time."""

    word: str
    start: float
    end: float
    confidence: float | None
    aligned: bool | None = Field(default=None, description="False where the time was interpolated, not measured.")


class Segment(Described):
    """A sentence-like piece of talk."""

    start: float | None = Field(default=None, description="Seconds; absent with timestamps=false.")
    end: float | None = Field(default=None, description="Seconds; absent with timestamps=false.")
    text: str
    speaker: str | None = Field(default=None, description="The speaker's label, with diarization=true.")
    confidence: float | None = Field(default=None, description="A probability.")
    words: list[Word] | None = Field(default=None, description="With word_timestamps=true.")


class Engine(Described):
    """Which engine made each part; null for parts that were not asked for."""

    transcriber: str
    diarizer: str | None
    aligner: str | None
    summarizer: str | None


class ComputeUse(Described):
    """Machine time of one part of the work."""

    part: str
    device: str
    seconds: float
    usd_per_second: float
    cost_usd: float


class WorkPlan(Described):
    """How a recording was shared out over GPUs: what that should take and cost, and what it took."""

    gpu: str
    gpus: int
    chunk_seconds: float
    expected_wall_seconds: float
    expected_cost_usd: float
    wall_seconds: float | None


class Receipt(Described):
    """What the job cost in credits, part by part, and what its machine time cost the operator."""

    credits: float
    credits_by_part: dict[str, float] = Field(description="transcription, diarization, summary, rounding.")
    audio_seconds: float
    price_version: str
    engine: str
    compute: list[ComputeUse]
    compute_seconds: float
    compute_cost_usd: float
    reused_from: str | None
    plan: WorkPlan | None = Field(description="Null where one machine did it all.")
    rerun_of: str | None = Field(description="The transcription of which one stage was run again, and paid for.")


class Coverage(Described):
    """How much of the speech that was found has words, in seconds; what had none was transcribed a second time."""

    speech_seconds: float
    covered_seconds: float
    retried_seconds: float
    lost_seconds: float
    removed_loops: int = Field(description="How often the engine had fallen into repeating itself.")


class Transcription(Described):
    """A transcription. What is there depends on its status."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": _ID, "status": "processing", "progress": 45, "stage": "transcribing"},
                {
                    "id": _ID,
                    "status": "completed",
                    "transcript": "Hello and welcome to today's podcast...",
                    "duration_seconds": 1847.5,
                    "language": "en",
                    "credits_used": 31.2,
                    "speakers": [
                        {"id": "SPEAKER_00", "label": "Host", "speaking_time": 920.5},
                        {"id": "SPEAKER_01", "label": "Guest", "speaking_time": 927.0},
                    ],
                    "summary": "This podcast discusses the future of AI...",
                    "topics": ["artificial intelligence", "technology", "future"],
                    "segments": [
                        {
                            "start": 0.0,
                            "end": 5.2,
                            "text": "Hello and welcome to today's podcast.",
                            "speaker": "Host",
                            "confidence": 0.98,
                        }
                    ],
                },
                {
                    "id": _ID,
                    "status": "failed",
                    "error_code": "no_audio_track",
                    "error_message": "The file has no audio track.",
                    "credits_used": 0,
                },
            ]
        }
    )
    id: str
    status: Literal["processing", "completed", "failed", "cancelled"]
    progress: int | None = Field(default=None, ge=0, le=100, description="Percent, while processing.")
    stage: Literal["queued", "fetching", "transcribing", "diarizing", "summarizing"] | None = None
    transcript: str | None = Field(default=None, description="Empty for a recording without speech.")
    duration_seconds: float | None = None
    language: str | None = None
    credits_used: float | None = None
    speakers: list[Speaker] | None = Field(default=None, description="Empty without diarization.")
    summary: str | None = None
    topics: list[str] | None = None
    segments: list[Segment] | None = Field(default=None, description="With ?segments=true.")
    engine: Engine | None = None
    coverage: Coverage | None = Field(default=None, description="How much of the speech has words. When completed.")
    language_confidence: float | None = Field(default=None, description="Of a detected language: 0 to 1.")
    warnings: list[str] | None = None
    receipt: Receipt | None = Field(default=None, description="When completed.")
    error_code: str | None = Field(default=None, description="When failed.")
    error_message: str | None = Field(default=None, description="When failed: why, for a person.")


class Language(Described):
    """A language."""

    code: str = Field(description="What to send as `language`; empty for auto-detection.")
    name: str


class Languages(Described):
    """All languages."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"languages": [{"code": "", "name": "Auto-detect"}, {"code": "en", "name": "English"}]}
        }
    )
    languages: list[Language]


class OpenAIProblem(Described):
    """What went wrong, as OpenAI's SDKs read it."""

    message: str
    type: str
    param: str | None = None
    code: str


class OpenAIError(Described):
    """An error in OpenAI's shape, with our request id."""

    error: OpenAIProblem
    message: str
    request_id: str


class Upload(Described):
    """An upload and how to send it."""

    upload_id: str
    filename: str
    size: int
    expires_at: datetime = Field(description="When it can no longer be used, unless a transcription has.")
    method: Literal["POST", "PUT"] = Field(description="POST: one form. PUT: parts.")
    url: str | None = Field(default=None, description="Where to POST the form.")
    fields: dict[str, str] | None = Field(default=None, description="What goes into the form before the field 'file'.")
    url_expires_at: datetime | None = None
    part_size: int | None = Field(default=None, description="Of every part but the last, in bytes.")
    part_count: int | None = None


class ReceivedPart(Described):
    """A part that has arrived."""

    part_number: int
    size: int


class UploadState(Upload):
    """An upload and what has arrived of it."""

    status: Literal["waiting", "complete"]
    parts_received: list[ReceivedPart]


class PartUrl(Described):
    """Where to PUT a part."""

    part_number: int
    url: str


class PartUrls(Described):
    """Where to PUT parts."""

    parts: list[PartUrl]
