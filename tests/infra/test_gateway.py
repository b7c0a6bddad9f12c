"""The gateway answers as API Gateway does: events, binary bodies, limits, and its own errors in its own words."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import requests

from infra.local.aws import Invocation
from infra.local.gateway import BODY_LIMIT_BYTES, Gateway
from infra.local.stack import RestApi, Route
from infra.local.stack_log import StackLog
from tests.infra.small_stack import SmallStack

ANY_API = RestApi(
    name="test",
    stage="dev",
    binary_media_types=("*/*",),
    routes=(Route(method="ANY", resource="/{proxy+}", function_arn="arn"),),
)


def _answer(stack: SmallStack, answer: object, **headers: str) -> requests.Response:
    return requests.post(f"{stack.base_url}/answer", json=answer, headers=headers, timeout=30)


# ---- Events ------------------------------------------------------------------------------------------------------


def test_the_event_has_path_query_headers_and_identity_as_version_one_puts_them(small_stack: SmallStack) -> None:
    session = requests.Session()
    prepared = session.prepare_request(
        requests.Request("GET", f"{small_stack.base_url}/a%20b/c?x=1&x=2&y=%C3%A9&empty=", headers={"X-One": "1"})
    )
    event = session.send(prepared, timeout=30).json()
    session.close()
    assert event["resource"] == "/{proxy+}"
    assert event["path"] == "/a b/c"
    assert event["pathParameters"] == {"proxy": "a b/c"}
    assert event["queryStringParameters"] == {"x": "2", "y": "é", "empty": ""}
    assert event["multiValueQueryStringParameters"] == {"x": ["1", "2"], "y": ["é"], "empty": [""]}
    assert event["headers"]["X-One"] == "1"
    assert event["multiValueHeaders"]["X-One"] == ["1"]
    assert event["headers"]["X-Forwarded-For"] == "127.0.0.1"
    assert event["requestContext"]["identity"]["sourceIp"] == "127.0.0.1"
    assert event["requestContext"]["stage"] == "tiny"
    assert event["requestContext"]["requestId"]
    assert (event["body"], event["isBase64Encoded"]) == (None, False)


def test_a_repeated_header_is_whole_in_multi_value_headers(small_stack: SmallStack) -> None:
    reply = _raw(small_stack, b"GET /x HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\nX-Two: 2\r\nConnection: close\r\n\r\n")
    event = json.loads(reply.partition(b"\r\n\r\n")[2])
    assert event["headers"]["X-Two"] == "2"
    assert event["multiValueHeaders"]["X-Two"] == ["1", "2"]


@pytest.mark.parametrize(("host", "port"), [(b"example.com", "80"), (b"example.com:8080", "8080")])
def test_the_port_that_is_passed_on_is_that_of_the_host_header(small_stack: SmallStack, host: bytes, port: str) -> None:
    reply = _raw(small_stack, b"GET /x HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["headers"]["X-Forwarded-Port"] == port


def test_no_query_is_null_and_the_root_has_its_own_resource(small_stack: SmallStack) -> None:
    event = requests.get(small_stack.base_url, timeout=30).json()
    assert event["resource"] == "/"
    assert event["queryStringParameters"] is None
    assert event["multiValueQueryStringParameters"] is None
    assert event["pathParameters"] is None


@pytest.mark.parametrize(
    "body", [b"\x00\xff\xfe", gzip.compress(b"x", mtime=0), b'{"a": 1}'], ids=["bytes", "gzip", "json"]
)
def test_every_body_arrives_in_base64_when_all_types_are_binary(small_stack: SmallStack, body: bytes) -> None:
    event = requests.post(f"{small_stack.base_url}/x", data=body, timeout=30).json()
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == body


def test_a_chunked_body_arrives_whole(small_stack: SmallStack) -> None:
    parts = [b"a" * 100_000, b"b" * 100_000]
    event = requests.post(f"{small_stack.base_url}/x", data=iter(parts), timeout=30).json()
    assert base64.b64decode(event["body"]) == b"".join(parts)


def test_a_body_passes_as_it_is_whatever_coding_its_header_claims(small_stack: SmallStack) -> None:
    for body in (gzip.compress(b"abc", mtime=0), b"plain"):
        event = requests.post(
            f"{small_stack.base_url}/x", data=body, headers={"Content-Encoding": "gzip"}, timeout=30
        ).json()
        assert base64.b64decode(event["body"]) == body
        assert event["headers"]["Content-Encoding"] == "gzip"


@pytest.mark.parametrize(
    "broken_off",
    [b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"],
    ids=["length", "chunks"],
)
def test_a_client_that_leaves_in_the_middle_of_its_body_makes_no_noise(
    small_stack: SmallStack, broken_off: bytes
) -> None:
    for reset in (False, True):
        with _connected(small_stack) as connection:
            connection.sendall(b"POST /x HTTP/1.1\r\nHost: h\r\n" + broken_off)
            if reset:  # with the connection's end, not its last byte
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert requests.get(f"{small_stack.base_url}/x", timeout=30).status_code == 200
    assert "Traceback" not in small_stack.output


def test_a_client_that_waits_for_continue_is_told_to(small_stack: SmallStack) -> None:
    head = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    with _connected(small_stack) as connection:
        connection.sendall(head)
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(b"abc")
        assert b"200 OK" in _until_closed(connection)


# ---- Answers -----------------------------------------------------------------------------------------------------


def test_a_base64_answer_is_decoded(small_stack: SmallStack) -> None:
    body = base64.b64encode(b"\x00\x01").decode()
    reply = _answer(small_stack, {"statusCode": 200, "isBase64Encoded": True, "body": body})
    assert reply.content == b"\x00\x01"


def test_status_headers_and_repeated_headers_reach_the_client(small_stack: SmallStack) -> None:
    reply = _answer(
        small_stack,
        {
            "statusCode": 202,
            "headers": {"Location": "/x", "Retry-After": 2},
            "multiValueHeaders": {"X-Two": ["1", "2"]},
            "body": "{}",
        },
    )
    assert reply.status_code == 202
    assert reply.headers["Location"] == "/x"
    assert reply.headers["Retry-After"] == "2"
    assert reply.headers["X-Two"] == "1, 2"
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["x-amzn-RequestId"]


def test_headers_that_api_gateway_keeps_for_itself_are_remapped(small_stack: SmallStack) -> None:
    reply = _answer(small_stack, {"statusCode": 401, "headers": {"WWW-Authenticate": "Bearer", "Content-Length": "9"}})
    assert reply.headers["x-amzn-Remapped-WWW-Authenticate"] == "Bearer"
    assert reply.headers["x-amzn-Remapped-Content-Length"] == "9"
    assert reply.content == b""


@pytest.mark.parametrize(
    "answer",
    [
        "text",
        None,
        {},
        {"statusCode": "abc"},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "surprise": 1},
        {"statusCode": 200, "headers": {"X": "a\r\nSet-Cookie: b"}},
        {"statusCode": 200, "body": "not base64!", "isBase64Encoded": True},
    ],
)
def test_an_answer_of_the_wrong_shape_is_502(small_stack: SmallStack, answer: object) -> None:
    reply = _answer(small_stack, answer)
    assert (reply.status_code, reply.json()) == (502, {"message": "Internal server error"})


@pytest.mark.parametrize("path", ["raise", "large"])
def test_a_function_that_fails_is_502(small_stack: SmallStack, path: str) -> None:
    reply = requests.get(f"{small_stack.base_url}/{path}", timeout=30)
    assert (reply.status_code, reply.json()) == (502, {"message": "Internal server error"})


def test_a_path_outside_the_api_is_a_missing_authentication_token() -> None:
    narrow = RestApi(
        name="n", stage="dev", binary_media_types=(), routes=(Route(method="GET", resource="/a", function_arn="arn"),)
    )
    status, body = _through(narrow, "POST", "/b")
    assert (status, body) == (403, {"message": "Missing Authentication Token"})


# ---- Limits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [BODY_LIMIT_BYTES + 1, 40 * 1024 * 1024])
def test_a_body_over_ten_megabytes_is_413_in_api_gateways_words(small_stack: SmallStack, size: int) -> None:
    reply = requests.post(f"{small_stack.base_url}/x", data=b"x" * size, timeout=60)
    assert (reply.status_code, reply.json()) == (413, {"message": "Request Too Long"})


def test_a_chunked_body_over_the_limit_is_413_too(small_stack: SmallStack) -> None:
    parts = iter([b"x" * 1024 * 1024] * 11)
    reply = requests.post(f"{small_stack.base_url}/x", data=parts, timeout=60)
    assert (reply.status_code, reply.json()) == (413, {"message": "Request Too Long"})


def test_a_body_that_base64_makes_larger_than_lambda_takes_is_413(small_stack: SmallStack) -> None:
    small = requests.post(f"{small_stack.base_url}/answer", data=b'{"statusCode": 204}' + b" " * 4_000_000, timeout=60)
    assert small.status_code == 204
    large = requests.post(f"{small_stack.base_url}/answer", data=b'{"statusCode": 204}' + b" " * 5_000_000, timeout=60)
    assert (large.status_code, large.json()) == (413, {"message": "Request Too Long"})


def test_a_function_that_takes_too_long_is_504_and_still_finishes() -> None:
    finished = asyncio.Event()

    async def slow(_arn: str, _payload: bytes) -> Invocation:
        await asyncio.sleep(0.3)
        finished.set()
        return Invocation(payload=b'{"statusCode": 200}')

    async def run() -> tuple[int, Any]:
        gateway = Gateway(ANY_API, slow, StackLog(), integration_seconds=0.05)
        answer = await _ask(gateway, "GET", "/x")
        await asyncio.wait_for(finished.wait(), 10)
        return answer

    assert asyncio.run(run()) == (504, {"message": "Endpoint request timed out"})


def test_a_body_that_never_ends_is_cut_off() -> None:
    async def run() -> bytes:
        gateway = Gateway(ANY_API, _never, StackLog(), body_seconds=0.1)
        port = await gateway.start(host="127.0.0.1", port=0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
        reply = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        gateway.close()
        return reply

    assert b"408" in asyncio.run(run())


def test_slow_and_broken_clients_do_not_stop_the_others(small_stack: SmallStack) -> None:
    connections = [_connected(small_stack) for _ in range(100)]
    try:
        for connection in connections:
            connection.sendall(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Le")
        assert requests.get(f"{small_stack.base_url}/x", timeout=30).status_code == 200
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: h\r\nbad header\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: h:port\r\nConnection: close\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: h/x\r\nConnection: close\r\n\r\n",
    ],
)
def test_malformed_http_is_400_and_the_server_lives(small_stack: SmallStack, bytes_sent: bytes) -> None:
    assert b" 400 Bad Request" in _raw(small_stack, bytes_sent).partition(b"\r\n")[0]
    assert requests.get(f"{small_stack.base_url}/x", timeout=30).status_code == 200


def test_a_connection_serves_many_requests(small_stack: SmallStack) -> None:
    one = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
    last = b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    assert _raw(small_stack, one + one + last).count(b"HTTP/1.1 200 OK") == 3


# ---- Plumbing ----------------------------------------------------------------------------------------------------


async def _never(_arn: str, _payload: bytes) -> Invocation:
    raise AssertionError("must not be invoked")


def _through(api: RestApi, method: str, path: str) -> tuple[int, Any]:
    return asyncio.run(_ask(Gateway(api, _never, StackLog()), method, path))


async def _ask(gateway: Gateway, method: str, path: str) -> tuple[int, Any]:
    port = await gateway.start(host="127.0.0.1", port=0)
    async with aiohttp.ClientSession() as session, session.request(method, f"http://127.0.0.1:{port}{path}") as reply:
        answer = reply.status, await reply.json()
    gateway.close()
    return answer


def _connected(stack: SmallStack) -> socket.socket:
    address = urlsplit(stack.base_url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=30)


def _until_closed(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def _raw(stack: SmallStack, request: bytes) -> bytes:
    with _connected(stack) as connection:
        connection.sendall(request)
        return _until_closed(connection)


def test_a_long_address_reaches_the_function(small_stack: SmallStack) -> None:
    answer = requests.get(f"{small_stack.base_url}/echo?cursor={'x' * 20_000}", timeout=30)
    assert "Got more than" not in answer.text
