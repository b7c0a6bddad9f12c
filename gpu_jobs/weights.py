"""The weights of production, each pinned by repository and revision, in one folder that jobs may only read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MARKER = ".revision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model: ``name`` is its folder. A gated one needs a token whose owner has accepted its terms."""

    name: str
    repository: str
    revision: str
    is_gated: bool = False


WEIGHTS = (
    Weights(
        name="whisper-large-v3",
        repository="Systran/faster-whisper-large-v3",
        revision="edaa852ec7e145841d8ffdb056a99866b5f0a478",
    ),
    Weights(
        name="whisper-turbo",
        repository="mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        revision="0a363e9161cbc7ed1431c9597a8ceaf0c4f78fcf",
    ),
    Weights(
        name="speaker-diarization-community-1",
        repository="pyannote/speaker-diarization-community-1",
        revision="3533c8cf8e369892e6b79ff1bf80f7b0286a54ee",
        is_gated=True,
    ),
    Weights(
        name="qwen2.5-7b-instruct",
        repository="Qwen/Qwen2.5-7B-Instruct",
        revision="a09a35458c702b33eeacc393d103063234e8bc28",
    ),
)

Download = Callable[[Weights, Path], None]


def fetch_missing(folder: Path, download: Download | None = None) -> list[str]:
    """Fetch what is not in the folder at its pinned revision; the names fetched. A broken-off fetch is done again."""
    fetch = download or download_from_hub
    fetched = []
    for weights in missing(folder):
        home = folder / weights.name
        (home / MARKER).unlink(missing_ok=True)
        fetch(weights, home)
        (home / MARKER).write_text(weights.revision)  # last: it says that everything is there
        fetched.append(weights.name)
    return fetched


def missing(folder: Path) -> list[Weights]:
    """What is not in the folder, or not at its pinned revision."""
    return [weights for weights in WEIGHTS if _revision_in(folder / weights.name) != weights.revision]


def download_from_hub(weights: Weights, home: Path) -> None:
    """From the model hub, by its ordinary client."""
    from huggingface_hub import snapshot_download

    snapshot_download(weights.repository, revision=weights.revision, local_dir=home)


def _revision_in(home: Path) -> str:
    marker = home / MARKER
    return marker.read_text().strip() if marker.is_file() else ""
