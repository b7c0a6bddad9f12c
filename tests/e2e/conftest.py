"""What end-to-end tests share. Around them all: what their stacks call of AWS must be allowed by our policies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.local.launch import LocalStack
from infra.local.worker import environment_from_outputs
from shared.bootstrap import Services, bootstrap
from shared.settings import Settings
from tests.infra.policies import read_calls, refused


@pytest.fixture(scope="module", autouse=True)
def no_call_is_refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """moto checks no policies: a missing permission would first be seen on AWS.

    For each module by itself: stacks of other tests, whose templates are not ours, may follow in this process.
    """
    folder = tmp_path_factory.mktemp("calls")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOCAL_STACK_CALLS", str(folder))
        yield
    assert refused(call for file in folder.iterdir() for call in read_calls(file)) == []


@pytest.fixture
def services(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Services:
    """The services on the tables of the module's ``stack``, to look behind the counter."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.ready["aws_endpoint"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", stack.ready["region"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", stack.ready["access_key_id"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", stack.ready["secret_access_key"])
    return bootstrap(Settings.from_environment(environment_from_outputs(stack.ready["outputs"])))
