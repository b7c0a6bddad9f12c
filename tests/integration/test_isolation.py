"""Another account's ids look like ids that do not exist: for every route with an id, taken from the route table."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from infra.api_documents import document
from shared.bootstrap import Services
from shared.domain.endpoints import EndpointWish, EventType
from shared.services.uploads import Announcement
from shared.services.webhooks import FinishedJob
from tests.finished_jobs import put_job
from tests.integration.conftest import Customer

_ROUTES = [
    (method.upper(), path, operation)
    for path, operations in document()["paths"].items()
    for method, operation in operations.items()
    if "{" in path
]


@pytest.mark.parametrize(
    ("method", "path", "operation"), _ROUTES, ids=[f"{method} {path}" for method, path, _ in _ROUTES]
)
def test_another_accounts_id_is_not_found(
    api: TestClient, services: Services, customer: Customer, method: str, path: str, operation: dict[str, Any]
) -> None:
    stranger = services.accounts.create("Eve")
    services.credits.grant(stranger.account_id, 1_000_000, entry_id="grant")
    _, secret = services.keys.create(stranger.account_id, "eve")
    theirs = _an_id_of(services, customer, path)
    answer = api.request(
        method,
        path.replace("{id}", theirs) + _required_query(operation),
        headers={"Authorization": f"Bearer {secret}", "Content-Type": "application/json"},
        content=json.dumps(_example(path, operation)),
    )
    assert (answer.status_code, answer.json()["error"]) == (404, "not_found"), answer.text
    unknown = "00000000-0000-4000-8000-000000000000" if path.startswith("/api/v1/transcribe") else "nothing"
    same = api.request(
        method,
        path.replace("{id}", unknown) + _required_query(operation),
        headers={"Authorization": f"Bearer {secret}", "Content-Type": "application/json"},
        content=json.dumps(_example(path, operation)),
    )
    assert same.status_code == 404
    assert same.json()["message"] == answer.json()["message"]


def test_the_route_table_has_ids() -> None:
    assert len(_ROUTES) >= 10


def _an_id_of(services: Services, customer: Customer, path: str) -> str:
    """An id of ``customer``'s that the route would take from its owner."""
    if path.startswith("/api/v1/transcribe/"):
        return put_job(services, customer.account_id).job_id
    if path.startswith("/api/v1/keys/"):
        return services.keys.of_account(customer.account_id)[0].key_id
    if path.startswith("/api/v1/uploads/"):
        announced = Announcement(filename="talk.mp3", content_type="audio/mpeg", size_bytes=1_000)
        return services.uploads.plan(customer.account_id, announced).upload_id
    wish = EndpointWish(url="https://example.com/hook", events=frozenset(EventType))
    endpoint = services.endpoints.create(customer.account_id, wish)
    if path.startswith("/api/v1/webhooks/"):
        return endpoint.endpoint_id
    if path.startswith("/api/v1/webhook-deliveries/"):
        job = put_job(services, customer.account_id)
        services.webhooks.fan_out(FinishedJob(job_id=job.job_id, account_id=job.account_id, status=job.status))
        return next(iter(services.webhooks._deliveries_of(job))).delivery_id
    pytest.fail(f"{path}: say here how an id of another account is made, so that the route is tested")


def _required_query(operation: dict[str, Any]) -> str:
    required = [each for each in operation.get("parameters", []) if each["in"] == "query" and each.get("required")]
    return "?" + "&".join(f"{each['name']}={each['schema']['enum'][0]}" for each in required)


def _example(path: str, operation: dict[str, Any]) -> Any:
    """A body that the route takes: the example of its schema."""
    if path == "/api/v1/uploads/{id}/parts/":
        return {"part_numbers": [1]}
    if "requestBody" not in operation:
        return {}
    content = operation["requestBody"]["content"]
    schema = content.get("application/json", {}).get("schema", {})
    if "anyOf" in schema:
        schema = schema["anyOf"][0]
    if "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return content.get("application/json", {}).get("example", schema.get("example", {}))
