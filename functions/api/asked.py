"""What a customer asks for, read from the texts of a form. No web framework: the drop folder asks in the same words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from functions.api.fields import MAX_SPEAKERS, Fields, quote
from shared.domain.errors import InvalidRequest
from shared.domain.json_objects import MAX_NAME_CHARS
from shared.domain.options import TranscriptionOptions
from shared.domain.urls import UnsafeUrl, parse_webhook_url
from shared.services.submissions import Submission

MAX_FILENAME_CHARS = 255

DEFAULT_FILENAME = "recording"
DEFAULT_CONTENT_TYPE = "application/octet-stream"

_OPTION_FIELDS = frozenset(
    {"model", "language", "diarization", "timestamps", "word_timestamps", "summary", "vocabulary", "vocabulary[]"}
    | {"num_speakers", "min_speakers", "max_speakers"}
)
FIELDS = _OPTION_FIELDS | {"webhook_url", "max_credits", "dry_run", "reuse", "retention_days"}
# Control characters, and those that turn the direction of the text around them.
_UNWANTED = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9.+_-]{1,60}/[A-Za-z0-9.+_-]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a customer asks for, beside the recording itself."""

    options: TranscriptionOptions
    webhook_url: str | None
    max_millicredits: int | None
    dry_run: bool
    reuse: bool
    retention_days: int | None
    warnings: tuple[str, ...]

    def fill(self, submission: Submission) -> Submission:
        """The submission with what was asked for."""
        return replace(
            submission,
            options=self.options,
            webhook_url=self.webhook_url,
            max_millicredits=self.max_millicredits,
            retention_days=self.retention_days,
        )


def parse_asked(
    texts: Mapping[str, Sequence[str]], *, also: frozenset[str], allow_loopback: bool, most_days: int
) -> Asked:
    """The checked options. Raises InvalidRequest naming the first that is wrong.

    ``also`` are fields read elsewhere, ``most_days`` is the longest retention of this deployment.
    """
    fields = Fields(texts)
    options = TranscriptionOptions(
        model=fields.model(),
        language=fields.language(),
        diarization=fields.boolean("diarization", default=False),
        timestamps=fields.boolean("timestamps", default=True),
        word_timestamps=fields.boolean("word_timestamps", default=False),
        summary=fields.boolean("summary", default=False),
        vocabulary=fields.vocabulary(),
        **read_speakers(fields),
    )
    known = FIELDS | also
    return Asked(
        options=options,
        webhook_url=read_webhook_url(fields.text("webhook_url"), allow_loopback=allow_loopback),
        max_millicredits=fields.credits("max_credits"),
        dry_run=fields.boolean("dry_run", default=False),
        reuse=fields.boolean("reuse", default=False),
        retention_days=fields.optional_whole_number("retention_days", most=most_days),
        warnings=tuple(unknown_field(name, known) for name in texts if name not in known),
    )


def json_texts(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Values of ``json_objects`` as the texts a form would have. Raises InvalidRequest."""
    return {name: _texts(name, value) for name, value in values.items() if value is not None}


def clean_filename(text: str) -> str:
    """A file's name without its path, unprintable characters and excess length; the ending stays."""
    name = _UNWANTED.sub("", re.split(r"[/\\]", text)[-1]).strip()
    if name in {"", ".", ".."}:
        return DEFAULT_FILENAME
    if len(name) <= MAX_FILENAME_CHARS:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > 16:
        return name[:MAX_FILENAME_CHARS]
    return f"{stem[: MAX_FILENAME_CHARS - len(ending) - 1]}.{ending}"


def clean_media_type(text: str | None) -> str:
    """A media type without its parameters; what is none becomes the one for any bytes."""
    media_type = (text or "").partition(";")[0].strip().lower()
    return media_type if _MEDIA_TYPE.fullmatch(media_type) else DEFAULT_CONTENT_TYPE


def read_speakers(fields: Fields) -> dict[str, int | None]:
    """How many people speak. Raises InvalidRequest where the numbers contradict each other."""
    counts = {name: fields.count(name, most=MAX_SPEAKERS) for name in ("num_speakers", "min_speakers", "max_speakers")}
    num, least, most = counts.values()
    if num and (least or most):
        raise InvalidRequest("Give either 'num_speakers' or a range, not both.", field="num_speakers")
    if least and most and least > most:
        raise InvalidRequest("'min_speakers' is larger than 'max_speakers'.", field="min_speakers")
    return counts


def _texts(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, list):
        if all(isinstance(each, str) for each in value):
            return [json.dumps(value)]
    elif isinstance(value, str):
        return [value]
    elif isinstance(value, int | Decimal):
        return [f"{Decimal(value):f}"]
    raise InvalidRequest(f"'{name[:MAX_NAME_CHARS]}' has a value of the wrong type.", field=name[:MAX_NAME_CHARS])


def read_webhook_url(text: str, *, allow_loopback: bool) -> str | None:
    """The checked URL, or None where there is none. Raises InvalidRequest."""
    try:
        return parse_webhook_url(text, allow_loopback=allow_loopback).text if text else None
    except UnsafeUrl as error:
        raise InvalidRequest(f"The webhook_url cannot be used: {error}", field="webhook_url") from error


def unknown_field(name: str, known: frozenset[str]) -> str:
    """The warning about a field that nobody knows."""
    import difflib  # only for those who mistyped

    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"The unknown field {quote(name)} was ignored.{hint}"
