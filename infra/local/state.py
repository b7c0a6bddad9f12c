"""A local stack that can be kept (``--state DIR``): snapshots at intervals and at the end, brought back at the start.

A snapshot is of one moment at which no request is under way. The stack's processes may be between any two calls then,
as when all of them are killed; that is what the product is built for.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gc
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from infra.local import state_moto
from infra.local.aws import LocalAws
from infra.local.demo_account import DemoAccount
from infra.local.stack import Stores
from infra.local.state_folder import Snapshot, StateFolder
from infra.local.state_moto import Places


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a snapshot took. ``still_seconds`` is how long no request got through."""

    items: int
    messages: int
    objects: int
    written_bytes: int
    still_seconds: float
    seconds: float

    def __str__(self) -> str:
        """For a person."""
        written = f"{self.written_bytes / 1e6:.1f} MB written in {self.seconds:.2f} s"
        still = f"the stack stood still for {1000 * self.still_seconds:.0f} ms"
        return f"{self.items} items, {self.messages} messages, {self.objects} objects; {written}, {still}"


class KeptState:
    """The state of one stack in one folder. Raises StateProblem when the folder cannot be used.

    ``demo`` is the demo account of the stack that was kept: of its key, tables only have the hash.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = StateFolder(folder)
        try:
            self._snapshot = self._folder.read()
        except BaseException:
            self._folder.close()
            raise
        self._keeping = threading.Lock()
        self._kept_writes = -1
        told = self._snapshot.about["demo_account"] if self._snapshot else None
        self.demo = DemoAccount(**told) if told else None

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder.folder

    def restore(self, stores: Stores) -> str | None:
        """Bring everything back into the stack that was just created; what that was. Raises StateProblem."""
        told = None
        if self._snapshot is not None:
            state_moto.Restoration(self._snapshot, self._folder, Places(stores)).carry_out()
            rows = {name: len(rows) for name, rows in self._snapshot.files.items()}
            told = (
                f"{rows[state_moto.TABLES]} items, {rows[state_moto.QUEUES]} messages, {rows[state_moto.OBJECTS]} "
                f"objects, as of {self._snapshot.about['taken_at']}"
            )
            self._snapshot = None  # it may be large
        return told

    def keep(self, aws: LocalAws, stores: Stores, demo: DemoAccount | None, *, always: bool = True) -> Kept | None:
        """Write a snapshot; None when ``always`` is False and nothing changed. When it raises, the old one stays."""
        with self._keeping:
            if not always and aws.writes == self._kept_writes:
                return None
            began = time.monotonic()
            places = Places(stores)
            blobs = state_moto.BlobKeeper(self._folder)
            blobs.keep_ahead(places)
            with aws.standing_still(), _no_garbage_collection():
                stopped = time.monotonic()
                writes = aws.writes
                files = state_moto.capture(places, blobs)
                still_seconds = time.monotonic() - stopped
            about = {
                "taken_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                "moto": version("moto"),
                "table_keys": places.table_keys(),
                "demo_account": asdict(demo) if demo else None,
            }
            size = self._folder.write(Snapshot(files=files, about=about))
            self._kept_writes = writes
            return Kept(
                items=len(files[state_moto.TABLES]),
                messages=len(files[state_moto.QUEUES]),
                objects=len(files[state_moto.OBJECTS]),
                written_bytes=size + blobs.written_bytes,
                still_seconds=still_seconds,
                seconds=time.monotonic() - began,
            )

    def close(self) -> None:
        """Let another stack have the folder."""
        with self._keeping:
            self._folder.close()


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A full collection looks at everything the stack has: half a second, where copying takes a tenth of that."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
