"""The model of random weights that Whisper's true code path is tested with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import micro_whisper


@pytest.fixture(scope="session")
def micro_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its directory."""
    return micro_whisper.build(tmp_path_factory.mktemp("models") / "micro")
