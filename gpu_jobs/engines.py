"""Which engines this process uses, from its environment; each loads its model when it is first needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gpu_jobs.align import Aligner
from gpu_jobs.chunk_work import ChunkEngines
from gpu_jobs.diarize import Diarizer
from gpu_jobs.diarize.moonshine import MoonshineDiarizer
from gpu_jobs.summarize import Summarizer
from gpu_jobs.summarize.extractive import ExtractiveSummarizer
from gpu_jobs.transcribe import Transcriber
from gpu_jobs.transcribe.moonshine import MoonshineTranscriber

TRANSCRIBERS = ("moonshine", "faster-whisper")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """``whisper_model`` is a directory, a size ("small") or a hub id; "" takes the model the customer asked for,
    from a directory of its name in ``whisper_folder`` if that is set, else from the model hub.

    ``cpu_threads`` and ``batch_size`` 0 leave the choice to the engine.
    """

    transcriber: str = "moonshine"
    whisper_model: str = ""
    whisper_folder: str = ""
    device: str = "auto"
    compute_type: str = "default"
    cpu_threads: int = 0
    batch_size: int = 0
    chunk_workers: int = 1
    pyannote_model: str = ""
    llm_url: str = ""
    llm_model: str = ""
    llm_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSet:
    """The engines of one process, shared by its jobs."""

    transcriber: Transcriber
    diarizer: Diarizer
    aligner: Aligner
    summarizer: Summarizer = field(default_factory=ExtractiveSummarizer)


def read_engine_settings(environment: Mapping[str, str]) -> EngineSettings:
    """From ENGINE, MODEL, MODELS_DIR, DEVICE, COMPUTE_TYPE, CPU_THREADS, BATCH_SIZE, CHUNK_WORKERS, PYANNOTE_MODEL,
    LLM_URL, LLM_MODEL and LLM_KEY, all optional.

    Raises ValueError naming a wrong one.
    """
    transcriber = environment.get("ENGINE") or "moonshine"
    if transcriber not in TRANSCRIBERS:
        raise ValueError(f"ENGINE is {transcriber!r}; it must be one of {', '.join(TRANSCRIBERS)}")
    llm_url, llm_model = environment.get("LLM_URL", ""), environment.get("LLM_MODEL", "")
    if bool(llm_url) != bool(llm_model) or (llm_url and not llm_url.startswith(("http://", "https://"))):
        raise ValueError("LLM_URL (http or https) and LLM_MODEL go together")
    return EngineSettings(
        transcriber=transcriber,
        whisper_model=environment.get("MODEL", ""),
        whisper_folder=environment.get("MODELS_DIR", ""),
        device=environment.get("DEVICE") or "auto",
        compute_type=environment.get("COMPUTE_TYPE") or "default",
        cpu_threads=_whole_number(environment, "CPU_THREADS", 0),
        batch_size=_whole_number(environment, "BATCH_SIZE", 0),
        pyannote_model=environment.get("PYANNOTE_MODEL", ""),
        llm_url=llm_url,
        llm_model=llm_model,
        llm_key=environment.get("LLM_KEY", ""),
        chunk_workers=_whole_number(environment, "CHUNK_WORKERS", 1),
    )


def _whole_number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isascii() or not text.isdecimal() or len(text) > 4:
        raise ValueError(f"{name} is {text!r}; it must be a whole number")
    return int(text)


def build_engines(settings: EngineSettings) -> EngineSet:
    """The engines for these settings. Cheap: no model is loaded yet."""
    return EngineSet(
        transcriber=_transcriber(settings),
        diarizer=build_diarizer(settings),
        aligner=Aligner(),
        summarizer=_summarizer(settings),
    )


def build_diarizer(settings: EngineSettings) -> Diarizer:
    """Moonshine's, or pyannote's where PYANNOTE_MODEL names one."""
    if not settings.pyannote_model:
        return MoonshineDiarizer()
    from gpu_jobs.diarize.pyannote import PyannoteDiarizer, PyannoteSettings

    device = "cuda" if settings.device == "cuda" else "cpu"
    return PyannoteDiarizer(PyannoteSettings(model=settings.pyannote_model, device=device))


def _summarizer(settings: EngineSettings) -> Summarizer:
    """The talk's own sentences, or a language model where LLM_URL and LLM_MODEL name one."""
    if not settings.llm_url:
        return ExtractiveSummarizer()
    from gpu_jobs.summarize.llm import LlmSettings, LlmSummarizer, http_completer

    llm = LlmSettings(url=settings.llm_url, model=settings.llm_model, key=settings.llm_key)
    return LlmSummarizer(http_completer(llm), settings.llm_model)


def build_chunk_engines(settings: EngineSettings) -> ChunkEngines:
    """What a worker of chunks needs of them."""
    return ChunkEngines(transcriber=_transcriber(settings), aligner=Aligner())


def _transcriber(settings: EngineSettings) -> Transcriber:
    if settings.transcriber == "moonshine":
        return MoonshineTranscriber()
    from gpu_jobs.transcribe.whisper import BATCH_SIZE, WhisperSettings, WhisperTranscriber

    return WhisperTranscriber(
        WhisperSettings(
            model=settings.whisper_model,
            folder=settings.whisper_folder,
            device=settings.device,
            compute_type=settings.compute_type,
            cpu_threads=settings.cpu_threads,
            batch_size=settings.batch_size or BATCH_SIZE,
        )
    )
