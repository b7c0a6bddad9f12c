"""The same app under its two hosts: Mangum with API Gateway's events, and uvicorn with real sockets."""

from __future__ import annotations

import base64
import gzip
import importlib
import json
import pkgutil
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import requests
import uvicorn
from starlette.testclient import TestClient

from functions import runtime
from functions.api import routes as api_routes
from functions.api.app import create_app
from functions.api.openapi import document
from shared.bootstrap import Services
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Segment, Word
from tests import media
from tests.finished_jobs import long_talk, put_job
from tests.integration.conftest import Cloud, Customer

BOUNDARY = "xyz"
LAMBDA_ANSWER_BYTES = 6 * 1024 * 1024


def multipart(body: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="ü.wav"\r\n\r\n'.encode()
    return head + body + f"\r\n--{BOUNDARY}--\r\n".encode()


def event(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> dict[str, Any]:
    """API Gateway's REST proxy event."""
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": {"proxy": path[1:]},
        "stageVariables": None,
        "requestContext": {"requestId": "gateway-id", "path": path, "identity": {"sourceIp": "1.2.3.4"}},
        "body": base64.b64encode(body).decode() if body else None,
        "isBase64Encoded": bool(body),
    }


@pytest.fixture
def handler(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """ApiFunction's handler, loaded as Lambda loads it: in the environment of the template."""
    environment = next(each.environment for each in cloud.created.functions if each.logical_id == "ApiFunction")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    runtime.services.cache_clear()
    sys.modules.pop("functions.api.handler", None)
    yield importlib.import_module("functions.api.handler").handler
    runtime.services.cache_clear()
    sys.modules.pop("functions.api.handler", None)


def test_a_binary_upload_survives_api_gateway(handler: Any, funded: Customer) -> None:
    headers = {**funded.headers, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "Host": "api.example"}
    answer = handler(event("POST", "/api/v1/transcribe/", headers, multipart(media.wav(60))), None)
    body = json.loads(answer["body"])
    assert answer["statusCode"] == 202
    assert answer["headers"]["location"] == f"/api/v1/transcribe/{body['id']}/"
    assert answer["headers"]["x-request-id"] == "gateway-id"
    job = funded.services.jobs.get(body["id"], funded.account_id)
    assert funded.services.bucket.get(job.recording.key) == media.wav(60)
    assert job.recording.filename == "ü.wav"


def test_ten_hours_with_every_word_fit_into_lambdas_six_megabytes(
    handler: Any, customer: Customer, services: Services
) -> None:
    options = TranscriptionOptions(diarization=True, word_timestamps=True)
    job = put_job(services, customer.account_id, transcript=long_talk(hours=10), options=options)

    def get(coding: str) -> dict[str, Any]:
        asked = event("GET", f"/api/v1/transcribe/{job.job_id}/", {**customer.headers, "Accept-Encoding": coding})
        asked["multiValueQueryStringParameters"] = {"segments": ["true"]}
        answer: dict[str, Any] = handler(asked, None)
        assert len(json.dumps(answer)) < LAMBDA_ANSWER_BYTES
        return answer

    packed = get("gzip, deflate, br")
    body = gzip.decompress(base64.b64decode(packed["body"]))
    assert (packed["statusCode"], packed["headers"]["content-encoding"]) == (200, "gzip")
    assert len(body) > LAMBDA_ANSWER_BYTES
    assert sum(len(segment["words"]) for segment in json.loads(body)["segments"]) == 10 * 3600 // 5 * 14
    elsewhere = get("identity")
    assert elsewhere["statusCode"] == 307
    key = f"exports/{customer.account_id}/{job.job_id}/"
    assert key in elsewhere["headers"]["location"]
    (copy,) = services.bucket.find(key)
    assert gzip.decompress(services.bucket.get(copy.key)) == body


def test_quotation_marks_count_twice_in_lambdas_envelope(handler: Any, customer: Customer, services: Services) -> None:
    options = TranscriptionOptions(word_timestamps=True)
    word = Word(text="a", start_seconds=1.0, end_seconds=2.0)
    segment = Segment(start_seconds=1.0, end_seconds=2.0, text="a" + " a" * 13, words=(word,) * 14)
    headers = {**customer.headers, "Accept-Encoding": "identity"}

    def get(count: int) -> dict[str, Any]:
        transcript = replace(long_talk(hours=0.01), segments=(segment,) * count)
        job = put_job(services, customer.account_id, transcript=transcript, options=options)
        asked = event("GET", f"/api/v1/transcribe/{job.job_id}/", headers)
        asked["multiValueQueryStringParameters"] = {"segments": ["true"]}
        answer: dict[str, Any] = handler(asked, None)
        assert len(json.dumps(answer, ensure_ascii=False)) < LAMBDA_ANSWER_BYTES
        return answer

    each = len(get(1_000)["body"]) / 1_000
    statuses = {get(round(size / each))["statusCode"] for size in (5_000_000, 5_200_000, 5_490_000)}
    assert statuses == {200, 307}


@pytest.mark.parametrize(("kind", "status"), [("srt", 200), ("json", 307)])
def test_files_of_ten_hours_fit_or_are_links(
    handler: Any, customer: Customer, services: Services, kind: str, status: int
) -> None:
    options = TranscriptionOptions(diarization=True, word_timestamps=True)
    job = put_job(services, customer.account_id, transcript=long_talk(hours=10), options=options)
    asked = event("GET", f"/api/v1/transcribe/{job.job_id}/export/", customer.headers)
    asked["multiValueQueryStringParameters"] = {"format": [kind]}
    answer = handler(asked, None)
    assert answer["statusCode"] == status
    assert len(json.dumps(answer)) < LAMBDA_ANSWER_BYTES
    assert status == 307 or len(answer["body"]) > 100_000


def test_under_api_gateways_own_host_the_location_has_the_stage(handler: Any, funded: Customer) -> None:
    headers = {**funded.headers, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    given = event("POST", "/api/v1/transcribe", headers, multipart(media.wav(1)))
    given["requestContext"]["path"] = "/dev/api/v1/transcribe"
    answer = handler(given, None)
    assert answer["headers"]["location"] == f"/dev/api/v1/transcribe/{json.loads(answer['body'])['id']}/"


FORGED = [
    *({"Host": host} for host in ("a:b:c", "[::1]:80", "a:b", "[")),
    *({f"X-Forwarded-{name}": "[abc"} for name in ("For", "Host", "Port", "Proto")),
    {"x-forwarded-port": "99999999999999999999999"},
    {"User-Agent": "\udce9", "X-\udcff": "x"},
]


@pytest.mark.parametrize("headers", FORGED)
def test_no_header_of_the_connection_keeps_a_request_from_its_answer(
    handler: Any, customer: Customer, headers: dict[str, str]
) -> None:
    answer = handler(event("GET", "/api/v1/languages/", headers), None)
    body = json.loads(answer["body"])
    assert answer["statusCode"] == 401
    assert body.keys() == {"error", "message", "request_id"}
    assert handler(event("GET", "/api/v1/languages/", headers | customer.headers), None)["statusCode"] == 200


# As the local gateway passes on a byte that is no UTF-8, and as a gateway does that reads headers as Latin-1.
@pytest.mark.parametrize("letter", ["\udce9", "é"])
def test_bytes_beyond_ascii_in_a_header_are_refused_where_ascii_is_wanted(
    handler: Any, funded: Customer, letter: str
) -> None:
    form = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"} | funded.headers

    def post(headers: dict[str, str]) -> tuple[int, str]:
        answer = handler(event("POST", "/api/v1/transcribe/", form | headers, multipart(media.wav(1))), None)
        return answer["statusCode"], json.loads(answer["body"])["message"]

    assert post({"Idempotency-Key": letter}) == (400, "An Idempotency-Key is 1 to 255 visible ASCII characters.")
    status, message = post({"Content-Type": f"multipart/form-data; boundary={letter}"})
    assert (status, message.endswith("must name its boundary, in ASCII characters.")) == (400, True)
    assert post({"Authorization": f"Bearer {letter}"})[0] == 401
    assert funded.balance().held_millicredits == 0


def test_a_query_with_half_a_character_is_refused_or_ignored(handler: Any, customer: Customer) -> None:
    asked = event("GET", "/api/v1/transcribe/", customer.headers)
    asked["multiValueQueryStringParameters"] = {"status": ["\ud800"], "\udfff": ["x"]}
    answer = handler(asked, None)
    assert (answer["statusCode"], json.loads(answer["body"])["field"]) == (400, "status")


def test_a_body_that_is_no_base64_is_answered_in_our_shape(handler: Any) -> None:
    broken = event("POST", "/api/v1/transcribe/", {}, b"x") | {"body": "not base64!"}
    assert json.loads(handler(broken, None)["body"])["error"] in {"server_error", "unauthorized"}


@pytest.fixture
def server(funded: Customer) -> Iterator[str]:
    """The app under uvicorn; its base URL."""
    config = uvicorn.Config(create_app(lambda: funded.services), log_config=None, lifespan="off")
    running = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    running.should_exit = True
    thread.join(timeout=10)
    listener.close()


def test_a_stranger_is_turned_away_before_the_body_is_read(server: str) -> None:
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /api/v1/transcribe/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 1000000000\r\n\r\n--x"
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 401")


def test_a_client_that_leaves_in_the_middle_breaks_nothing(server: str, funded: Customer) -> None:
    host, port = server.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"POST /api/v1/transcribe/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {funded.api_key}\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\n\r\n--x".encode()
        )
        time.sleep(0.1)
    response = requests.get(f"{server}/api/v1/languages", headers=funded.headers, timeout=10)
    assert response.status_code == 200
    assert funded.balance().held_millicredits == 0


def loaded_by(module: str, environment: dict[str, str]) -> set[str]:
    """Every module that importing ``module`` brings in."""
    code = f"import sys, {module}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.split())


@pytest.mark.parametrize("function", ["ApiFunction", "DispatchFunction", "DeliverWebhookFunction", "SweepFunction"])
def test_a_function_loads_nothing_it_does_not_need(cloud: Cloud, function: str) -> None:
    found = next(each for each in cloud.created.functions if each.logical_id == function)
    credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    modules = loaded_by(found.handler.rpartition(".")[0], {**found.environment, **credentials})
    heavy = {"modal", "yt_dlp", "numpy", "av", "aws_xray_sdk", "requests", "moto"}
    web = {"fastapi", "starlette", "pydantic", "mangum", "python_multipart"}
    assert not modules & (heavy if function == "ApiFunction" else heavy | web)


SELDOM = {
    *("functions.api.routes.account", "functions.api.routes.openai", "functions.api.routes.transcriptions"),
    *("functions.api.routes.webhooks", "functions.api.webhook_schemas", "functions.api.openapi"),
    *("functions.api.schemas_answers", "functions.api.schemas_account", "shared.domain.transcripts"),
    *("shared.services.endpoints", "shared.services.exports", "shared.services.repeats"),
    *("shared.services.transcriptions", "shared.services.webhooks", "shared.domain.deliveries", "shared.adapters.http"),
    *("shared.adapters.downloads", "shared.adapters.probing.probe"),
}
NEVER_IN_THE_API = {"shared.services.audits", "shared.services.drops", "shared.services.sweeps"}


def api_environment(cloud: Cloud, **more: str) -> dict[str, str]:
    environment = next(each.environment for each in cloud.created.functions if each.logical_id == "ApiFunction")
    credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
    return {**environment, **credentials, **more}


def test_a_start_that_somebody_waits_for_loads_what_uploads_submits_and_polls_need(cloud: Cloud) -> None:
    modules = loaded_by("functions.api.handler", api_environment(cloud))
    assert modules >= {
        "functions.api.routes.transcribe",
        "functions.api.routes.sources",
        "functions.api.routes.uploads",
    }
    assert not modules & (SELDOM | NEVER_IN_THE_API)


def test_before_a_snapshot_everything_is_loaded(cloud: Cloud) -> None:
    environment = api_environment(cloud, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
    modules = loaded_by("functions.api.handler", environment)
    routes = {f"functions.api.routes.{module.name}" for module in pkgutil.iter_modules(api_routes.__path__)}
    assert modules >= routes | SELDOM
    assert not modules & NEVER_IN_THE_API


def test_after_a_snapshot_the_first_request_loads_nothing_more(cloud: Cloud) -> None:
    environment = api_environment(cloud, AWS_LAMBDA_INITIALIZATION_TYPE="snap-start")
    first = event("GET", "/api/v1/account/", {"Host": "api.example"})
    code = (
        "import sys, functions.api.handler as api; before = set(sys.modules); "
        f"assert api.handler({first}, None)['statusCode'] == 401; print('LATER', *sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1].split() == ["LATER"]


def test_addresses_whose_code_comes_later_are_there_at_the_first_request(handler: Any) -> None:
    paths = document(create_app(runtime.services))["paths"]
    operations = [(method.upper(), path) for path, each in paths.items() for method in each]
    assert len(operations) > 30
    for method, path in reversed(operations):  # none but those of the last one's kind were asked for when it comes
        answer = handler(event(method, re.sub("{.*?}", "x", path), {"Host": "api.example"}), None)
        assert answer["statusCode"] == 401, (method, path)
    assert handler(event("GET", "/openapi.json", {"Host": "api.example"}), None)["statusCode"] == 200


def test_an_address_or_a_method_that_there_is_not_is_refused_at_the_first_request(handler: Any) -> None:
    refused = handler(event("PUT", "/api/v1/transcribe/x/", {"Host": "api.example"}), None)
    assert (refused["statusCode"], refused["headers"]["allow"]) == (405, "DELETE, GET, PATCH")
    assert handler(event("GET", "/api/v1/nothing/", {"Host": "api.example"}), None)["statusCode"] == 404


def test_the_first_requests_at_once_find_every_route_once(services: Services) -> None:
    app = create_app(lambda: services, everything=False)
    at_once = threading.Barrier(8)

    def ask(path: str) -> int:
        with TestClient(app) as client:
            at_once.wait(10)
            return client.get(path).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, ["/api/v1/languages/", "/api/v1/webhooks/"] * 4)) == {401}
    assert app.openapi()["paths"] == create_app(lambda: services).openapi()["paths"]
    assert len(app.routes) == len(create_app(lambda: services).routes) + 1
