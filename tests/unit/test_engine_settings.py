"""Engines chosen by the environment."""

from __future__ import annotations

import re

import pytest

from gpu_jobs.engines import EngineSettings, build_engines, read_engine_settings
from gpu_jobs.transcribe.moonshine import MoonshineTranscriber, tidy
from gpu_jobs.transcribe.whisper import WhisperTranscriber
from tests.infra.repository import ROOT


def test_every_setting_is_explained_to_operators() -> None:
    names = re.findall(r"[A-Z]+(?:_[A-Z]+)*(?=[,. ])", (read_engine_settings.__doc__ or "").split("all optional")[0])
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

    assert len(names) >= 12
    assert [name for name in names if f"`{name}`" not in page] == []


def test_nothing_set_means_the_engine_that_needs_no_network() -> None:
    settings = read_engine_settings({})

    assert settings == EngineSettings()
    assert isinstance(build_engines(settings).transcriber, MoonshineTranscriber)


def test_empty_settings_are_as_good_as_none() -> None:
    assert read_engine_settings(dict.fromkeys(["ENGINE", "MODEL", "DEVICE", "COMPUTE_TYPE", "CPU_THREADS"], "")) == (
        EngineSettings()
    )


def test_whisper_is_one_setting_away_and_loads_nothing_yet() -> None:
    settings = read_engine_settings({"ENGINE": "faster-whisper", "MODEL": "small", "CPU_THREADS": "2"})

    assert settings == EngineSettings(transcriber="faster-whisper", whisper_model="small", cpu_threads=2)
    assert isinstance(build_engines(settings).transcriber, WhisperTranscriber)


@pytest.mark.parametrize(("name", "value"), [("ENGINE", "whisperx"), ("CPU_THREADS", "many")])
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        read_engine_settings({name: value})


@pytest.mark.parametrize(
    ("heard", "written"),
    [
        ("In short,, the period", "In short, the period"),
        ("\"Ah, that's a good story.", "Ah, that's a good story."),
        ("the end. it was", "The end. It was"),
        ("  two   spaces ", "Two spaces"),
        ("", ""),
    ],
)
def test_moonshines_slips_of_the_pen_are_mended(heard: str, written: str) -> None:
    assert tidy(heard) == written
