"""Pages of other origins that call the API from a browser."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from functions import runtime
from functions.api.app import create_app
from shared.bootstrap import Services
from tests.integration.conftest import Customer

PAGE = "https://app.example.com"
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,idempotency-key"}


@pytest.fixture
def open_api(services: Services, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("ALLOWED_ORIGINS", f"{PAGE},https://other.example.com")
    return TestClient(create_app(lambda: services, cors_origins=runtime.cors_origins()), raise_server_exceptions=False)


def test_a_page_of_an_origin_that_was_named_may_ask_with_its_key(open_api: TestClient, customer: Customer) -> None:
    allowed = open_api.options("/api/v1/transcribe/", headers={"Origin": PAGE} | ASKED)
    assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (200, PAGE)
    assert allowed.headers["Access-Control-Allow-Headers"] == "authorization,idempotency-key"
    answer = open_api.get("/api/v1/account/", headers={"Origin": PAGE} | customer.headers)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, PAGE)
    assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]


def test_a_page_may_read_why_it_was_refused(open_api: TestClient) -> None:
    answer = open_api.get("/api/v1/account/", headers={"Origin": PAGE})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (401, PAGE)


def test_a_page_of_another_origin_may_not(open_api: TestClient, customer: Customer) -> None:
    refused = open_api.options("/api/v1/transcribe/", headers={"Origin": "https://evil.example.com"} | ASKED)
    assert "Access-Control-Allow-Origin" not in refused.headers
    answer = open_api.get("/api/v1/account/", headers={"Origin": "https://evil.example.com"} | customer.headers)
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_no_page_may_where_none_was_named(api: TestClient, customer: Customer) -> None:
    answer = api.get("/api/v1/account/", headers={"Origin": PAGE} | customer.headers)
    assert "Access-Control-Allow-Origin" not in answer.headers
