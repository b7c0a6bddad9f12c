"""What a recording is and how long it lasts, before a credit is held for it."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from shared.adapters.s3 import ObjectMissing
from shared.adapters.s3_uploads import UploadBucket
from shared.domain.errors import InvalidRequest, NotFound
from shared.domain.media import Container

if TYPE_CHECKING:
    from shared.adapters.probing.source import ByteSource

WANTED = "Send MP3, WAV, M4A, FLAC, OGG, or a video file."
UNKNOWN = "unknown data"  # probing's words for bytes that are nothing it knows: the worker's decoder may know more


def check_head(head: bytes) -> None:
    """Raise InvalidRequest when a file that begins so is certainly no recording, whatever may follow."""
    from shared.adapters.probing.probe import NotMedia, probe
    from shared.adapters.probing.source import ByteSource

    try:
        probe(ByteSource.of_bytes(head))
    except NotMedia as problem:
        if problem.looks_like != UNKNOWN:
            raise _no_recording(problem.looks_like, "file") from problem


def measure(file: IO[bytes]) -> float | None:
    """Seconds of audio in a file at hand; it is left at its start. See ``measure_source``."""
    from shared.adapters.probing.source import ByteSource

    file.seek(0)
    return measure_source(ByteSource.of_file(file))


def measure_stored(bucket: UploadBucket, key: str, size_bytes: int) -> float | None:
    """Seconds of audio in an object of the bucket, by ranged reads. See ``measure_source``; and NotFound."""
    from shared.adapters.probing.source import ByteSource

    try:
        return measure_source(ByteSource(lambda offset, length: bucket.read(key, offset, length), size_bytes))
    except ObjectMissing as gone:
        raise NotFound("The recording was deleted meanwhile.") from gone


def measure_source(source: ByteSource, field: str = "file") -> float | None:
    """Seconds of audio as the headers tell it; None where they do not, and the worker finds out.

    Raises InvalidRequest for what is certainly no recording: text, archives, pictures, a video that breaks off before
    its index or has no sound.
    """
    from shared.adapters.probing.probe import NotMedia, probe  # not at start: most requests measure nothing

    try:
        info = probe(source)
    except NotMedia as problem:
        if problem.looks_like == UNKNOWN:
            return None
        raise _no_recording(problem.looks_like, field) from problem
    if info.has_audio is False:
        raise InvalidRequest("The file has no audio track, so there is nothing to transcribe.", field=field)
    if info.container is Container.MP4 and info.has_audio is None:
        message = "The file is cut off or damaged: its index is missing. Please upload the whole file."
        raise InvalidRequest(message, field=field)
    return info.duration_seconds


def _no_recording(looks_like: str, field: str) -> InvalidRequest:
    return InvalidRequest(f"The file is {looks_like}, not a recording. {WANTED}", field=field)
