"""The Modal app: the only file that says ``modal``, and no logic in it.

    make deploy    deploys it with the rest, and has it fetch its weights

The dispatcher spawns ``run_job(job_id, attempt_id)`` by name; it does no GPU work itself, but shares a recording out
over the machines below. Modal may preempt any of them and run it again on the same input: a new run carries on with
the attempt, and chunks whose results are in the bucket are not done again.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import modal
import modal.experimental

APP_NAME = os.environ.get("MODAL_APP", "audiototext")  # `make deploy` gives each stage an app of its own
WEIGHTS_DIR = "/weights"
SECRET = APP_NAME  # the name of a Modal secret: the stack's outputs as settings
HUB_SECRET, SOURCES_SECRET = "audiototext-hub", "audiototext-sources"  # with HF_TOKEN; with what sites want to see
SPEAKER_MODEL, LANGUAGE_MODEL = "speaker-diarization-community-1", "qwen2.5-7b-instruct"
PLANNED_GPU, SPEAKERS_GPU = "L4", "L40S"  # first choices, for chunks and for speakers, as the planner reckons
MAX_GPUS = int(os.environ.get("MAX_GPUS", "10"))
MAX_JOBS = int(os.environ.get("MAX_JOBS", "20"))
MAX_UPLOAD_HOSTS = int(os.environ.get("MAX_UPLOAD_HOSTS", "10"))
# This file is read again in every container, which must come to the same names and ceilings.
DEPLOYED = {"MODAL_APP": APP_NAME, "MAX_GPUS": str(MAX_GPUS), "MAX_JOBS": str(MAX_JOBS)}
REQUIREMENTS = Path(__file__).parent / "requirements"
RETRIES = modal.Retries(max_retries=2, initial_delay=1.0)
RULES = {"secrets": [modal.Secret.from_name(SECRET)], "retries": RETRIES}

app = modal.App(APP_NAME)
weights = modal.Volume.from_name("audiototext-weights", create_if_missing=True)
readable = {WEIGHTS_DIR: weights.with_mount_options(read_only=True)}
cpu_base = modal.Image.debian_slim(python_version="3.13")
cuda_base = modal.Image.from_registry("nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04", add_python="3.13")


def _image(base: modal.Image, requirements: str, settings: dict[str, str], *more: str) -> modal.Image:
    """Requirements, then ours. The folder, not one file: each takes its versions from constraints.txt beside it."""
    install = " ".join(f"-r /requirements/{name}" for name in requirements.split())
    image = base.add_local_dir(REQUIREMENTS, "/requirements", copy=True).env(settings)
    # pricing.toml must come along, so not only *.py as by default.
    image = image.run_commands(f"python -m pip install {install}").env(DEPLOYED)
    return image.add_local_python_source("gpu_jobs", "shared", *more, ignore=["**/__pycache__/**"])


WHISPER = {"ENGINE": "faster-whisper", "MODELS_DIR": WEIGHTS_DIR, "COMPUTE_DEVICE": "job-machine"}
CUDA = {"DEVICE": "cuda", "COMPUTE_TYPE": "float16", "PYANNOTE_MODEL": f"{WEIGHTS_DIR}/{SPEAKER_MODEL}"}
job_image = _image(cpu_base, "worker.txt sites.txt", WHISPER)
whisper_image = _image(cuda_base, "worker.txt", WHISPER | CUDA)
speaker_image = _image(cuda_base, "worker.txt tools/pyannote.txt", WHISPER | CUDA)
# Nothing of ours is installed here: vLLM's pins are at odds with our own. Triton needs a compiler.
language_image = _image(cuda_base.apt_install("build-essential"), "tools/vllm.txt", {})
api_image = _image(cpu_base, "lambda.txt", {}, "functions")


@contextlib.contextmanager
def next_try_elsewhere() -> Iterator[None]:
    """What fails on a GPU may be the GPU's fault: its container takes nothing more, and another one tries again."""
    try:
        yield
    except Exception:
        modal.experimental.stop_fetching_inputs()
        raise


