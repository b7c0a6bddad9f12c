"""One small stack for all tests of the local stack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.infra.small_stack import SmallStack


@pytest.fixture(scope="session")
def small_stack() -> Iterator[SmallStack]:
    """The running small stack; its schedule fires every second."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SECRET_OF_THE_SHELL", "must not leak")
        with SmallStack("--schedule-seconds", "1") as stack:
            yield stack
