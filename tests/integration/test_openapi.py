"""The OpenAPI document: valid, in step with the code, and true of the answers the API gives."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fastapi.testclient import TestClient
from openapi_spec_validator import validate

from functions.api.errors import STATUS_BY_CODE
from infra.api_documents import document
from shared.domain.errors import JobFailure
from shared.domain.ids import JobId
from tests.integration.conftest import Customer
from tests.integration.test_transcribe import URL, complete, submit

DOCUMENT = document()
JOB_PATH = "/api/v1/transcribe/{id}/"


def check(response: Any, path: str, method: str) -> None:
    """Hold an answer against the document."""
    described = DOCUMENT["paths"][path][method]["responses"][str(response.status_code)]
    schema = described["content"]["application/json"]["schema"]
    jsonschema.validate(response.json(), {**schema, "components": DOCUMENT["components"]})


def test_it_is_a_valid_openapi_document() -> None:
    validate(DOCUMENT)


def test_the_committed_copy_is_in_step_with_the_code() -> None:
    committed = Path(__file__).parents[2] / "docs" / "openapi.json"
    assert json.loads(committed.read_text("utf-8")) == DOCUMENT, "run: make openapi"


def described_answers() -> list[tuple[str, dict[str, Any]]]:
    """Every answer that is one of our objects, by where it is described."""
    return [
        (f"{method} {path} {status}", content)
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
        for status, response in operation["responses"].items()
        for content in [response.get("content", {}).get("application/json", {})]
        if {"$ref", "anyOf"} & content.get("schema", {}).keys()
    ]


@pytest.mark.parametrize(("place", "content"), described_answers(), ids=[place for place, _ in described_answers()])
def test_every_answer_has_an_example_that_fits_its_schema(place: str, content: dict[str, Any]) -> None:
    schema = content["schema"]
    references = [each["$ref"] for each in schema.get("anyOf", [schema])]
    models = [DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]] for reference in references]
    given = [content.get("example"), *(example for model in models for example in examples_of(model))]
    examples = [example for example in given if example is not None]
    assert examples, place
    for example in examples:
        jsonschema.validate(example, {**schema, "components": DOCUMENT["components"]})


def examples_of(model: dict[str, Any]) -> list[Any]:
    return [*([model["example"]] if "example" in model else []), *model.get("examples", [])]


def test_every_field_of_the_contract_is_described() -> None:
    form = DOCUMENT["paths"][URL]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"].keys() >= {
        *("file", "model", "language", "diarization", "timestamps", "word_timestamps"),
        *("summary", "vocabulary", "webhook_url"),
    }
    assert [each["name"] for each in DOCUMENT["paths"][JOB_PATH]["get"]["parameters"]] == ["id", "segments"]


def test_no_answer_of_the_framework_itself_is_described() -> None:
    assert "HTTPValidationError" not in json.dumps(DOCUMENT)


def test_real_answers_are_as_described(api: TestClient, funded: Customer) -> None:
    submitted = submit(api, funded, {"word_timestamps": "true", "unknown": "1"})
    check(submitted, URL, "post")
    job_url = f"{URL}{submitted.json()['id']}/?segments=true"
    check(api.get(job_url, headers=funded.headers), JOB_PATH, "get")
    complete(funded, JobId(submitted.json()["id"]))
    check(api.get(job_url, headers=funded.headers), JOB_PATH, "get")
    check(api.get("/api/v1/languages/", headers=funded.headers), "/api/v1/languages/", "get")


def times_in(answer: Any) -> list[str]:
    """Every time in an answer."""
    if isinstance(answer, dict | list):
        return [time for each in (answer.values() if isinstance(answer, dict) else answer) for time in times_in(each)]
    return [answer] if isinstance(answer, str) and re.match(r"\d{4}-\d\d-\d\dT", answer) else []


def test_every_time_has_one_form_to_the_millisecond(api: TestClient, funded: Customer) -> None:
    announced = {"filename": "a.mp3", "size": 1}
    made = api.post("/api/v1/keys/", json={"name": "n", "expires_at": "2999-01-01T00:00:00Z"}, headers=funded.headers)
    upload = api.post("/api/v1/uploads/", json=announced, headers=funded.headers)
    for answer, path, method in [
        (made, "/api/v1/keys/", "post"),
        (api.get("/api/v1/keys/", headers=funded.headers), "/api/v1/keys/", "get"),
        (api.get("/api/v1/account/ledger/", headers=funded.headers), "/api/v1/account/ledger/", "get"),
        (upload, "/api/v1/uploads/", "post"),
        (
            api.get(f"/api/v1/uploads/{upload.json()['upload_id']}/", headers=funded.headers),
            "/api/v1/uploads/{id}/",
            "get",
        ),
    ]:
        check(answer, path, method)
        found = times_in(answer.json())
        assert found
        assert [time for time in found if not re.fullmatch(r"[-0-9]{10}T[:0-9]{8}\.[0-9]{3}Z", time)] == []


@pytest.mark.parametrize("data", [{"summary": "x"}, {"model": "x"}])
def test_real_refusals_are_as_described(api: TestClient, customer: Customer, data: dict[str, str]) -> None:
    check(submit(api, customer, data), URL, "post")
    check(submit(api, customer), URL, "post")
    check(api.post(URL), URL, "post")
    check(api.get(f"{URL}x/", headers=customer.headers), JOB_PATH, "get")


def test_the_documentation_lists_every_error_with_its_status() -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for code, status in STATUS_BY_CODE.items():
        assert any(line.startswith(f"| {status} |") and f"`{code}`" in line for line in rows), code


def test_the_documentation_lists_every_reason_of_a_failure() -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
    assert [code for code in JobFailure.CODES - {"cancelled"} if f"`{code}`" not in text] == []


def test_an_upload_that_is_not_there_is_answered_as_documented(api: TestClient, funded: Customer) -> None:
    answer = api.post("/api/v1/transcribe/", json={"upload_id": "nothing"}, headers=funded.headers)
    assert answer.status_code == 404
    assert "404" in document()["paths"]["/api/v1/transcribe/"]["post"]["responses"]
