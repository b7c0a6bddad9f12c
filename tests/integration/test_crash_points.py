"""Every AWS call from submit to completion, failing before it, after it, and sent twice: charged once or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.domain.jobs import JobState
from tests.integration.conftest import Cloud
from tests.integration.crashes import CRASH_POINTS, REAL_SECONDS, Story, fresh_clients
from tests.property.world import Fault


@pytest.fixture(scope="module")
def cloud_with_clients(cloud: Cloud) -> Iterator[Cloud]:
    """The template in moto, and clients made inside it."""
    with fresh_clients():
        yield cloud


def _story(cloud: Cloud) -> Story:
    return Story(cloud.services("SweepFunction").settings)


def test_a_job_that_nothing_befalls_is_charged_once(cloud_with_clients: Cloud) -> None:
    story = _story(cloud_with_clients)
    job = story.tell()
    assert story.calls() == [call for _, call, _ in CRASH_POINTS], "the list of crash points is out of step"
    assert job.state is JobState.COMPLETED
    _check(story, charged_millicredits=4_000)


@pytest.mark.parametrize("fault", list(Fault))
def test_whatever_call_it_befalls_the_job_ends_and_is_charged_once_or_not_at_all(
    cloud_with_clients: Cloud, fault: Fault
) -> None:
    for number, (_, name, _) in enumerate(CRASH_POINTS):
        story = _story(cloud_with_clients)
        story.faults.plan(fault, number)
        job = story.tell()
        where = f"{fault} call {number} ({name})"
        assert len(story.calls()) > number, where
        assert job.state in {JobState.COMPLETED, JobState.FAILED}, where
        _check(story, charged_millicredits=job.price.charge(REAL_SECONDS) if job.state is JobState.COMPLETED else 0)


def _check(story: Story, *, charged_millicredits: int) -> None:
    services, account_id = story.observer(), story.account_id
    balance = services.credits.balance(account_id)
    assert balance.held_millicredits == 0
    assert balance.available_millicredits == 100_000 - charged_millicredits
    assert services.credits.verify(account_id).open_holds == {}
    days = services.usage.between(account_id, story.now.date().replace(day=1), story.now.date())
    assert sum(day.committed_millicredits for day in days) == charged_millicredits
    assert sum(day.submitted for day in days) == 1, "one submission, one job"
