"""The speakers of a recording, found beside its transcription or after it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from gpu_jobs import channels
from gpu_jobs.audio import Recording
from gpu_jobs.channels import turns_by_channel
from gpu_jobs.chunks import Span
from gpu_jobs.crew import Crew
from gpu_jobs.diarize import SpeakerCount
from gpu_jobs.progress import Progress, wait_for
from gpu_jobs.stopwatch import Stopwatch
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Speaker, Turn

NUMBER_DOUBT = "The speaker engine could tell "
"""How every warning about the number of speakers begins."""


class SpeakerSearch:
    """Who speaks when: beside the transcription in a thread of its own, or when the turns are asked for."""

    def __init__(
        self,
        recording: Recording,
        speech: tuple[Span, ...],
        crew: Crew,
        options: TranscriptionOptions,
        progress: Progress,
        clock: Stopwatch,
    ) -> None:
        self._recording, self._speech, self._options = recording, speech, options
        self._crew, self._progress, self._clock = crew, progress, clock
        self._executor = ThreadPoolExecutor(1, "speakers")
        self._future: Future[tuple[Turn, ...]] | None = None
        self._count = SpeakerCount(
            num_speakers=options.num_speakers, min_speakers=options.min_speakers, max_speakers=options.max_speakers
        )
        self._stopped = False
        self.engine = crew.engines.diarizer.engine
        """What found the turns."""

    def __enter__(self) -> Self:
        if self._options.diarization and self._crew.diarizes_beside:
            self._future = self._executor.submit(self._diarize)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Where the transcription has ended badly, or must end at once, nobody waits for a machine elsewhere."""
        self._stopped = True
        self._executor.shutdown(wait=kind is None, cancel_futures=True)

    def turns(self) -> tuple[Turn, ...] | None:
        """The turns, or None where nobody asked for them. Raises what the search and the progress hook raise."""
        if not self._options.diarization:
            return None
        if self._future is None:
            return self._diarize()
        return wait_for(self._future, lambda: self._progress.of("diarizing")(0.0)).result()

    def _diarize(self) -> tuple[Turn, ...]:
        on_progress = self._progress.of("diarizing")

        def report(seconds: float) -> None:
            if self._stopped:
                raise InterruptedError("the transcription has ended badly")
            on_progress(seconds)

        with self._clock.timing("diarizing"):
            report(0.0)
            turns = self._turns_of_channels()
        if turns is None:
            with self._crew.timing(self._clock, "diarizing"):
                diarizer = self._crew.engines.diarizer
                turns = diarizer.diarize(self._recording, report, self._count) if self._speech else ()
        self._progress.finish("diarizing")
        return turns

    def _turns_of_channels(self) -> tuple[Turn, ...] | None:
        """Where each speaker has a channel and nobody says that there are others than two."""
        count = self._count
        if count.num_speakers not in {None, 2} or (count.min_speakers or 2) > 2 or (count.max_speakers or 2) < 2:
            return None
        turns = turns_by_channel(self._recording.levels, self._speech)
        if turns is not None:
            self.engine = channels.ENGINE
        return turns


def doubts_about_number(
    options: TranscriptionOptions, turns: Sequence[Turn] | None, speakers: Sequence[Speaker]
) -> list[str]:
    """A warning where the engine found another number of speakers than the customer knows there are.

    Where it found nobody, whoever said the words is one of the ``speakers`` all the same.
    """
    found = len({turn.speaker_id for turn in turns or ()}) or len(speakers)
    least = options.num_speakers or options.min_speakers or 0
    most = options.num_speakers or options.max_speakers or found
    if not found or least <= found <= most:
        return []
    asked = least if found < least else most
    return [f"{NUMBER_DOUBT}{found} voice{'' if found == 1 else 's'} apart, not the {asked} asked for."]
