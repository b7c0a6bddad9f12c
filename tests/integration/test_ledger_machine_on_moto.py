"""The ledger's random walk on a real DynamoDB API: the in-memory one of the long walks may have its own ideas."""

from __future__ import annotations

import boto3
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.conftest import Cloud
from tests.property.test_ledger_machine import LedgerMachine
from tests.property.world import Clients, MemoryBucket, MemoryBus, MemoryQueues, Names, World


def test_the_ledger_adds_up_on_moto_too(cloud: Cloud) -> None:
    stack, dynamodb = cloud.services("SweepFunction").settings, boto3.client("dynamodb")
    tables = {
        "accounts": stack.accounts_table,
        "api-keys": stack.api_keys_table,
        "ledger": stack.ledger_table,
        "usage": stack.usage_table,
        "requests": stack.requests_table,
        "jobs": stack.jobs_table,
    }

    class OnMoto(LedgerMachine):
        """The same machine, on the template's tables."""

        def make_world(self) -> World:
            for table in tables.values():
                _empty(table)
            world = World(
                Clients(dynamodb=dynamodb, s3=MemoryBucket(), sqs=MemoryQueues(), events=MemoryBus()),
                Names(tables=tables),
            )
            world.queues = world.clients.sqs
            return world

    run_state_machine_as_test(
        OnMoto,
        settings=settings(
            max_examples=5,
            stateful_step_count=20,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def _empty(table: str) -> None:
    """Ids are counted from 1 in every world: a new one must find nothing of the last."""
    from moto.dynamodb.models import dynamodb_backends

    found = dynamodb_backends["123456789012"]["us-east-1"].tables[table]
    found.items.clear()
