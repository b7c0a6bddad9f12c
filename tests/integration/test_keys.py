"""API keys over HTTP: made, listed, rotated, revoked; and every way to ask wrongly."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from infra.api_documents import document
from shared.domain.accounts import Scope, hash_key
from shared.services.keys import CACHE_SECONDS
from tests.integration.conftest import Cloud, Customer

KEYS = "/api/v1/keys/"


def make(api: TestClient, customer: Customer, headers: dict[str, str] | None = None, **wish: Any) -> dict[str, Any]:
    """A new key."""
    answer = api.post(KEYS, headers=customer.headers | (headers or {}), json={"name": "new", **wish})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_a_made_key_works_and_its_secret_is_never_shown_again(api: TestClient, customer: Customer) -> None:
    made = make(api, customer, scopes=["read"], daily_limit_credits=12.5)

    assert made["key"].startswith("att_")
    assert (made["scopes"], made["daily_limit_credits"]) == (["read"], 12.5)
    assert api.get("/api/v1/account/", headers=bearer(made["key"])).status_code == 200
    listed = api.get(KEYS, headers=customer.headers)
    assert made["id"] in [key["id"] for key in listed.json()["keys"]]
    assert made["key"] not in listed.text
    assert hash_key(made["key"]) not in listed.text


def scope_table() -> dict[str, frozenset[Scope]]:
    """The scopes that docs/api.md says each operation needs."""
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
    table = text.partition("| Scope | Allows |\n|---|---|\n")[2].partition("\n\n")[0]
    documented: dict[str, frozenset[Scope]] = {}
    for row in table.splitlines():
        needed, _, allowed = row.strip("|").partition("|")
        for methods, path in re.findall(r"`(?:([A-Z, ]+) )?(/[^`]*)`", allowed):
            full = path if path.startswith("/v1/") else f"/api/v1{path}"
            covered = {
                f"{method.upper()} {known}"
                for known, operations in document()["paths"].items()
                for method in operations
                if (known.startswith(full[:-1]) if full.endswith("…") else known == full)
                and method.upper() in (methods or method.upper())
            }
            assert covered, f"there is no {methods} {path}"
            assert not covered & documented.keys(), f"{covered} stands there twice"
            documented |= dict.fromkeys(covered, frozenset(Scope(name) for name in re.findall(r"`(\w+)`", needed)))
    return documented


def test_every_route_needs_the_scopes_of_the_documented_table_and_no_others(
    api: TestClient, customer: Customer
) -> None:
    documented = scope_table()
    everything = {f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods}
    assert documented.keys() == everything
    keys = {
        scopes: bearer(customer.make_key(scopes))
        for count in (1, 2, 3)
        for scopes in map(frozenset, combinations(Scope, count))
    }
    for operation, needed in documented.items():
        method, _, path = operation.partition(" ")
        for scopes, headers in keys.items():
            answer = api.request(method, path.replace("{id}", "x"), headers=headers)
            assert (answer.status_code != 403) == (needed <= scopes), f"{operation} with {sorted(scopes)}"


def test_what_a_key_lacks_is_named(api: TestClient, customer: Customer) -> None:
    answer = api.get(KEYS, headers=bearer(customer.make_key(frozenset({Scope.READ}))))

    assert answer.json()["error"] == "forbidden"
    assert "'manage'" in answer.json()["message"]


def test_who_may_manage_keys_may_make_any(api: TestClient, customer: Customer) -> None:
    manager = make(api, customer, scopes=["manage"], daily_limit_credits=0.1)

    made = api.post(KEYS, headers=bearer(manager["key"]), json={"name": "of the manager"}).json()

    assert (made["scopes"], made["daily_limit_credits"]) == (["manage", "read", "transcribe"], None)


def test_a_rotated_key_lives_on_for_its_grace_period_and_no_longer(api: TestClient, customer: Customer) -> None:
    old = make(api, customer, scopes=["read"])
    before = datetime.now(UTC)
    answer = api.post(f"{KEYS}{old['id']}/rotate/", headers=customer.headers, json={"grace_seconds": 3600})

    new = answer.json()
    assert answer.status_code == 201
    assert new["scopes"] == ["read"]
    assert new["key"] != old["key"]
    for secret in (old["key"], new["key"]):
        assert api.get("/api/v1/account/", headers=bearer(secret)).status_code == 200
    listed = {key["id"]: key for key in api.get(KEYS, headers=customer.headers).json()["keys"]}
    assert listed[old["id"]]["rotated_to"] == new["id"]
    ends_at = datetime.fromisoformat(listed[old["id"]]["revoked_at"])
    assert timedelta(minutes=59) < ends_at - before < timedelta(minutes=61)
    again = api.post(f"{KEYS}{old['id']}/rotate/", headers=customer.headers)
    assert (again.status_code, again.json()["error"]) == (409, "conflict")


def test_without_grace_the_old_key_ends_at_once(api: TestClient, customer: Customer) -> None:
    old = make(api, customer)
    api.post(f"{KEYS}{old['id']}/rotate/", headers=customer.headers, json={"grace_seconds": 0})
    assert api.get("/api/v1/account/", headers=bearer(old["key"])).status_code == 401


def test_a_revoked_key_is_dead_here_at_once_and_elsewhere_when_its_cache_is_over(
    api: TestClient, customer: Customer, cloud: Cloud
) -> None:
    made = make(api, customer)
    elsewhere = cloud.services().keys
    clock = [0.0]
    object.__setattr__(elsewhere._ports, "monotonic", lambda: clock[0])
    elsewhere.authenticate(f"Bearer {made['key']}")

    assert api.delete(f"{KEYS}{made['id']}/", headers=customer.headers).status_code == 204
    assert api.delete(f"{KEYS}{made['id']}/", headers=customer.headers).status_code == 204

    assert api.get("/api/v1/account/", headers=bearer(made["key"])).status_code == 401
    elsewhere.authenticate(f"Bearer {made['key']}")
    clock[0] = CACHE_SECONDS
    with pytest.raises(Exception, match="Invalid or missing API key"):
        elsewhere.authenticate(f"Bearer {made['key']}")


def test_last_used_is_noted_at_most_once_a_minute(cloud: Cloud, customer: Customer) -> None:
    now = [datetime(2026, 11, 23, 12, tzinfo=UTC)]
    secret = customer.make_key()

    def ask(seconds: int) -> datetime | None:
        """Authenticate in a process of its own, so many seconds later; what the table says then."""
        now[0] += timedelta(seconds=seconds)
        keys = cloud.services().keys
        object.__setattr__(keys._ports, "now", lambda: now[0])
        keys.authenticate(f"Bearer {secret}")
        key = keys._ports.store.get(hash_key(secret))
        assert key is not None
        return key.last_used_at

    first = ask(0)
    assert first == now[0]
    assert ask(59) == first
    assert ask(1) == now[0]


def test_the_same_idempotency_key_makes_one_key_and_gives_its_secret_again(api: TestClient, customer: Customer) -> None:
    once = {"Idempotency-Key": "make-one"}
    made = make(api, customer, once)
    again = api.post(KEYS, headers=customer.headers | once, json={"name": "new"})

    assert again.json() == made
    assert again.headers["Idempotent-Replayed"] == "true"
    assert sum(key["name"] == "new" for key in api.get(KEYS, headers=customer.headers).json()["keys"]) == 1
    assert api.get("/api/v1/account/", headers=bearer(made["key"])).status_code == 200
    other = api.post(KEYS, headers=customer.headers | once, json={"name": "other"})
    assert (other.status_code, other.json()["error"]) == (422, "idempotency_key_reused")
    by_another_key = api.post(KEYS, headers=bearer(customer.make_key()) | once, json={"name": "new"})
    assert by_another_key.status_code == 422, "only who asked for a key may see it again"


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 5}, "name"),
        ({"name": "n", "scopes": ["admin"]}, "scopes"),
        ({"name": "n", "scopes": []}, "scopes"),
        ({"name": "n", "scopes": "read"}, "scopes"),
        ({"name": "n", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "n", "expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({"name": "n", "expires_at": "soon"}, "expires_at"),
        ({"name": "n", "expires_at": 5}, "expires_at"),
        ({"name": "n", "daily_limit_credits": -1}, "daily_limit_credits"),
        ({"name": "n", "daily_limit_credits": 0}, "daily_limit_credits"),
        ({"name": "n", "daily_limit_credits": "5"}, "daily_limit_credits"),
        ({"name": "n", "daily_limit_credits": True}, "daily_limit_credits"),
        ({"name": "n", "daily_limit_credits": 1e300}, "daily_limit_credits"),
        ({"name": "n", "daily_limit_credits": 0.0001}, "daily_limit_credits"),
        ({"name": "n", "daily_limit": 5}, "daily_limit"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_the_name_of_its_field(
    api: TestClient, customer: Customer, wish: dict[str, Any], field: str
) -> None:
    answer = api.post(KEYS, headers=customer.headers, json=wish)
    assert (answer.status_code, answer.json().get("field")) == (400, field), answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"name": "n", "daily_limit_credits": NaN}', 400),
        (b'{"name": "n", "daily_limit_credits": Infinity}', 400),
        (b'{"name": "n", "daily_limit_credits": 1e999999999}', 400),
        (b"[" * 100_000, 413),
        (b"[" * 60_000, 400),
        (b"\xff", 400),
        (b"[]", 400),
        (b'{"name": "\\ud800"}', 400),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(
    api: TestClient, customer: Customer, body: bytes, status: int
) -> None:
    headers = customer.headers | {"Content-Type": "application/json"}
    assert api.post(KEYS, headers=headers, content=body).status_code == status


@pytest.mark.parametrize(("method", "suffix"), [("DELETE", ""), ("POST", "rotate/")])
def test_another_account_s_key_looks_like_none_at_all(
    api: TestClient, customer: Customer, services: Any, method: str, suffix: str
) -> None:
    stranger = services.accounts.create("Eve")
    foreign, _ = services.keys.create(stranger.account_id, "hers")
    answers = [
        api.request(method, f"{KEYS}{key_id}/{suffix}", headers=customer.headers)
        for key_id in (foreign.key_id, "00000000-0000-0000-0000-000000000000", "nonsense")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.json()["message"] for answer in answers}) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic {secret}"},
        {"Authorization": "{secret}"},
        {"Authorization": "Bearer {secret}x"},
        {"Authorization": "Bearer {secret} x"},
        {"Authorization": "Bearer x{secret}"},
        {"Authorization": "Bearer {secret}, Bearer {secret}"},
        {"Authorization": "Bearer\t{secret}"},
        {"Authorization": "Bearer att_" + "A" * 100_000},
        {"Authorization": "Bearer att_" + "A" * 51},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
)
def test_a_malformed_key_is_401_and_nothing_else(
    api: TestClient, customer: Customer, headers: dict[str, str | bytes]
) -> None:
    sent: Any = {
        name: value.replace("{secret}", customer.api_key) if isinstance(value, str) else value
        for name, value in headers.items()
    }
    answer = api.get("/api/v1/account/", headers=sent)
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_s_case_does_not_matter(api: TestClient, customer: Customer, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {customer.api_key}"}
    assert api.get("/api/v1/account/", headers=headers).status_code == 200


def test_two_authorization_headers_are_401_even_when_both_are_right(api: TestClient, customer: Customer) -> None:
    headers = [("Authorization", f"Bearer {customer.api_key}")] * 2
    assert api.get("/api/v1/account/", headers=headers).status_code == 401


def test_line_breaks_in_a_header_never_reach_an_answer(api: TestClient, customer: Customer) -> None:
    headers: Any = customer.headers | {"Idempotency-Key": b"a\r\nSet-Cookie: x=1"}
    answer = api.post("/api/v1/keys/", headers=headers, json={"name": "n"})
    assert (answer.status_code, answer.json()["field"]) == (400, "Idempotency-Key")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "a" * 256])
def test_an_idempotency_key_must_be_short_visible_ascii(api: TestClient, customer: Customer, key: str) -> None:
    headers: Any = customer.headers | {"Idempotency-Key": key.encode()}
    answer = api.post("/api/v1/keys/", headers=headers, json={"name": "n"})
    assert (answer.status_code, answer.json()["field"]) == (400, "Idempotency-Key")


def test_an_expired_key_is_refused(api: TestClient, customer: Customer, cloud: Cloud) -> None:
    keys = cloud.services().keys
    _, secret = keys.create(
        customer.account_id, "short", scopes=frozenset(Scope), expires_at=datetime.now(UTC) + timedelta(hours=1)
    )
    assert keys.authenticate(f"Bearer {secret}").account_id == customer.account_id
    object.__setattr__(keys._ports, "now", lambda: datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(Exception, match="Invalid or missing API key"):
        keys.authenticate(f"Bearer {secret}")
