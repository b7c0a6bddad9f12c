"""From a media file to a transcript: decode, find speech, transcribe, time the words, find the speakers, sum up.

Knows neither AWS nor Modal, and keeps nothing between recordings but the loaded models.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gpu_jobs.audio import AudioLimits, Recording, decode_recording
from gpu_jobs.chunks import Span, plan_chunks
from gpu_jobs.crew import Crew, CrewOrEngines, own_crew
from gpu_jobs.engines import EngineSet
from gpu_jobs.fanout import (
    ChunkOrder,
    ChunkShelf,
    NoShelf,
    merge_results,
    run_orders,
    total_coverage,
    total_seconds,
)
from gpu_jobs.merge import cut_segments, in_order, name_speakers
from gpu_jobs.progress import OnMeasured, OnProgress, Progress, do_beside
from gpu_jobs.rebuild import NO_SUMMARY, with_summary, with_turns
from gpu_jobs.speakers import SpeakerSearch, doubts_about_number
from gpu_jobs.speech import find_speech
from gpu_jobs.stopwatch import Stopwatch
from gpu_jobs.summarize import TalkNotes
from gpu_jobs.transcribe import LanguageChoice, Passage
from shared.domain.options import TranscriptionOptions
from shared.domain.plans import WorkPlan
from shared.domain.transcripts import Coverage, Engines, Segment, Speaker, Summary, Transcript

logger = logging.getLogger(__name__)


class SpeechPipeline:
    """The speech work of one process, with its engines."""

    def __init__(self, crew: CrewOrEngines | Callable[[ChunkShelf], CrewOrEngines], limits: AudioLimits | None = None):
        """A function gets the job's shelf and gives the crew for it."""
        self._crew = crew
        self._limits = limits or AudioLimits()

    def transcribe(
        self,
        path: Path,
        options: TranscriptionOptions,
        on_progress: OnProgress,
        shelf: ChunkShelf | None = None,
        on_measured: OnMeasured = lambda _seconds, _plan=None: None,
    ) -> Transcript:
        """The transcript of a media file. Raises JobFailure, ChunkFailed, and whatever the hooks raise.

        Chunks that are on the ``shelf`` are not transcribed again.
        """
        clock, shelf = Stopwatch(), shelf or NoShelf()
        crew = self._crew_for(shelf)
        with self._decoded(path, clock) as recording:
            on_measured(recording.duration_seconds, _work_plan(recording, options, crew))
            return transcribe_recording(recording, options, crew, on_progress, _Run(clock, shelf))

    def diarize_again(
        self,
        path: Path,
        base: Transcript,
        options: TranscriptionOptions,
        on_progress: OnProgress,
        shelf: ChunkShelf | None = None,
    ) -> Transcript:
        """``base`` with its speakers found anew in its recording. Raises JobFailure and what ``on_progress`` raises."""
        clock, crew = Stopwatch(), self._crew_for(shelf or NoShelf())
        with self._decoded(path, clock) as recording:
            progress = Progress({"diarizing": 1.0}, recording.duration_seconds, on_progress)
            with clock.timing("finding_speech"):
                speech = find_speech(recording)
            with SpeakerSearch(recording, speech, crew, options, progress, clock) as speakers_work:
                turns = speakers_work.turns() or ()
        return with_turns(base, turns, options, speakers_work.engine, crew.seconds(clock))

    def summarize_again(self, base: Transcript, on_progress: OnProgress, shelf: ChunkShelf | None = None) -> Transcript:
        """``base`` with a new summary; its speakers keep their names. Raises whatever the summariser raises."""
        clock, crew = Stopwatch(), self._crew_for(shelf or NoShelf())
        progress = Progress({"summarizing": 1.0}, base.duration_seconds, on_progress)
        notes = _sum_up(base.segments, base.language, crew, progress, clock).result()
        summary = None if notes is None else notes.summary
        return with_summary(base, summary, crew.engines.summarizer.engine, crew.seconds(clock))

    def _crew_for(self, shelf: ChunkShelf) -> Crew:
        crew = self._crew(shelf) if callable(self._crew) else self._crew
        return crew if isinstance(crew, Crew) else own_crew(crew)

    @contextmanager
    def _decoded(self, path: Path, clock: Stopwatch) -> Iterator[Recording]:
        with tempfile.TemporaryDirectory(prefix="recording-") as folder:
            with clock.timing("decoding"):
                recording = decode_recording(path, self._limits, Path(folder) / "samples")
            yield recording


@dataclass(frozen=True, slots=True)
class _Run:
    """What belongs to one run alone."""

    clock: Stopwatch
    shelf: ChunkShelf


