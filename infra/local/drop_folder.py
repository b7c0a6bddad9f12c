"""``./drop/`` on this machine is the demo account's drop folder: files go up when they have settled, results come down.

Everything in between - the bucket's notification, the queue, the function - is the stack's own.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, Final

from infra.local.completion import client
from infra.local.stack_log import StackLog

_PAUSE_SECONDS: Final = 0.5
_RESULTS: Final = (".json", ".srt", ".vtt", ".txt")
_SIDECAR: Final = ".options.json"
_DEFAULTS: Final = "options.json"

Stamp = tuple[int, int]  # size and time of a file


class DropFolder:
    """Mirrors a folder and ``drop/{account}/`` of the bucket, on a thread of its own, while the folder exists."""

    def __init__(self, folder: Path, *, endpoint_url: str, bucket: str, account_id: str, log: StackLog) -> None:
        self._folder, self._bucket, self._log = folder, bucket, log
        self._prefix = f"drop/{account_id}/"
        self._s3: Any = client("s3", endpoint_url)
        self._sent: dict[str, Stamp] = {}
        self._seen: dict[str, Stamp] = {}
        self._fetched: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._mirror, name="drop", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more files."""
        self._stopping.set()

    def _mirror(self) -> None:
        while not self._stopping.wait(_PAUSE_SECONDS):
            try:
                if self._folder.is_dir():
                    self._send()
                    self._fetch()
            except Exception as error:  # noqa: BLE001 - the next turn comes whatever this one met
                self._log.notice(f"drop folder: {error!r}")
                time.sleep(_PAUSE_SECONDS)

    def _send(self) -> None:
        """Upload what is new and has stood still for one turn: a file that is being copied keeps growing."""
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder).as_posix()
            if not path.is_file() or path.name.startswith(".") or _is_result(name):
                continue
            stat = path.stat()
            stamp = (stat.st_size, stat.st_mtime_ns)
            if self._seen.get(name) == stamp and self._sent.get(name) != stamp:
                self._s3.upload_file(str(path), self._bucket, self._prefix + name)
                self._sent[name] = stamp
            self._seen[name] = stamp

    def _fetch(self) -> None:
        """Download results that are new or have changed."""
        if not self._sent:
            return
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        for each in (each for page in pages for each in page.get("Contents", [])):
            name = each["Key"].removeprefix(self._prefix)
            if not _is_result(name) or self._fetched.get(name) == each["ETag"]:
                continue
            target = self._folder / name
            if not target.parent.is_dir() or ".." in Path(name).parts:
                continue  # its recording is not from here
            partial = target.with_name(f".{target.name}.part")
            self._s3.download_file(self._bucket, each["Key"], str(partial))
            partial.replace(target)
            self._fetched[name] = each["ETag"]


def _is_result(name: str) -> bool:
    return name.endswith(_RESULTS) and not name.endswith(_SIDECAR) and name != _DEFAULTS
