"""A speaker pipeline of random weights on disk, in the form of speaker-diarization-community-1.

The architecture, the files and the configuration are the real ones; who is heard where is chance.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

SEED = 3
EMBEDDING_SIZE, PLDA_SIZE = 256, 128
CONTRAST = 200.0
"""By how much the last layer of the segmentation is stretched, so that it decides, and not always for the same."""

CONFIGURATION = """
dependencies:
  pyannote.audio: 4.0.0
pipeline:
  name: pyannote.audio.pipelines.SpeakerDiarization
  params:
    clustering: VBxClustering
    segmentation: $model/segmentation
    segmentation_batch_size: 4
    embedding: $model/embedding
    embedding_batch_size: 4
    embedding_exclude_overlap: true
    plda: $model/plda
params:
  clustering: {threshold: 0.6, Fa: 0.07, Fb: 0.8}
  segmentation: {min_duration_off: 0.0}
"""


def build(folder: Path) -> Path:
    """Write the pipeline into the folder; the folder."""
    import torch

    torch.manual_seed(SEED)
    _save(_segmentation(), folder / "segmentation")
    _save(_embedding(), folder / "embedding")
    random = np.random.default_rng(SEED)
    plda = folder / "plda"
    plda.mkdir()
    lda = random.normal(size=(EMBEDDING_SIZE, PLDA_SIZE)) / np.sqrt(EMBEDDING_SIZE)
    np.savez(plda / "xvec_transform.npz", mean1=np.zeros(EMBEDDING_SIZE), mean2=np.zeros(PLDA_SIZE), lda=lda)
    np.savez(plda / "plda.npz", mu=np.zeros(PLDA_SIZE), tr=np.eye(PLDA_SIZE), psi=np.linspace(4.0, 0.1, PLDA_SIZE))
    (folder / "config.yaml").write_text(CONFIGURATION)
    return folder


def _segmentation() -> Any:
    import torch
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.segmentation import PyanNet

    model = PyanNet(sincnet={"stride": 10})
    model.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=10.0,
        warm_up=(0.0, 0.0),
        classes=["speaker#1", "speaker#2", "speaker#3"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    model.build()
    model.setup()
    with torch.no_grad():
        model.classifier.weight *= CONTRAST
        model.classifier.bias.zero_()
    return model


def _embedding() -> Any:
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import WeSpeakerResNet34

    model = WeSpeakerResNet34()
    model.specifications = Specifications(problem=Problem.REPRESENTATION, resolution=Resolution.CHUNK, duration=5.0)
    return model


def _save(model: Any, home: Path) -> None:
    import torch

    home.mkdir(parents=True)
    checkpoint = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": "2.0.0",
    }
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, home / "pytorch_model.bin")