def transcribe_recording(
    recording: Recording,
    options: TranscriptionOptions,
    crew: CrewOrEngines,
    on_progress: OnProgress,
    run: _Run | None = None,
) -> Transcript:
    """The transcript of a decoded recording; silence gives one without segments. Raises what the pipeline raises."""
    crew = crew if isinstance(crew, Crew) else own_crew(crew)
    engines, run = crew.engines, run or _Run(Stopwatch(), NoShelf())
    clock = run.clock
    progress = Progress(_weights(options, engines), recording.duration_seconds, on_progress)
    progress.of("transcribing")(0.0)
    with clock.timing("finding_speech"):
        speech = find_speech(recording)
    with SpeakerSearch(recording, speech, crew, options, progress, clock) as speakers_work:
        spoken = _transcribe(recording, speech, options, crew, progress, run)
        progress.finish("transcribing")
        turns = speakers_work.turns()
    segments, speakers = name_speakers(cut_segments(spoken.passages, turns), turns or ())
    warnings = [*recording.warnings, *spoken.warnings, *doubts_about_number(options, turns, speakers)]
    summary = None
    if options.summary:
        notes = _sum_up(segments, spoken.language, crew, progress, clock)
        summary, speakers = _summary_of(notes, speakers, warnings)
    return Transcript(
        duration_seconds=round(recording.duration_seconds, 3),
        language=spoken.language,
        engines=Engines(
            transcriber=spoken.engine,
            diarizer=speakers_work.engine if options.diarization else None,
            aligner=spoken.aligner,
            summarizer=engines.summarizer.engine if options.summary else None,
        ),
        segments=segments,
        speakers=speakers,
        summary=summary,
        warnings=tuple(warnings),
        compute_seconds=crew.seconds(clock),
        coverage=spoken.coverage,
        language_confidence=spoken.language_confidence,
        plan=_with_time_taken(_work_plan(recording, options, crew), clock),
    )


def _with_time_taken(plan: WorkPlan | None, clock: Stopwatch) -> WorkPlan | None:
    return None if plan is None else replace(plan, wall_seconds=round(time.perf_counter() - clock.began, 3))


def _work_plan(recording: Recording, options: TranscriptionOptions, crew: Crew) -> WorkPlan | None:
    if crew.expects is None or recording.duration_seconds == 0:
        return None
    plan = crew.expects(recording.duration_seconds, options)
    return WorkPlan(
        gpu=plan.gpu,
        gpus=plan.gpus,
        chunk_seconds=round(plan.chunk_seconds, 3),
        expected_wall_seconds=plan.wall_seconds,
        expected_cost_usd=plan.dollars,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spoken:
    """What all the chunks together say."""

    engine: str
    language: str
    language_confidence: float | None
    passages: tuple[Passage, ...]
    coverage: Coverage
    aligner: str | None
    warnings: tuple[str, ...]


def _transcribe(
    recording: Recording,
    speech: tuple[Span, ...],
    options: TranscriptionOptions,
    crew: Crew,
    progress: Progress,
    run: _Run,
) -> _Spoken:
    """Decide the language, plan, have every chunk transcribed, merge."""
    transcriber = crew.engines.transcriber
    engine = transcriber.engine(options)
    with crew.timing(run.clock, "choosing_language"):
        choice = (
            crew.chunks.choose_language(recording, speech, options, progress.of("transcribing"))
            if speech
            else _asked_language(options, crew)
        )
    asked = replace(options, language=choice.language)
    duration = recording.duration_seconds
    chunks = plan_chunks(speech, duration, transcriber.windows, crew.chunks.chunk_seconds(duration, options))
    orders = [ChunkOrder(chunk=chunk, options=asked, engine=engine) for chunk in chunks]
    results = run_orders(crew.chunks, run.shelf, recording, orders, progress.of("transcribing"))
    run.clock.add(total_seconds(results))
    passages = merge_results(results, [chunk.span for chunk in chunks])
    return _Spoken(
        engine=engine,
        language=choice.language,
        language_confidence=choice.confidence,
        passages=in_order(passages, duration),
        coverage=total_coverage(results),
        aligner=next((result.aligner for result in results if result.aligner), None),
        warnings=tuple(dict.fromkeys(warning for result in results for warning in result.warnings)),
    )


def _asked_language(options: TranscriptionOptions, crew: Crew) -> LanguageChoice:
    """Silence is in the language asked for, or in the only one that the engine knows."""
    silence = Recording(samples=np.zeros(0, np.float32))
    return crew.engines.transcriber.choose_language(silence, (), options)


def _weights(options: TranscriptionOptions, engines: EngineSet) -> dict[str, float]:
    weights = {"transcribing": engines.transcriber.weight}
    if options.diarization:
        weights["diarizing"] = engines.diarizer.weight
    if options.summary:
        weights["summarizing"] = engines.summarizer.weight
    return weights


def _sum_up(
    segments: tuple[Segment, ...], language: str, crew: Crew, progress: Progress, clock: Stopwatch
) -> Future[TalkNotes | None]:
    """The summariser's work when it is over, well or badly. Raises what the progress hook raises."""
    report = progress.of("summarizing")
    report(0.0)
    with crew.timing(clock, "summarizing"):
        work = do_beside(lambda: crew.engines.summarizer.summarize(segments, language), lambda: report(0.0))
    progress.finish("summarizing")
    return work


def _summary_of(
    work: Future[TalkNotes | None], speakers: tuple[Speaker, ...], warnings: list[str]
) -> tuple[Summary | None, tuple[Speaker, ...]]:
    """A summary, or None with a warning: it is an extra and never costs the customer the transcript.

    The speakers, too, by the names that the talk gives them.
    """
    try:
        notes = work.result()
    except Exception:  # whatever a text does to the summariser, the transcript stands
        logger.warning("summary_failed", exc_info=True)
        warnings.append(NO_SUMMARY)
        return None, speakers
    if notes is None:
        return None, speakers
    return notes.summary, tuple(replace(each, label=notes.labels.get(each.id, each.label)) for each in speakers)
