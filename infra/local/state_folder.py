"""A folder that keeps a stack's state: whole snapshots, one of them current, replaced atomically. Knows no moto.

    lock                      held while a stack uses the folder
    CURRENT                   which snapshot counts, and the checksum of its manifest
    snapshots/N/manifest.json format, versions, and a checksum of each file beside it
    snapshots/N/*.ndjson      tables, queues, objects, uploads: one row a line
    blobs/SHA256              contents of objects, written once and shared by snapshots

The order of writing is: blobs, snapshot under another name, its rename, CURRENT's rename, each synced before the next.
Whenever the process dies, CURRENT names a whole snapshot: the new one or the one before.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

FORMAT: Final = 1  # raise it when what the files mean changes
_BLOCK_BYTES: Final = 1024 * 1024

Row = dict[str, Any]


class StateProblem(Exception):
    """The folder cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything of one moment. ``files`` are rows by file name, ``about`` what else is to be remembered."""

    files: Mapping[str, list[Row]]
    about: Mapping[str, Any]


class StateFolder:
    """The folder, locked for this process until ``close``. Raises StateProblem when another stack has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go by the kernel when we die
        except OSError:
            owner = os.read(self._lock, 100).decode(errors="replace").strip()
            os.close(self._lock)
            raise StateProblem(
                f"{self.folder} is in use by another stack (process {owner or 'unknown'}). Stop that one first, or use "
                "another folder."
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another stack have it."""
        os.close(self._lock)

    def _make(self) -> None:
        """The folder as it begins. Raises StateProblem for one that is used for something else."""
        found = {path.name for path in self.folder.iterdir()} - {"lock", "CURRENT.partial"}
        if not found:
            self._write_current({"format": FORMAT, "snapshot": None})  # first: it says that the rest is ours
        elif "CURRENT" not in found:
            raise StateProblem(
                f"{self.folder} holds files but no CURRENT: it is no state of a local stack, or a damaged one. "
                "Use an empty folder, or restore this one from a copy."
            )
        for name in ("snapshots", "blobs"):
            (self.folder / name).mkdir(exist_ok=True, mode=0o700)

    # ---- reading ---------------------------------------------------------------------------------------------------

    def read(self) -> Snapshot | None:
        """The current snapshot, every byte of it checked; None in a new folder. Raises StateProblem."""
        current = self._json(self.folder / "CURRENT")
        self._check_format(current)
        if current.get("snapshot") is None:
            return None
        folder = self.folder / "snapshots" / str(current["snapshot"])
        if _sha256_of_file(folder / "manifest.json") != current.get("manifest_sha256"):
            raise self._torn(f"snapshots/{folder.name}/manifest.json")
        manifest = self._json(folder / "manifest.json")
        self._check_format(manifest)
        files = {name: self._rows(folder / name, told["sha256"]) for name, told in manifest["files"].items()}
        for digest in blobs_of(files):
            if _sha256_of_file(self.blob(digest)) != digest:
                raise self._torn(f"blobs/{digest}")
        return Snapshot(files=files, about=manifest["about"])

    def _check_format(self, told: Mapping[str, Any]) -> None:
        found = told.get("format")
        if found != FORMAT:
            age = "a newer" if isinstance(found, int) and found > FORMAT else "an older"
            raise StateProblem(
                f"{self.folder} was written by {age} version of the local stack (format {found}; this one reads "
                f"{FORMAT}). Start it with that version, or use another folder."
            )

    def _rows(self, path: Path, sha256: str) -> list[Row]:
        if _sha256_of_file(path) != sha256:
            raise self._torn(f"snapshots/{path.parent.name}/{path.name}")
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line, object_hook=_with_bytes) for line in lines]

    def _json(self, path: Path) -> dict[str, Any]:
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            raise self._torn(str(path.relative_to(self.folder))) from None
        if not isinstance(found, dict):
            raise self._torn(str(path.relative_to(self.folder)))
        return found

    def _torn(self, name: str) -> StateProblem:
        return StateProblem(
            f"{self.folder} is damaged: {name} is missing or not what was written. Nothing was loaded. Restore the "
            "folder from a copy, or use another one."
        )

    # ---- writing ---------------------------------------------------------------------------------------------------

    def blob(self, digest: str) -> Path:
        """Where the content with this SHA-256 is."""
        return self.folder / "blobs" / digest

    def blobs(self) -> set[str]:
        """The SHA-256 of every content that is kept."""
        return {path.name for path in (self.folder / "blobs").iterdir()}

    def write_blob(self, blocks: Iterable[bytes]) -> tuple[str, int]:
        """Keep a content unless it is kept already; its SHA-256 in hex, and how many bytes were written."""
        partial, digest, size = self.folder / "blobs" / f".partial-{os.getpid()}", hashlib.sha256(), 0
        with _private(partial) as file:
            for block in blocks:
                digest.update(block)
                size += len(block)
                file.write(block)
            name = digest.hexdigest()
            if self.blob(name).exists():
                partial.unlink()
                return name, 0
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self.blob(name))
        return name, size

    def write(self, snapshot: Snapshot) -> int:
        """Make ``snapshot``, whose blobs are kept already, the current one; how many bytes its files have."""
        _sync(self.folder / "blobs")
        before = self._json(self.folder / "CURRENT").get("snapshot") or "0"
        name = str(int(before) + 1)
        partial, folder = self.folder / "snapshots" / f".partial-{name}", self.folder / "snapshots" / name
        for leftover in (partial, folder):  # of a process that died before it could make it current
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir(mode=0o700)
        told, size = {}, 0
        for file, rows in snapshot.files.items():
            content = b"".join(json.dumps(row, default=_without_bytes).encode() + b"\n" for row in rows)
            _write(partial / file, content)
            told[file] = {"sha256": hashlib.sha256(content).hexdigest(), "rows": len(rows)}
            size += len(content)
        manifest = json.dumps({"format": FORMAT, "files": told, "about": dict(snapshot.about)}, indent=2).encode()
        _write(partial / "manifest.json", manifest)
        _sync(partial)
        partial.rename(folder)
        _sync(folder.parent)
        self._write_current(
            {"format": FORMAT, "snapshot": name, "manifest_sha256": hashlib.sha256(manifest).hexdigest()}
        )
        self._remove_all_but(name, blobs_of(snapshot.files))
        return size

    def _write_current(self, told: Mapping[str, Any]) -> None:
        partial = self.folder / "CURRENT.partial"
        _write(partial, json.dumps(told).encode() + b"\n")
        partial.replace(self.folder / "CURRENT")
        _sync(self.folder)

    def _remove_all_but(self, snapshot: str, blobs: set[str]) -> None:
        for path in (self.folder / "snapshots").iterdir():
            if path.name != snapshot:
                shutil.rmtree(path, ignore_errors=True)
        for path in (self.folder / "blobs").iterdir():
            if path.name not in blobs:
                path.unlink(missing_ok=True)


def blobs_of(files: Mapping[str, list[Row]]) -> set[str]:
    """The SHA-256 of every content that the rows name."""
    return {row["sha256"] for rows in files.values() for row in rows if "sha256" in row} | {
        part["sha256"] for rows in files.values() for row in rows for part in row.get("parts", []) if "sha256" in part
    }


def read_blocks(path: Path) -> Iterator[bytes]:
    """The file's bytes, some at a time."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _sha256_of_file(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        for block in read_blocks(path):
            digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


@contextlib.contextmanager
def _private(path: Path) -> Iterator[BinaryIO]:
    """A file for the owner's eyes only: there are keys and transcripts in it."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        yield file


def _write(path: Path, content: bytes) -> None:
    with _private(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _without_bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    raise TypeError(f"{type(value).__name__} cannot be kept")


def _with_bytes(value: dict[str, Any]) -> Any:
    return bytes.fromhex(value["$bytes"]) if value.keys() == {"$bytes"} else value
