"""What an account's owner can see of their money."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from functions.api.routes import account
from shared.bootstrap import Services
from shared.domain.accounts import Scope
from shared.domain.ids import JobId
from shared.services.credits import Credits
from tests.integration.conftest import Cloud, Customer
from tests.integration.paid_jobs import SUBMIT, submit, work

LEDGER = "/api/v1/account/ledger/"
USAGE = "/api/v1/account/usage/"


def test_the_account_shows_balance_held_and_limits(api: TestClient, funded: Customer) -> None:
    submit(api, funded, seconds=60)
    shown = api.get("/api/v1/account/", headers=funded.headers).json()
    assert (shown["balance"], shown["held"]) == (999, 1)
    assert shown["limits"]["submits_per_minute"] == 600
    assert shown["limits"]["key_daily_credits_used"] == 1


def test_a_receipt_says_credits_by_part_and_what_the_machines_cost(
    api: TestClient, funded: Customer, cloud: Cloud
) -> None:
    job_id = submit(api, funded, seconds=90, diarization="true", summary="true").json()["id"]
    work(cloud, job_id, real_seconds=90.0)
    receipt = api.get(f"{SUBMIT}{job_id}/", headers=funded.headers).json()["receipt"]
    assert receipt["credits"] == 2
    assert receipt["credits_by_part"] == {"transcription": 1.5, "diarization": 0.3, "summary": 0.15, "rounding": 0.05}
    assert sum(receipt["credits_by_part"].values()) == pytest.approx(receipt["credits"])
    assert (receipt["audio_seconds"], receipt["engine"]) == (90, "fixed:1")
    assert receipt["compute"][0] == {
        "part": "transcribing",
        "device": "L4",
        "seconds": 2,
        "usd_per_second": 0.000222,
        "cost_usd": 0.000444,
    }
    assert (receipt["compute_seconds"], receipt["compute_cost_usd"]) == (3, 0.000444)


def test_the_ledger_comes_in_pages_newest_first_and_complete(api: TestClient, funded: Customer) -> None:
    for number in range(6):
        funded.services.credits.grant(funded.account_id, 1_000, entry_id=f"more {number}", note=f"no. {number}")
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = api.get(LEDGER, headers=funded.headers, params={"limit": "3", "cursor": cursor}).json()
        seen += [entry["sequence"] for entry in page["entries"]]
        cursor = page["next_cursor"]
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    assert page["entries"][-1] | {"at": ""} == {
        "id": "grant",
        "sequence": 1,
        "at": "",
        "kind": "grant",
        "amount": 1000,
        "balance_before": 0,
        "balance_after": 1000,
        "held_before": 0,
        "held_after": 0,
        "transcription_id": None,
        "key_id": None,
        "resolves": [],
        "note": "",
    }


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: c + "A", lambda c: "A" + c[1:], str.swapcase])
def test_a_cursor_that_was_tampered_with_is_a_400(api: TestClient, funded: Customer, change: object) -> None:
    assert callable(change)
    for number in range(3):
        funded.services.credits.grant(funded.account_id, 1_000, entry_id=f"more {number}")
    cursor = api.get(LEDGER, headers=funded.headers, params={"limit": "1"}).json()["next_cursor"]
    answer = api.get(LEDGER, headers=funded.headers, params={"cursor": change(cursor)})
    assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


@pytest.mark.parametrize("cursor", ["x", "-1", "🙂", "A" * 10_000, "MQ", "\x00"])
def test_a_cursor_of_one_s_own_making_is_a_400(api: TestClient, funded: Customer, cursor: str) -> None:
    answer = api.get(LEDGER, headers=funded.headers, params={"cursor": cursor})
    assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


def test_another_account_s_cursor_is_a_400(api: TestClient, funded: Customer) -> None:
    from functions.api import cursors

    foreign = cursors.make(5, funded.services.accounts.create("Eve").account_id)
    assert api.get(LEDGER, headers=funded.headers, params={"cursor": foreign}).status_code == 400


@pytest.mark.parametrize("limit", ["0", "-1", "201", "many", "1e2", "٣", "9" * 50])
def test_a_page_must_have_a_sane_size(api: TestClient, funded: Customer, limit: str) -> None:
    answer = api.get(LEDGER, headers=funded.headers, params={"limit": limit})
    assert (answer.status_code, answer.json()["field"]) == (400, "limit")


def test_usage_is_counted_by_day_and_key(api: TestClient, funded: Customer, cloud: Cloud) -> None:
    work(cloud, submit(api, funded, seconds=60).json()["id"], real_seconds=60.0)
    other = Customer(services=funded.services, account_id=funded.account_id, api_key=funded.make_key())
    submit(api, other, seconds=120)
    usage = api.get(USAGE, headers=funded.headers).json()
    assert (usage["credits_spent"], usage["audio_seconds"]) == (1, 60)
    by_held = {day["credits_held"]: day for day in usage["days"]}
    assert set(by_held) == {0, 2}
    assert by_held[0]["submitted"] == by_held[0]["completed"] == 1
    assert by_held[2]["completed"] == 0
    today = datetime.now(UTC).date()
    assert {day["day"] for day in usage["days"]} <= {today.isoformat(), (today - timedelta(days=1)).isoformat()}
    earlier = {"from": "2020-01-01", "to": "2020-12-31"}
    assert api.get(USAGE, headers=funded.headers, params=earlier).json()["days"] == []


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-02-30"}, "to"),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "from"),
        ({"from": "2020-01-01", "to": "2026-01-01"}, "from"),
        ({"to": "0001-01-01"}, "to"),
    ],
)
def test_days_that_cannot_be_are_a_400(
    api: TestClient, funded: Customer, parameters: dict[str, str], field: str
) -> None:
    answer = api.get(USAGE, headers=funded.headers, params=parameters)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_a_cancelled_job_counts_as_cancelled_not_as_failed(api: TestClient, funded: Customer) -> None:
    job_id = submit(api, funded, seconds=60).json()["id"]
    assert api.post(f"{SUBMIT}{job_id}/cancel/", headers=funded.headers).status_code == 200
    (day,) = api.get(USAGE, headers=funded.headers).json()["days"]
    assert (day["submitted"], day["cancelled"], day["failed"], day["completed"]) == (1, 1, 0, 0)
    assert (day["credits_spent"], day["credits_held"]) == (0, 0)


def test_usage_too_long_for_one_answer_is_a_400_that_says_so(
    api: TestClient, funded: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "MOST_USAGE_ROWS", 1)
    submit(api, funded, seconds=1)
    assert api.get(USAGE, headers=funded.headers).status_code == 200
    other = Customer(services=funded.services, account_id=funded.account_id, api_key=funded.make_key())
    submit(api, other, seconds=1)
    answer = api.get(USAGE, headers=funded.headers)
    assert (answer.status_code, answer.json()["field"]) == (400, "from")


def test_every_movement_of_an_account_verifies(funded: Customer, api: TestClient, cloud: Cloud) -> None:
    work(cloud, submit(api, funded, seconds=60).json()["id"], real_seconds=60.0)
    ledger: Credits = funded.services.credits
    assert ledger.verify(funded.account_id).entries == 3


# ---- retention -------------------------------------------------------------------------------------------------------


def _kept_days(services: Services, job_id: str) -> int:
    job = services.jobs.look_up(JobId(job_id))
    assert job is not None
    return job.kept_days


def test_an_account_s_retention_holds_for_jobs_that_say_nothing(
    api: TestClient, funded: Customer, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit(api, funded).json()["id"]
    assert _kept_days(services, first) == 365
    for days in (30, 0):
        changed = api.patch("/api/v1/account/", json={"retention_days": days}, headers=funded.headers)
        assert (changed.status_code, changed.json()["retention_days"]) == (200, days)
        monkeypatch.setattr(Credits, "recent", Credits.standing)  # half a minute later
        assert _kept_days(services, submit(api, funded).json()["id"]) == days
        assert _kept_days(services, submit(api, funded, retention_days="7").json()["id"]) == 7
    assert _kept_days(services, first) == 365
    back = api.patch("/api/v1/account/", json={"retention_days": None}, headers=funded.headers)
    assert back.json()["retention_days"] is None
    assert _kept_days(services, submit(api, funded).json()["id"]) == 365


def test_a_process_looks_at_the_account_again_after_half_a_minute(
    api: TestClient, funded: Customer, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(api, funded)
    services.accounts.set_retention(funded.account_id, 3)
    assert _kept_days(services, submit(api, funded).json()["id"]) == 365
    monkeypatch.setattr("shared.services.credits.RECENT_SECONDS", -1.0)
    assert _kept_days(services, submit(api, funded).json()["id"]) == 3


@pytest.mark.parametrize("days", [-1, 366, 4_000, "7", 1.5, True, [], {}])
def test_a_retention_that_cannot_be_is_refused(api: TestClient, funded: Customer, days: Any) -> None:
    answer = api.patch("/api/v1/account/", json={"retention_days": days}, headers=funded.headers)
    assert (answer.status_code, answer.json()["field"]) == (400, "retention_days")


def test_the_retention_is_changed_on_purpose_and_by_who_may(api: TestClient, funded: Customer) -> None:
    assert api.patch("/api/v1/account/", json={}, headers=funded.headers).status_code == 400
    reader = {"Authorization": f"Bearer {funded.make_key(frozenset({Scope.READ}))}"}
    answer = api.patch("/api/v1/account/", json={"retention_days": 1}, headers=reader)
    assert (answer.status_code, answer.json()["error"]) == (403, "forbidden")
