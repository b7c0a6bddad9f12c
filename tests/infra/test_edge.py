"""The template's CloudFront function, run under Node, and the local gateway's copy of its pick."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from functions.api.routes import openai
from infra.local import template
from infra.local.edge import TOO_LARGE, pick_origin

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
RUNNER = """
const cf = { selectRequestOriginById(id) { picked = id; } };
let picked = 'api';
const events = JSON.parse(require('fs').readFileSync(0, 'utf8'));
%s
process.stdout.write(JSON.stringify(events.map((event) => {
    picked = 'api';
    const answer = handler(event);
    return { picked: answer.statusCode ? 'nobody' : picked, answer };
})));
"""
GIB = 1024**3
CASES: list[tuple[str, str, str | None]] = [
    (method, path, length)
    for method in ("POST", "GET", "HEAD", "PUT")
    for path in (
        "/api/v1/transcribe/",
        "/api/v1/transcribe",
        "/api/v1/transcribe/url/",
        "/api/v1/transcribe/550e8400-e29b-41d4-a716-446655440000/",
        "/api/v1/transcriber/",
        "/api/v1/uploads/",
        "/v1/audio/transcriptions",
        "/v1/audio/translations/",
        "/x/api/v1/transcribe/",
        "/",
    )
    for length in (None, "0", "1000", "4000000", "4000001", str(3 * GIB), str(4 * GIB), str(4 * GIB + 1), "1e3", "-1")
]


def _run(events: list[dict[str, Any]]) -> Any:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; the CloudFront function cannot be run")
    code = template.read(TEMPLATE)["Resources"]["OriginFunction"]["Properties"]["FunctionCode"]
    first, _, rest = code.partition("\n")
    assert first == "import cf from 'cloudfront';"
    done = subprocess.run(
        [node, "-e", RUNNER % rest], input=json.dumps(events), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def _event(method: str, path: str, length: str | None) -> dict[str, Any]:
    headers = {"host": {"value": "api.example.com"}}
    if length is not None:
        headers["content-length"] = {"value": length}
    request = {"method": method, "uri": path, "querystring": {}, "headers": headers, "cookies": {}}
    return {"version": "1.0", "context": {"eventType": "viewer-request", "requestId": "r-1"}, "request": request}


def test_the_function_and_the_local_gateway_pick_the_same_origin() -> None:
    answers = _run([_event(*case) for case in CASES])

    assert [answer["picked"] for answer in answers] == [pick_origin(*case).value for case in CASES]
    assert {answer["picked"] for answer in answers} == {"api", "modal", "nobody"}


def test_small_recordings_go_to_lambda_and_large_ones_to_the_streaming_host() -> None:
    sizes = ("100000", "3000000000", None)
    picked = [pick_origin("POST", "/api/v1/transcribe/", size).value for size in sizes]

    assert picked == ["api", "modal", "modal"]


def test_a_body_that_is_too_large_for_both_is_refused_with_another_way_in() -> None:
    (answer,) = _run([_event("POST", "/api/v1/transcribe/", str(5 * GIB))])

    body = json.loads(answer["answer"]["body"])
    assert answer["answer"]["statusCode"] == 413
    assert body == {"error": "payload_too_large", "message": TOO_LARGE, "request_id": "r-1"}


def test_a_chunked_body_goes_where_any_length_is_taken() -> None:
    event = _event("POST", "/api/v1/transcribe", None)
    event["request"]["headers"]["transfer-encoding"] = {"value": "chunked"}

    (answer,) = _run([event])

    assert answer["picked"] == "modal"


def test_an_answer_that_waits_for_its_transcript_comes_before_cloudfront_gives_up() -> None:
    resources = template.read(TEMPLATE)["Resources"]
    origins = resources["Distribution"]["Properties"]["DistributionConfig"]["Origins"]
    patience = {each["Id"]: each["CustomOriginConfig"]["OriginReadTimeout"] for each in origins}

    assert patience["modal"] >= openai.HOST_WAIT_SECONDS + 5
    assert min(29, patience["api"]) >= openai.LAMBDA_WAIT_SECONDS + 5


def test_a_request_is_passed_on_unchanged() -> None:
    event = _event("POST", "/api/v1/transcribe/", "5000000")

    (answer,) = _run([event])

    assert answer["answer"] == event["request"]
