"""Every route with a JSON body reads it alike: the same refusals, in words to act on, before anything happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.bootstrap import Services
from tests.finished_jobs import put_job
from tests.integration.conftest import Customer
from tests.json_texts import json_object, texts, values

BODIES: dict[str, dict[str, Any]] = {
    "POST /transcribe/": {"upload_id": "550e8400-e29b-41d4-a716-446655440000"},
    "POST /transcribe/url/": {"url": "http://127.0.0.1:9/a.mp3"},
    "POST /transcribe/{job}/rerun/": {"stage": "diarization"},
    "PATCH /transcribe/{job}/": {"speakers": [{"id": "SPEAKER_00", "label": "Host"}]},
    "POST /uploads/": {"filename": "a.mp3", "size": 1},
    "POST /keys/": {"name": "n"},
    "POST /keys/{key}/rotate/": {"grace_seconds": 1},
    "PATCH /account/": {"retention_days": 30},
    "POST /webhooks/": {"url": "https://example.com/hook"},
    "PATCH /webhooks/{endpoint}/": {"enabled": False},
    "POST /webhooks/{endpoint}/rotate-secret/": {},
    "POST /webhooks/{endpoint}/replay/": {"since": "2026-11-23T00:00:00Z", "until": "2026-11-24T00:00:00Z"},
}
OPTIONS = ("model", "language", "diarization", "vocabulary", "max_credits", "retention_days", "num_speakers")


class Sender:
    """Sends a body to a route, for a customer who has one of everything that its path may name."""

    def __init__(self, api: TestClient, services: Services, customer: Customer) -> None:
        self._api, self._customer = api, customer
        endpoint = api.post("/api/v1/webhooks/", json={"url": "https://example.com/"}, headers=customer.headers)
        self._names = {
            "job": put_job(services, customer.account_id).job_id,
            "key": services.keys.create(customer.account_id, "another")[0].key_id,
            "endpoint": endpoint.json()["id"],
        }

    def send(self, route: str, body: Any, content_type: str = "application/json") -> Any:
        """The answer. ``body`` is sent as it is when it is bytes."""
        method, path = route.split(" ")
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = self._customer.headers | {"Content-Type": content_type}
        return self._api.request(method, f"/api/v1{path.format(**self._names)}", headers=headers, content=content)

    @contextmanager
    def nothing_happens(self) -> Iterator[None]:
        """Neither a job nor a credit that is held comes of what is sent meanwhile."""
        before = self._customer.balance(), self._jobs()
        yield
        assert (self._customer.balance(), self._jobs()) == before

    def _jobs(self) -> list[str]:
        listed = self._api.get("/api/v1/transcribe/", headers=self._customer.headers).json()["transcriptions"]
        return [each["id"] for each in listed]


@pytest.fixture
def sender(api: TestClient, services: Services, funded: Customer) -> Sender:
    return Sender(api, services, funded)


def refusal(answer: Any, status: int = 400) -> tuple[str, str | None]:
    """The message and the field of a refusal."""
    assert answer.status_code == status, answer.text
    return answer.json()["message"], answer.json().get("field")


@pytest.mark.parametrize("route", BODIES)
def test_half_a_character_in_a_name_is_refused_before_anything_happens(sender: Sender, route: str) -> None:
    with sender.nothing_happens():
        message, field = refusal(sender.send(route, BODIES[route] | {"foo\ud800": "x"}))
    assert ("lone surrogate" in message, field) == (True, None)


@pytest.mark.parametrize("route", BODIES)
@pytest.mark.parametrize("value", ["\ud800", ["\udfff"], {"a": {"\ud800": 1}}], ids=["text", "list", "object"])
def test_half_a_character_in_a_value_is_refused_with_its_field(sender: Sender, route: str, value: Any) -> None:
    field = next(iter(BODIES[route]), "secret")
    with sender.nothing_happens():
        message, named = refusal(sender.send(route, BODIES[route] | {field: value}))
    assert ("lone surrogate" in message, named) == (True, field)


@pytest.mark.parametrize("name", [*OPTIONS, "webhook_url", "dry_run", "reuse"])
def test_half_a_character_in_an_option_is_refused_with_its_field(sender: Sender, name: str) -> None:
    route = "POST /transcribe/url/"
    with sender.nothing_happens():
        assert refusal(sender.send(route, BODIES[route] | {name: "\ud800"}))[1] == name


def test_half_a_character_as_utf_8_cannot_write_it_is_refused_too(sender: Sender) -> None:
    assert refusal(sender.send("POST /keys/", b'{"name": "\xed\xa0\x80"}'))[1] == "name"


@pytest.mark.parametrize("route", ["POST /transcribe/", "POST /transcribe/url/", "POST /keys/", "PATCH /account/"])
@pytest.mark.parametrize("name", ["foo", "max_credits", "daily_limit_credits"])
@pytest.mark.parametrize("number", ["1e999999999999999", "-1e99999999999999999999", "1e100000000", "9" * 5_000])
def test_a_number_that_nobody_can_write_out_is_refused_with_its_field(
    sender: Sender, route: str, name: str, number: str
) -> None:
    body = json.dumps(BODIES[route])[:-1].encode() + f', "{name}": {number}}}'.encode()
    assert refusal(sender.send(route, body))[1] == name


@pytest.mark.parametrize("number", ["1e-999999999999999", "1e-99999999999999999999", "1e-100000000"])
def test_a_number_that_is_next_to_nothing_is_refused_as_nothing_is(sender: Sender, number: str) -> None:
    body = f'{{"url": "http://127.0.0.1:9/a.mp3", "max_credits": {number}}}'.encode()
    message, field = refusal(sender.send("POST /transcribe/url/", body))
    assert (len(message) < 200, field) == (True, "max_credits")
    body = f'{{"name": "n", "daily_limit_credits": {number}}}'.encode()
    message, field = refusal(sender.send("POST /keys/", body))
    assert (len(message) < 200, field) == (True, "daily_limit_credits")


@pytest.mark.parametrize("route", BODIES)
def test_a_body_of_another_type_is_told_the_type_to_send(sender: Sender, route: str) -> None:
    message, _ = refusal(sender.send(route, {"a": 1}, "text/plain"), 415)
    assert "multipart/form-data" in message if route == "POST /transcribe/" else "application/json" in message


@pytest.mark.parametrize("route", BODIES)
@pytest.mark.parametrize("body", [b"{", b"[" * 50_000, b"\xff", b'{"a": NaN}'], ids=["cut", "deep", "bytes", "NaN"])
def test_what_is_no_json_is_told_so(sender: Sender, route: str, body: bytes) -> None:
    assert refusal(sender.send(route, body)) == ("The body is not valid JSON.", None)


@pytest.mark.parametrize("route", BODIES)
def test_what_is_no_object_is_told_so(sender: Sender, route: str) -> None:
    assert refusal(sender.send(route, [1])) == ("The body must be a JSON object.", None)


@pytest.mark.parametrize("route", BODIES)
def test_a_body_that_is_too_large_is_told_so(sender: Sender, route: str) -> None:
    refusal(sender.send(route, b'{"a": "' + b"x" * 70_000 + b'"}'), 413)


@pytest.mark.parametrize("route", [route for route in BODIES if "/transcribe/" not in route or "PATCH" in route])
def test_an_unknown_field_is_named(sender: Sender, route: str) -> None:
    message, field = refusal(sender.send(route, BODIES[route] | {"surprise": 1}))
    assert (message.startswith("Unknown field 'surprise'. Use "), field) == (True, "surprise")


MISSING = {
    "PATCH /transcribe/{job}/": ("speakers", "'speakers' is missing: it must be a list of 1 to 200 objects."),
    "POST /uploads/": ("filename", "'filename' is missing: it must be a text."),
    "POST /keys/": ("name", "'name' is missing: it must be a text."),
    "PATCH /account/": (
        "retention_days",
        "'retention_days' is missing: it must be a whole number from 0 to 365.",
    ),
    "POST /webhooks/": ("url", "'url' is missing: it must be a text."),
    "POST /webhooks/{endpoint}/replay/": ("since", "'since' is missing: it must be a time like 2027-01-31T12:00:00Z."),
}


@pytest.mark.parametrize("route", MISSING)
def test_a_field_that_is_missing_is_called_missing(sender: Sender, route: str) -> None:
    field, message = MISSING[route]
    left = {name: value for name, value in BODIES[route].items() if name != field}
    assert refusal(sender.send(route, left)) == (message, field)


@pytest.mark.parametrize("body", [{}, b""])
def test_a_change_of_nothing_says_what_can_be_changed(sender: Sender, body: Any) -> None:
    message = "Nothing to change. Send url, events, description or enabled."
    assert refusal(sender.send("PATCH /webhooks/{endpoint}/", body)) == (message, None)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("POST /webhooks/", {"url": 1}, "url"),
    ("POST /webhooks/", {"events": ["x"]}, "events"),
    ("POST /webhooks/", {"events": "transcription.completed"}, "events"),
    ("POST /webhooks/", {"events": []}, "events"),
    ("POST /webhooks/", {"description": "x" * 201}, "description"),
    ("POST /webhooks/", {"enabled": "yes"}, "enabled"),
    ("POST /webhooks/", {"secret": 1}, "secret"),
    ("PATCH /webhooks/{endpoint}/", {"events": [1]}, "events"),
    ("PATCH /webhooks/{endpoint}/", {"url": "ftp://example.com/"}, "url"),
    ("PATCH /webhooks/{endpoint}/", {"enabled": 1}, "enabled"),
    ("POST /webhooks/{endpoint}/rotate-secret/", {"secret": "x" * 201}, "secret"),
    ("POST /webhooks/{endpoint}/replay/", {"since": "yesterday"}, "since"),
    ("POST /webhooks/{endpoint}/replay/", {"since": 1}, "since"),
    ("POST /webhooks/{endpoint}/replay/", {"since": "2026-11-23T00:00:00"}, "since"),
    ("POST /webhooks/{endpoint}/replay/", {"only_failed": 1}, "only_failed"),
    ("POST /webhooks/{endpoint}/replay/", {"cursor": "x"}, "cursor"),
    ("PATCH /transcribe/{job}/", {"speakers": "x"}, "speakers"),
    ("PATCH /transcribe/{job}/", {"speakers": [1]}, "speakers"),
    ("PATCH /transcribe/{job}/", {"speakers": [{"id": "SPEAKER_00"}] * 201}, "speakers"),
    ("PATCH /transcribe/{job}/", {"speakers": [{"label": "Host"}]}, "speakers[0].id"),
    ("PATCH /transcribe/{job}/", {"speakers": [{"id": "SPEAKER_00"}, {"id": 1}]}, "speakers[1].id"),
    ("PATCH /transcribe/{job}/", {"speakers": [{"id": "SPEAKER_00", "label": 1}]}, "speakers[0].label"),
    ("PATCH /transcribe/{job}/", {"speakers": [{"id": "SPEAKER_00", "name": "x"}]}, "speakers[0].name"),
]


@pytest.mark.parametrize(("route", "values", "field"), WRONG)
def test_a_field_that_is_wrong_is_named_with_its_place(
    sender: Sender, route: str, values: dict[str, Any], field: str
) -> None:
    message, named = refusal(sender.send(route, BODIES[route] | values))
    assert named == field
    assert field in message or field in {"cursor", "events"}


RANGES = [
    *(("POST /transcribe/url/", "retention_days", days, "0 to 365") for days in (-1, 366, 3_651)),
    *(("PATCH /account/", "retention_days", days, "0 to 365") for days in (-1, 366, 3_651)),
    *(("POST /uploads/", "size", size, "1 to 50000000000") for size in (-1, 0, 50_000_000_001, 10**16)),
    ("POST /keys/", "daily_limit_credits", 0, "not '0'"),
    ("POST /keys/", "daily_limit_credits", 0.0001, "not '0.0001'"),
]


@pytest.mark.parametrize(("route", "field", "value", "words"), RANGES)
def test_a_number_out_of_range_is_told_the_range_that_holds(
    sender: Sender, route: str, field: str, value: float, words: str
) -> None:
    message, named = refusal(sender.send(route, BODIES[route] | {field: value}))
    assert (words in message, named) == (True, field), message


EDGES = [
    ("POST /keys/", "expires_at", "9999-12-31T23:59:59-10:00"),
    ("POST /keys/", "expires_at", "0001-01-01T00:00:00+23:00"),
    ("POST /webhooks/{endpoint}/replay/", "until", "9999-12-31T23:59:59-01:00"),
    ("POST /webhooks/{endpoint}/replay/", "since", "0001-01-01T00:00:00+23:00"),
]


@pytest.mark.parametrize(("route", "field", "time"), EDGES)
def test_a_time_outside_the_calendar_in_utc_is_refused(sender: Sender, route: str, field: str, time: str) -> None:
    message, named = refusal(sender.send(route, BODIES[route] | {field: time}))
    assert (message.endswith("must be a time like 2027-01-31T12:00:00Z."), named) == (True, field)


def test_no_route_has_a_body_that_the_framework_reads(api: TestClient) -> None:
    bodies = [route for route in api.app.routes if getattr(route, "body_field", None) is not None]  # type: ignore[attr-defined]
    assert bodies == []


@settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(route=st.sampled_from(sorted(BODIES)), data=st.data())
def test_whatever_a_body_holds_is_taken_or_refused(sender: Sender, route: str, data: Any) -> None:
    names = st.sampled_from([json.dumps(name) for name in (*BODIES[route], *OPTIONS)]) | texts
    given_values = {json.dumps(name): json.dumps(value) for name, value in BODIES[route].items()}
    body = json_object(given_values | data.draw(st.dictionaries(names, values, max_size=3)))
    answer = sender.send(route, body.encode())
    assert answer.status_code < 500, answer.text
    assert answer.json()
