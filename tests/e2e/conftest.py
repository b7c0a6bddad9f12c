"""Around all end-to-end tests: whatever their stacks call of AWS must be allowed by the template's policies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.infra.policies import read_calls, refused


@pytest.fixture(scope="session", autouse=True)
def no_call_is_refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """moto checks no policies: a missing permission would first be seen on AWS."""
    folder = tmp_path_factory.mktemp("calls")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOCAL_STACK_CALLS", str(folder))
        yield
    assert refused(call for file in folder.iterdir() for call in read_calls(file)) == []
