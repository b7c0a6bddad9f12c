"""The driver's names for devices, the price table's, and drivers that do not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpu_jobs import devices
from gpu_jobs.devices import UNKNOWN, compute_device, device_of
from tests.drivers import driver


@pytest.mark.parametrize(
    ("drivers_name", "ours"),
    [
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L40", "L40"),
        ("Tesla T4", "T4"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", "A10"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA A100-PCIE-40GB", "A100-40GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", "A100-80GB"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA GH200 480GB", "GH200 480GB"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA RTX A1000", "RTX A1000"),
        ("NVIDIA GeForce RTX 4090", "GeForce RTX 4090"),
        ("NVIDIA L4\nNVIDIA L40S\n", "L4"),
        ("\n", UNKNOWN),
    ],
)
def test_a_device_has_the_price_tables_name_or_its_own(drivers_name: str, ours: str) -> None:
    assert device_of(drivers_name) == ours


def test_the_driver_is_asked_once(tmp_path: Path) -> None:
    with driver(tmp_path, f"echo asked >> {tmp_path}/asked; echo NVIDIA L40S"):
        assert [compute_device(), compute_device()] == ["L40S", "L40S"]
    assert (tmp_path / "asked").read_text() == "asked\n"


@pytest.mark.parametrize("script", ["exec sleep 60", "echo 'has failed'; exit 9", "printf '\\377\\n'; exit 9"])
def test_a_driver_that_hangs_or_fails_leaves_the_device_unknown_and_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(devices, "ASKING_SECONDS", 0.5)
    with driver(tmp_path, f"echo asked >> {tmp_path}/asked; {script}"):
        assert [compute_device(), compute_device()] == [UNKNOWN, UNKNOWN]
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_without_a_driver_it_is_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    compute_device.cache_clear()
    assert compute_device() == "cpu"
