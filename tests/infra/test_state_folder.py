"""The folder of a kept state: whole or refused, wherever its writer died and whatever became of its files."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from infra.local.state_folder import FORMAT, Row, Snapshot, StateFolder, StateProblem

ABOUT = {"table_keys": {"Table": ["id"]}, "demo_account": None}


class Killed(BaseException):
    """The process died here."""


def keep(folder: StateFolder, *contents: bytes) -> Snapshot:
    """A snapshot with one object for each content, made current."""
    rows: list[Row] = [{"key": content.decode(), "sha256": folder.write_blob([content])[0]} for content in contents]
    snapshot = Snapshot(files={"objects.ndjson": rows, "tables.ndjson": [{"n": len(contents)}]}, about=ABOUT)
    folder.write(snapshot)
    return snapshot


def reopened(path: Path) -> Snapshot | None:
    """What the next stack finds."""
    folder = StateFolder(path)
    try:
        return folder.read()
    finally:
        folder.close()


def test_a_new_folder_is_empty_and_a_written_one_gives_back_what_was_written(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state")
    assert folder.read() is None
    rows: list[Row] = [{"text": "Grüße\n", "bytes": b"\x00\xff", "list": [1, None, {"deep": b""}]}]
    folder.write(Snapshot(files={"tables.ndjson": rows}, about=ABOUT))
    folder.close()
    assert reopened(tmp_path / "state") == Snapshot(files={"tables.ndjson": rows}, about=ABOUT)


def test_only_the_last_snapshot_and_its_objects_take_up_room(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    keep(folder, b"old", b"stays")
    stays = folder.blob(folder.write_blob([b"stays"])[0])
    written_at = stays.stat().st_mtime_ns
    keep(folder, b"stays", b"new")
    assert len(list((tmp_path / "snapshots").iterdir())) == 1
    assert len(list((tmp_path / "blobs").iterdir())) == 2
    assert stays.stat().st_mtime_ns == written_at, "what was kept already was written again"


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    keep(StateFolder(tmp_path / "state"), b"a transcript")
    for path in [tmp_path / "state", *(tmp_path / "state").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


STEPS = ("fsync", "replace", "rename", "mkdir", "open", "rmtree", "unlink")


class DiesAt:
    """Makes the n-th step that touches the disk the last one, before or after its effect."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int, *, after: bool) -> None:
        self._left, self._after = step, after
        for owner, name in [(os, "fsync"), (os, "open"), (shutil, "rmtree"),
                            *((Path, name) for name in ("replace", "rename", "mkdir", "unlink"))]:  # fmt: skip
            monkeypatch.setattr(owner, name, self._mortal(getattr(owner, name)))

    def _mortal(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                if self._after:
                    real(*args, **kwargs)
                raise Killed
            return real(*args, **kwargs)

        return call


@pytest.mark.parametrize("after", [False, True], ids=["before the step", "after the step"])
def test_a_death_at_any_step_leaves_the_new_snapshot_or_the_one_before(tmp_path: Path, *, after: bool) -> None:
    finished = step = 0
    while not finished:
        path = tmp_path / f"{after}-{step}"
        folder = StateFolder(path)
        old = keep(folder, b"both", b"old")
        with pytest.MonkeyPatch.context() as monkeypatch:
            DiesAt(monkeypatch, step, after=after)
            try:
                keep(folder, b"both", b"new")
                finished = step
            except Killed:
                pass
        folder.close()
        found = reopened(path)
        assert found is not None
        keys = {row["key"] for row in found.files["objects.ndjson"]}
        assert keys in ({"both", "old"}, {"both", "new"}), f"step {step}"
        assert found.files.keys() == old.files.keys()
        again = StateFolder(path)
        keep(again, b"both", b"later")  # and what was left lying about is in nobody's way
        again.close()
        assert len(list((path / "blobs").iterdir())) == 2
        step += 1
    assert finished > 15, "the steps that touch the disk were not counted"


@pytest.mark.parametrize("step", range(8))
def test_a_death_while_a_folder_is_first_made_leaves_one_that_can_be_used(tmp_path: Path, step: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        DiesAt(monkeypatch, step, after=True)
        with contextlib.suppress(Killed):
            StateFolder(tmp_path / "state").close()
    assert reopened(tmp_path / "state") is None


def _files(path: Path) -> list[Path]:
    return sorted(each for each in path.rglob("*") if each.is_file() and each.name != "lock")


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "empty"])
def test_any_damaged_file_is_named_and_nothing_is_loaded(tmp_path: Path, damage: str) -> None:
    folder = StateFolder(tmp_path / "whole")
    keep(folder, b"one", b"two")
    folder.close()
    files = _files(tmp_path / "whole")
    assert len(files) == 6  # CURRENT, manifest, two tables, two objects
    for file in files:
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "whole", copy)
        damaged = copy / file.relative_to(tmp_path / "whole")
        content = damaged.read_bytes()
        if damage == "gone":
            damaged.unlink()
        else:
            changed = {"cut": content[:-1], "changed": bytes([content[0] ^ 1]) + content[1:], "empty": b""}[damage]
            damaged.write_bytes(changed)
        if not (damage == "cut" and file.name == "CURRENT"):  # its last byte is a line end
            with pytest.raises(StateProblem, match=file.name):
                reopened(copy)
        shutil.rmtree(copy)


@pytest.mark.parametrize(("found", "age"), [(FORMAT - 1, "an older"), (FORMAT + 1, "a newer"), (None, "an older")])
def test_another_versions_folder_is_refused(tmp_path: Path, found: int | None, age: str) -> None:
    folder = StateFolder(tmp_path)
    keep(folder, b"one")
    folder.close()
    current = json.loads((tmp_path / "CURRENT").read_text())
    (tmp_path / "CURRENT").write_text(json.dumps(current | {"format": found}))
    with pytest.raises(StateProblem, match=f"{age} version .* Start it with that version, or use another folder"):
        reopened(tmp_path)


def test_two_stacks_cannot_have_one_folder(tmp_path: Path) -> None:
    first = StateFolder(tmp_path)
    with pytest.raises(StateProblem, match=rf"in use by another stack \(process {os.getpid()}\)"):
        StateFolder(tmp_path)
    first.close()
    StateFolder(tmp_path).close()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StateProblem, match="holds files but no CURRENT"):
        StateFolder(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["lock", "thesis.txt"]
