"""Fixtures: our template's own tables, queues, bus and bucket in an in-process moto, and the API on top of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from moto import mock_aws

from functions.api.app import create_app
from infra.local import moto_fixes
from infra.local import stack as local_stack
from infra.local import template as local_template
from infra.local.aws import REGION
from shared.adapters.sqs import Queue
from shared.bootstrap import Services, bootstrap
from shared.domain.accounts import ALL_SCOPES, Scope
from shared.domain.credits import Balance
from shared.domain.ids import AccountId
from shared.settings import Settings

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """The stack's resources and, for each function by its name in the template, its services."""

    created: local_stack.Created

    def services(self, function: str = "ApiFunction", **environment: str) -> Services:
        """Fresh services with the environment that the template gives to ``function``."""
        found = next(each for each in self.created.functions if each.logical_id == function)
        return bootstrap(Settings.from_environment({**found.environment, **environment}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A new account with a key."""

    services: Services
    account_id: AccountId
    api_key: str

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.api_key}"}

    def grant(self, amount_credits: float) -> None:
        """Give the account credits, once per test."""
        self.services.credits.grant(self.account_id, round(amount_credits * 1000), entry_id="grant")

    def balance(self) -> Balance:
        """What the account has now."""
        return self.services.credits.balance(self.account_id)

    def make_key(self, scopes: frozenset[Scope] = ALL_SCOPES) -> str:
        """Another key."""
        return self.services.keys.create(self.account_id, "another", scopes=scopes)[1]


@contextmanager
def template_in_moto() -> Iterator[Cloud]:
    """The template in an in-process moto."""
    template = local_template.read(TEMPLATE)
    values = local_template.parameters(template, {"AllowLoopbackWebhooks": "true"})
    moto_fixes.import_cloudformation_quickly()
    moto_fixes.event_bus_has_an_id()
    moto_fixes.transactions_copy_only_touched_items()
    with pytest.MonkeyPatch.context() as environment, mock_aws(config={"lambda": {"use_docker": False}}):
        for name, value in CREDENTIALS.items():
            environment.setenv(name, value)
        environment.delenv("AWS_ENDPOINT_URL", raising=False)
        environment.delenv("AWS_PROFILE", raising=False)
        yield Cloud(created=local_stack.create(local_template.translate(template, values), values, endpoint_url=None))


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """The template in moto, once per test module: tests keep apart by using accounts of their own."""
    with template_in_moto() as made:
        yield made


@pytest.fixture(scope="module")
def services(cloud: Cloud) -> Services:
    """The API's services."""
    return cloud.services()


@pytest.fixture(scope="module")
def api(services: Services) -> Iterator[TestClient]:
    """The API in-process. Exceptions stay inside, as they do on Lambda."""
    app: FastAPI = create_app(lambda: services)
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


@pytest.fixture
def customer(services: Services) -> Customer:
    """An account with no credits yet."""
    account = services.accounts.create("Ada")
    _, secret = services.keys.create(account.account_id, "test")
    return Customer(services=services, account_id=account.account_id, api_key=secret)


@pytest.fixture
def funded(customer: Customer) -> Customer:
    """An account with 1,000 credits."""
    customer.grant(1_000)
    return customer


@pytest.fixture
def jobs_queue(services: Services) -> Queue:
    """The jobs queue, empty at the start."""
    sqs: Any = boto3.client("sqs")
    sqs.purge_queue(QueueUrl=services.settings.jobs_queue_url)
    return Queue(sqs, services.settings.jobs_queue_url)
