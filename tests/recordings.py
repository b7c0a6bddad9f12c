"""Real speech that installs with moonshine-voice, so that no test needs a download."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def asset(name: str) -> Path:
    """A recording of the moonshine_voice package: two_cities.wav, endgame_nagg_nell.wav or beckett.wav."""
    return Path(str(files("moonshine_voice"))) / "assets" / name