@app.cls(
    image=whisper_image,
    gpu=[PLANNED_GPU, "A10", "L40S"],
    volumes=readable,
    timeout=30 * 60,
    scaledown_window=10,
    max_containers=MAX_GPUS,
    enable_memory_snapshot=True,
    **RULES,
)
class Listener:
    """Transcribes chunks. Its imports are in the snapshot; weights and the identity are not."""

    @modal.enter(snap=True)
    def warm_up(self) -> None:
        import faster_whisper  # noqa: F401

        import gpu_jobs.cloud  # noqa: F401

    @modal.method()
    def transcribe_chunk(self, prefix: str, order: dict[str, object]) -> dict[str, object]:
        from gpu_jobs import cloud

        with next_try_elsewhere():
            return cloud.transcribe_chunk(prefix, order)

    @modal.method()
    def choose_language(self, prefix: str, asked: dict[str, object]) -> dict[str, object]:
        from gpu_jobs import cloud

        with next_try_elsewhere():
            return cloud.choose_language(prefix, asked)


@app.function(
    image=speaker_image,
    gpu=[SPEAKERS_GPU, "A10", PLANNED_GPU],
    volumes=readable,
    timeout=2 * 60 * 60,
    scaledown_window=10,
    max_containers=MAX_GPUS,
    enable_memory_snapshot=True,
    **RULES,
)
def diarize(prefix: str, count: dict[str, int | None]) -> dict[str, object]:
    """The speakers of a whole recording."""
    from gpu_jobs import cloud

    with next_try_elsewhere():
        return cloud.diarize(prefix, count)


@app.function(
    image=language_image,
    gpu=["L40S", "A100-80GB", "H100"],
    volumes=readable,
    timeout=10 * 60,
    scaledown_window=60,
    max_containers=2,
    retries=RETRIES,
)
def summarise(messages: list[dict[str, str]]) -> dict[str, object]:
    """The language model's answer."""
    from gpu_jobs.summarize import vllm

    return vllm.summarise(Path(WEIGHTS_DIR, LANGUAGE_MODEL), messages)


@app.function(
    image=job_image,
    cpu=2.0,
    memory=4096,
    timeout=24 * 60 * 60,
    scaledown_window=30,
    max_containers=MAX_JOBS,
    enable_memory_snapshot=True,
    **{**RULES, "secrets": [modal.Secret.from_name(name) for name in (SECRET, SOURCES_SECRET)]},
)
def run_job(job_id: str, attempt_id: str) -> str:
    """One run of an attempt; how it ended."""
    from gpu_jobs import cloud
    from gpu_jobs.remote import Calls

    words = Listener()
    fleet = cloud.Fleet(
        calls=Calls(words.transcribe_chunk.remote, words.choose_language.remote, diarize.remote),
        summarise=summarise.remote,
        llm=LANGUAGE_MODEL,
        diarizer=f"pyannote:{SPEAKER_MODEL}",
        gpu=PLANNED_GPU,
        speakers_gpu=SPEAKERS_GPU,
        max_gpus=MAX_GPUS,
    )
    return cloud.run_job(fleet, job_id, attempt_id)


@app.function(
    image=api_image,
    timeout=60 * 60,
    scaledown_window=120,
    max_containers=MAX_UPLOAD_HOSTS,
    **{**RULES, "retries": None},
)
@modal.concurrent(max_inputs=8)
@modal.asgi_app(label=f"{APP_NAME}-uploads")
def uploads():  # type: ignore[no-untyped-def]
    """The same HTTP API, for bodies that Lambda cannot take: recordings stream into the bucket (ModalHost)."""
    from functions.api.app import from_environment
    from shared.adapters.modal_identity import lend_identity

    lend_identity(os.environ, Path(tempfile.gettempdir()))
    return from_environment()


@app.function(
    image=job_image,
    volumes={WEIGHTS_DIR: weights},
    secrets=[modal.Secret.from_name(HUB_SECRET)],
    timeout=2 * 60 * 60,
    schedule=modal.Cron("0 4 * * 1"),
)
def fetch_weights() -> list[str]:
    """Bring the weights to their pins; every Monday, so that a damaged volume mends itself. Only this one writes."""
    from gpu_jobs.weights import fetch_missing

    fetched = fetch_missing(Path(WEIGHTS_DIR))
    weights.commit()
    return fetched
