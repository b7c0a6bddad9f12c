"""Opens media files of strangers.

A file is hostile until decoded. It is handed to FFmpeg's libraries as an open stream, with no protocol allowed and a
fixed list of container formats: a playlist, a concat script or a reference to another file or host cannot be followed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from shared.domain.errors import JobFailure

# Containers that carry their own audio. Left out on purpose: hls, dash, concat, imf, sdp, rtsp, tee, lavfi and images.
CONTAINER_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,gsm,m4v,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,"
    "mp3,mpeg,mpegts,mpegvideo,mxf,ogg,rm,tta,voc,w64,wav,wv"
)

UNREADABLE = (
    "The file could not be read as audio or video. {why} Please upload an MP3, WAV, M4A, FLAC, OGG or video file."
)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The container, opened from a stream that has no name and may reach nothing else.

    Raises JobFailure audio_unreadable.
    """
    import av

    if path.stat().st_size == 0:
        raise JobFailure("audio_unreadable", UNREADABLE.format(why="It is empty."))
    with path.open("rb") as file:
        try:
            container = av.open(
                _Nameless(file), options={"format_whitelist": CONTAINER_FORMATS, "protocol_whitelist": "none"}
            )
        except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
            why = "It is incomplete, damaged, or not a media file at all."
            raise JobFailure("audio_unreadable", UNREADABLE.format(why=why)) from error
        with container:
            yield container


def audio_stream(container: Any) -> Any:
    """The best audio track of an open container. Raises JobFailure no_audio_track."""
    stream = container.streams.best("audio")
    if stream is not None:
        return stream
    if container.streams.video:
        raise JobFailure("no_audio_track", "The video has no sound track, so there is nothing to transcribe.")
    raise JobFailure("no_audio_track", "The file has no audio track, so there is nothing to transcribe.")


class _Nameless:
    """A binary file without its name: the contents alone say what it is, never the extension."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell
