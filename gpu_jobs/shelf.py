"""Where a job's chunk results are kept while it is under way: in the bucket, under the job's own prefix."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

from shared.adapters.s3 import Bucket, ObjectMissing

SUFFIX = ".json.gz"


class BucketShelf:
    """The ChunkShelf of a job. Objects go with the prefix's lifecycle rule, a few days after they were made.

    They are left to it when the job ends: for a failed one they are what the operator looks at.
    """

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self._bucket = bucket
        self.prefix = prefix

    def get(self, name: str) -> dict[str, Any] | None:
        """What is kept under the name; None where nothing is, or nothing that can be read."""
        try:
            body = self._bucket.get(self.key(name))
        except ObjectMissing:
            return None
        try:
            values: dict[str, Any] = json.loads(gzip.decompress(body))
        except (OSError, EOFError, ValueError, zlib.error):
            return None
        return values

    def put(self, name: str, values: dict[str, Any]) -> None:
        """Keep the values, unless something is there already: whoever came first was as good."""
        body = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
        self._bucket.put_new(self.key(name), gzip.compress(body, compresslevel=6, mtime=0), "application/gzip")

    def every(self, beginning: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names that begin so, with what can be read under them."""
        for found in self._bucket.find(self.prefix + beginning):
            name = found.key.removeprefix(self.prefix).removesuffix(SUFFIX)
            values = self.get(name)
            if values is not None:
                yield name, values

    def key(self, name: str) -> str:
        """The object's key."""
        return f"{self.prefix}{name}{SUFFIX}"
