"""The bytes of a recording, read in blocks where they are needed: a file here or ranges of an object far away."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from typing import IO, Self

BLOCK_BYTES = 64 * 1024
KEPT_BLOCKS = 8
MAX_FETCHED_BYTES = 40 * 1024 * 1024
MAX_FETCHES = 700
MAX_READS = 200_000  # bounds the time a file made of millions of tiny boxes can take

Fetch = Callable[[int, int], bytes]


class BeyondEnd(Exception):
    """The headers point past the last byte: the file is cut off or lies."""


class BudgetSpent(Exception):
    """More would have to be read than a probe may."""


class ByteSource:
    """Random access to ``size_bytes`` bytes through ``fetch(offset, length)``; counts what it cost.

    Blocks are aligned and the last few are kept, so that a walk over small headers costs one fetch per block.
    """

    def __init__(
        self, fetch: Fetch, size_bytes: int, *, max_fetches: int = MAX_FETCHES, max_bytes: int = MAX_FETCHED_BYTES
    ) -> None:
        self._fetch = fetch
        self.size_bytes = size_bytes
        self._max_fetches = max_fetches
        self._max_bytes = max_bytes
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self.fetched_bytes = 0
        self.fetches = 0
        self._reads = 0

    @classmethod
    def of_file(cls, file: IO[bytes]) -> Self:
        """Over a seekable file, whose position is left as it was."""
        position = file.tell()
        size_bytes = file.seek(0, io.SEEK_END)
        file.seek(position)

        def fetch(offset: int, length: int) -> bytes:
            before = file.tell()
            file.seek(offset)
            try:
                return file.read(length)
            finally:
                file.seek(before)

        return cls(fetch, size_bytes)

    @classmethod
    def of_bytes(cls, data: bytes) -> Self:
        """Over bytes in memory."""
        return cls(lambda offset, length: data[offset : offset + length], len(data))

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``. Raises BeyondEnd, BudgetSpent."""
        data = self.read_up_to(offset, length)
        if len(data) < length:
            raise BeyondEnd(f"{length} bytes at {offset} of {self.size_bytes}")
        return data

    def read_up_to(self, offset: int, length: int) -> bytes:
        """The bytes there are from ``offset``, ``length`` at most. Raises BudgetSpent."""
        self._reads += 1
        if self._reads > MAX_READS:
            raise BudgetSpent
        end = min(offset + length, self.size_bytes)
        if offset < 0 or offset >= end:
            return b""
        first, last = offset // BLOCK_BYTES, (end - 1) // BLOCK_BYTES
        if first == last:
            block = self._block(first)
            return block[offset - first * BLOCK_BYTES : end - first * BLOCK_BYTES]
        data = b"".join(self._block(number) for number in range(first, last + 1))
        return data[offset - first * BLOCK_BYTES : end - first * BLOCK_BYTES]

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        offset = number * BLOCK_BYTES
        length = min(BLOCK_BYTES, self.size_bytes - offset)
        if self.fetches >= self._max_fetches or self.fetched_bytes + length > self._max_bytes:
            raise BudgetSpent
        block = self._fetch(offset, length)
        self.fetches += 1
        self.fetched_bytes += len(block)
        self._blocks[number] = block
        if len(self._blocks) > KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return block
