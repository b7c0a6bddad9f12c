"""Who speaks when, by pyannote.audio's speaker-diarization-community-1, on a GPU or a CPU.

The pipeline is a folder on disk (fetched beforehand) or a repository of the model hub. Samples are handed over in
memory: pyannote's own decoder needs FFmpeg's shared libraries, which the image does without.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpu_jobs.audio import SAMPLE_RATE_HZ, Recording
from gpu_jobs.diarize import SpeakerCount, numbered, turns_within
from gpu_jobs.transcribe import SecondsDone
from shared.domain.errors import JobFailure
from shared.domain.transcripts import Turn

logger = logging.getLogger(__name__)

REPOSITORY = "pyannote/speaker-diarization-community-1"
REVISION = "3533c8cf8e369892e6b79ff1bf80f7b0286a54ee"


@dataclass(frozen=True, slots=True, kw_only=True)
class PyannoteSettings:
    """``model`` is a folder or a repository; ``device`` is cpu or cuda."""

    model: str = REPOSITORY
    revision: str | None = REVISION
    device: str = "cpu"


class PyannoteDiarizer:
    """The Diarizer for production. The pipeline loads on first use; one call at a time."""

    weight = 0.05

    def __init__(self, settings: PyannoteSettings, load: Callable[[PyannoteSettings], Any] | None = None) -> None:
        self._settings = settings
        self._load = load or load_pipeline
        self._pipeline: Any = None
        self._lock = threading.Lock()
        self.engine = f"pyannote:{Path(settings.model).name}"

    def diarize(
        self, recording: Recording, on_progress: SecondsDone, count: SpeakerCount | None = None
    ) -> tuple[Turn, ...]:
        """Turns in order of start; a turn may overlap others. Raises JobFailure engine_failed."""
        import torch

        if recording.duration_seconds == 0:
            return ()
        waveform = torch.from_numpy(np.ascontiguousarray(recording.samples, dtype=np.float32)).unsqueeze(
            0
        )  # (1, samples)
        known = {name: value for name, value in asdict(count or SpeakerCount()).items() if value is not None}
        hook = _Hook(recording.duration_seconds, on_progress)
        with self._lock:
            found = self._run({"waveform": waveform, "sample_rate": SAMPLE_RATE_HZ}, hook=hook, **known)
        on_progress(recording.duration_seconds)
        tracks = found.speaker_diarization.itertracks(yield_label=True)
        spans = ((span.start, span.end, str(who)) for span, _, who in tracks)
        return numbered(turns_within(spans, recording.duration_seconds))

    def _run(self, file: dict[str, Any], **options: Any) -> Any:
        """pyannote's answer. A device that runs out of memory gets half as many windows at once."""
        pipeline = self._loaded()
        while True:
            try:
                return pipeline(file, **options)
            except (RuntimeError, ValueError) as error:
                largest = max(pipeline.segmentation_batch_size, pipeline.embedding_batch_size)
                if "out of memory" not in str(error).lower() or largest == 1:
                    raise JobFailure("engine_failed", "The speaker engine failed on this recording.") from error
                pipeline.segmentation_batch_size = max(1, pipeline.segmentation_batch_size // 2)
                pipeline.embedding_batch_size = max(1, pipeline.embedding_batch_size // 2)
                logger.warning("batch_halved", extra={"batch_size": largest // 2})

    def _loaded(self) -> Any:
        if self._pipeline is None:
            self._pipeline = self._load(self._settings)
        return self._pipeline


class _Hook:
    """pyannote's progress of its two long steps, as seconds of the recording."""

    STEPS = ("segmentation", "embeddings")

    def __init__(self, duration_seconds: float, on_progress: SecondsDone) -> None:
        self._duration_seconds, self._on_progress = duration_seconds, on_progress
        self._done = -1.0

    def __call__(
        self,
        step: str,
        _artifact: Any,
        file: Any = None,  # noqa: ARG002 - pyannote names it
        completed: int | None = None,
        total: int | None = None,
    ) -> None:
        """Told by pyannote after each batch."""
        if step in self.STEPS and completed is not None and total:
            share = (self.STEPS.index(step) + completed / total) / len(self.STEPS)
            done = float(share * self._duration_seconds)
            if done > self._done:  # it starts again with smaller batches
                self._done = done
                self._on_progress(done)


def load_pipeline(settings: PyannoteSettings) -> Any:
    """The pipeline, on its device. Raises JobFailure engine_failed when it cannot be had."""
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"  # or it reports each recording's length to its makers
    try:
        import torch
        from pyannote.audio import Pipeline

        is_local = Path(settings.model).is_dir()
        pipeline = Pipeline.from_pretrained(settings.model, revision=None if is_local else settings.revision)
        return pipeline.to(torch.device(settings.device))
    except (AttributeError, ImportError, OSError, ValueError, RuntimeError) as error:  # AttributeError: it gives None
        raise JobFailure(
            "engine_failed",
            f"The speaker engine could not load '{Path(settings.model).name}'. Its terms must be accepted on the model "
            "hub, or PYANNOTE_MODEL must name a folder that holds the pipeline.",
        ) from error
