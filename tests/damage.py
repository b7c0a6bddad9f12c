"""What can happen to a file on its way, and what somebody may have done to it on purpose."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.media_files import RECIPES


@dataclass(frozen=True, slots=True)
class Damage:
    """A file's recipe, how much its end lacks, and what stands in which place instead."""

    name: str
    cut: int
    edits: list[tuple[int, bytes]]

    def done_to(self, data: bytes) -> bytes:
        """The damaged file."""
        mutable = bytearray(data)
        for place, value in self.edits:
            at = place % len(mutable)
            mutable[at : at + len(value)] = value
        return bytes(mutable[: len(mutable) - self.cut % len(mutable)])


_VALUES = st.one_of(
    st.binary(min_size=1, max_size=4),
    st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff" * 8, b"\0" * 8, b"\x01\0\0\0\0\0\0\0"]),
)
# Headers are where a reader can be led astray, so half of the damage is done there.
_PLACES = st.one_of(st.integers(0, 600), st.integers(0, 1 << 20), st.integers(-600, -1))
DAMAGES = st.builds(
    Damage,
    name=st.sampled_from(sorted(RECIPES)),
    cut=st.one_of(st.just(0), st.integers(0, 1 << 20)),
    edits=st.lists(st.tuples(_PLACES, _VALUES), max_size=12),
)
