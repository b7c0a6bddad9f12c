"""A process's own folder for temporary files: gone when it ends, and soon after when it was killed."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".audiototext-"
_OURS = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}")  # as mkdtemp names them; a checkout of ours has another name


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder and have this process, and whatever it starts, put its temporary files there.

    A process that is killed leaves its folder behind, with a customer's recording in it. A folder is locked by its
    owner for as long as that lives, so whoever comes here next removes those that nobody holds any more.
    """
    parent = Path(tempfile.gettempdir())
    for left in parent.glob(f"{PREFIX}*"):
        if _OURS.fullmatch(left.name):
            _remove_unless_held(left)
    folder, lock = _make_and_lock(parent)
    try:
        with _temporary_files_in(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_unless_held(folder: Path) -> None:
    lock = _lock(folder)
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make_and_lock(parent: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        lock = _lock(folder)
        if lock is None:
            continue  # taken for a dead one's in the moment before we held it, and removed
        if folder.exists():
            return folder, lock
        os.close(lock)


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the folder until it is closed; None when somebody else holds it, or it is no folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    variable, module = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = module
        os.environ.pop("TMPDIR")
        if variable is not None:
            os.environ["TMPDIR"] = variable
