"""Who speaks when, by the port of pyannote's speaker-diarization-community-1 that is compiled into moonshine-voice.

Audio is fed as a stream, so progress is real and the caller can stop it; voices are clustered once, at the end, over
the whole recording. Beyond an hour the clustering looks at a sliding hour, since its cost grows with the square.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording
from gpu_jobs.diarize import SpeakerCount, numbered, turns_within
from gpu_jobs.diarize.voices import at_most, second_look
from gpu_jobs.transcribe import SecondsDone
from shared.domain.errors import JobFailure
from shared.domain.transcripts import Turn

ENGINE = "moonshine:pyannote-community-1"
BLOCK_SECONDS = 5.0
WHOLE_SECONDS = 3600.0
NEVER_SECONDS = 1e9
SLIDING_CADENCE_SECONDS = 600.0
MIN_TURN_SECONDS = 0.05
TINY_MODEL = "tiny-en"

# A line of the library's transcript carries the turns, clipped to itself. Its detector must therefore let everything
# but silence through, and end a line now and then, because the library copies the whole line for every 32 ms in it.
OPTIONS = {
    "skip_transcription": "true",
    "identify_speakers": "true",
    "return_audio_data": "false",
    "vad_threshold": "0.005",
    "vad_max_segment_duration": "30",
    # Seconds between the windows of ten seconds that are listened to. On a telephone talk (collar 0.25): 1, the
    # library's own, 1.5 % wrong; 1.5, 2.4 % for a fifth less work; 2, 3.4 % for two fifths less; 3 loses a speaker.
    "diarization_analyze_cadence": "1.5",
}


class MoonshineDiarizer:
    """Turns of a recording. A model per call: it numbers speakers across calls and keeps their voices."""

    engine = ENGINE
    weight = 0.65

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def diarize(
        self,
        recording: Recording,
        on_progress: SecondsDone,
        count: SpeakerCount | None = None,
    ) -> tuple[Turn, ...]:
        """Turns in order of start, ids SPEAKER_00 … by first appearance; none for silence.

        The engine cannot be told how many there are: if it finds more, the least heard are taken for others.
        Raises JobFailure engine_failed.
        """
        from moonshine_voice import MoonshineError

        with self._lock:
            try:
                lines = self._run(recording, on_progress)
            except MoonshineError as error:
                raise JobFailure("engine_failed", "The speaker engine failed on this recording.") from error
        turns = second_look(recording, joined_turns(lines, recording.duration_seconds))
        most = (count.num_speakers or count.max_speakers) if count else None
        return numbered(at_most(recording, turns, most) if most else turns)

    def _run(self, recording: Recording, on_progress: SecondsDone) -> list[Any]:
        from moonshine_voice import ModelArch, Transcriber, get_model_path
        from moonshine_voice.transcriber import MOONSHINE_FLAG_FORCE_UPDATE

        sliding = recording.duration_seconds > WHOLE_SECONDS
        options = OPTIONS | {
            "diarization_cluster_window_sec": str(WHOLE_SECONDS if sliding else 0),
            "diarization_cluster_cadence": str(SLIDING_CADENCE_SECONDS if sliding else NEVER_SECONDS),
        }
        with Transcriber(str(get_model_path(TINY_MODEL)), ModelArch.TINY, options=options) as model:
            stream = model.create_stream(update_interval=NEVER_SECONDS)
            try:
                stream.start()
                start = 0.0
                while start < recording.duration_seconds:
                    block = recording.slice(start, start + BLOCK_SECONDS)
                    stream.add_audio(block.tolist(), SAMPLE_RATE_HZ)
                    # Forced, or the last short block would reach the models only after the final clustering.
                    stream.update_transcription(MOONSHINE_FLAG_FORCE_UPDATE)
                    start = min(start + BLOCK_SECONDS, recording.duration_seconds)
                    on_progress(start)
                result = stream.stop()
                return list(result.lines) if result is not None else []
            finally:
                stream.close()


def joined_turns(lines: Iterable[Any], duration_seconds: float) -> tuple[Turn, ...]:
    """Join what the lines cut: spans of one speaker that touch or overlap become one turn."""
    found = [span for line in lines for span in line.speaker_spans or ()]
    spans = sorted((span.start_time, span.start_time + span.duration, span.speaker_index) for span in found)
    joined: dict[int, list[list[float]]] = {}
    for start, end, index in spans:
        turns = joined.setdefault(index, [])
        if turns and start <= turns[-1][1] + 0.02:
            turns[-1][1] = max(turns[-1][1], end)
        else:
            turns.append([start, end])
    flat = (
        (start, end, str(index))
        for index, turns in joined.items()
        for start, end in turns
        if end - start >= MIN_TURN_SECONDS
    )
    return turns_within(flat, duration_seconds)
