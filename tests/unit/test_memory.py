"""The lid on memory: within the block, and not a moment longer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gpu_jobs import memory
from gpu_jobs.memory import memory_lid

MIB = 1024**2


@pytest.mark.skipif(sys.platform != "linux", reason="the lid is the Linux kernel's")
def test_what_goes_over_the_lid_fails_and_everything_else_goes_on() -> None:
    with memory_lid(64 * MIB):
        with pytest.raises(MemoryError):
            bytearray(512 * MIB)
        assert len(bytearray(16 * MIB)) == 16 * MIB
    assert len(bytearray(512 * MIB)) == 512 * MIB


@pytest.mark.skipif(sys.platform != "linux", reason="the lid is the Linux kernel's")
def test_a_lid_within_a_lid_does_not_lift_it() -> None:
    with memory_lid(64 * MIB):
        with memory_lid(1024 * MIB), pytest.raises(MemoryError):
            bytearray(512 * MIB)
        with pytest.raises(MemoryError):
            bytearray(512 * MIB)


@pytest.mark.parametrize("status", [None, "Name:\tpython\nVmRSS:\t1 kB\n"])
def test_a_kernel_that_does_not_tell_gets_no_lid_and_no_error(
    status: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "STATUS", tmp_path / "status")
    if status is not None:
        (tmp_path / "status").write_text(status)

    with memory_lid(MIB):
        assert len(bytearray(16 * MIB)) == 16 * MIB
