"""What keeps a payer from paying too much, or twice."""

from __future__ import annotations

import time

import pytest
from fastapi.testclient import TestClient

from functions.api.app import create_app
from gpu_jobs.run import RunEnd
from shared.domain.jobs import JobState
from shared.services.submissions import DEFAULT_WAIT_PER_AUDIO_SECOND, DEFAULT_WAIT_SECONDS
from tests import media
from tests.integration.aws_calls import counted
from tests.integration.conftest import Cloud, Customer
from tests.integration.paid_jobs import SAID, SUBMIT, submit, work


def test_an_estimate_above_max_credits_is_refused_and_nothing_is_held(api: TestClient, funded: Customer) -> None:
    answer = submit(api, funded, seconds=120, max_credits="1.9")
    assert (answer.status_code, answer.json()["field"]) == (400, "max_credits")
    assert "requires 2 credits" in answer.json()["message"]
    assert funded.balance().held_millicredits == 0
    assert submit(api, funded, seconds=120, max_credits="2").status_code == 202


def test_max_credits_is_enforced_again_when_the_real_length_is_known(
    api: TestClient, funded: Customer, cloud: Cloud
) -> None:
    job_id = submit(api, funded, seconds=60, max_credits="2").json()["id"]
    assert work(cloud, job_id, real_seconds=121.0) is RunEnd.FAILED
    shown = api.get(f"{SUBMIT}{job_id}/", headers=funded.headers).json()
    assert (shown["status"], shown["error_code"], shown["credits_used"]) == ("failed", "max_credits_exceeded", 0)
    assert funded.balance().held_millicredits == 0


@pytest.mark.parametrize("amount", ["-1", "0", "NaN", "Infinity", "1e3", "0x10", "many", "1.2345", "9" * 40, "٣"])
def test_an_amount_that_is_no_positive_number_is_refused(api: TestClient, funded: Customer, amount: str) -> None:
    answer = submit(api, funded, max_credits=amount)
    assert (answer.status_code, answer.json()["field"]) == (400, "max_credits")


def test_an_estimate_that_proves_short_is_held_before_more_work_is_done(
    api: TestClient, funded: Customer, cloud: Cloud
) -> None:
    job_id = submit(api, funded, seconds=60).json()["id"]
    assert work(cloud, job_id, real_seconds=600.0) is RunEnd.COMPLETED
    assert funded.balance().available_millicredits == 990_000


def test_a_real_length_that_the_account_cannot_pay_fails_in_the_contract_s_words(
    api: TestClient, customer: Customer, cloud: Cloud
) -> None:
    customer.grant(10)
    job_id = submit(api, customer, seconds=60).json()["id"]
    assert work(cloud, job_id, real_seconds=1_800.0) is RunEnd.FAILED
    shown = api.get(f"{SUBMIT}{job_id}/", headers=customer.headers).json()
    assert shown["error_code"] == "insufficient_credits"
    assert shown["error_message"] == ("You have 10 credits remaining but this transcription requires 30 credits.")
    assert customer.balance().available_millicredits == 10_000


def test_402_has_the_contract_s_words_and_numbers(api: TestClient, customer: Customer) -> None:
    customer.grant(10)
    answer = submit(api, customer, seconds=1_800)
    assert answer.status_code == 402
    assert answer.json()["error"] == "insufficient_credits"
    assert answer.json()["message"] == "You have 10 credits remaining but this transcription requires 30 credits."


def test_a_dry_run_says_what_would_be_and_creates_nothing(api: TestClient, funded: Customer) -> None:
    answer = submit(api, funded, seconds=90, dry_run="true", diarization="true")
    assert answer.status_code == 200
    assert answer.json() == {
        "dry_run": True,
        "duration_seconds": 90.0,
        "estimated_credits": 1.8,
        "available_credits": 1000.0,
        "sufficient_credits": True,
        "expected_wait_seconds": round(DEFAULT_WAIT_SECONDS + 90 * DEFAULT_WAIT_PER_AUDIO_SECOND, 1),
    }
    assert funded.balance().sequence == 1
    assert funded.services.jobs._ports.store.recent(funded.account_id, 10) == []


def test_a_dry_run_tells_the_length_to_the_millisecond(api: TestClient, funded: Customer) -> None:
    files = {"file": ("talk.wav", media.wav(1 / 3), "audio/wav")}
    answer = api.post(SUBMIT, data={"dry_run": "true"}, files=files, headers=funded.headers)
    assert answer.json()["duration_seconds"] == 0.333


def test_a_dry_run_for_a_poor_account_is_an_answer_not_a_refusal(api: TestClient, customer: Customer) -> None:
    answer = submit(api, customer, dry_run="true")
    assert (answer.status_code, answer.json()["sufficient_credits"]) == (200, False)


def test_a_key_s_daily_limit_counts_what_is_held_and_gives_back_what_was_not_used(
    api: TestClient, funded: Customer, cloud: Cloud
) -> None:
    _, secret = funded.services.keys.create(funded.account_id, "limited", daily_limit_millicredits=3_000)
    limited = Customer(services=funded.services, account_id=funded.account_id, api_key=secret)
    first = submit(api, limited, seconds=120).json()["id"]
    refused = submit(api, limited, seconds=120)
    assert (refused.status_code, refused.json()["error"]) == (429, "spend_limit_reached")
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400
    assert refused.json()["message"].endswith("Use a key with a higher limit, or wait for tomorrow (UTC).")
    assert [found.key for found in funded.services.bucket.find(f"audio/{funded.account_id}/")] == [
        f"audio/{funded.account_id}/{first}"
    ]
    assert submit(api, funded, seconds=120).status_code == 202, "another key has its own limit"
    assert work(cloud, first, real_seconds=60.0) is RunEnd.COMPLETED
    second = submit(api, limited, seconds=120)
    assert second.status_code == 202
    shown = api.get("/api/v1/account/", headers=limited.headers).json()
    assert shown["limits"]["key_daily_credits"] == 3
    assert shown["limits"]["key_daily_credits_used"] == 3
    assert work(cloud, second.json()["id"], real_seconds=180.0) is RunEnd.FAILED
    failed = api.get(f"{SUBMIT}{second.json()['id']}/", headers=limited.headers).json()
    assert failed["error_code"] == "spend_limit_reached"


def test_over_the_submit_rate_there_is_a_429_that_says_when_to_come_again(api: TestClient, funded: Customer) -> None:
    funded.services.accounts.set_submit_rate(funded.account_id, 2)
    answers = [submit(api, funded, seconds=1) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"2"}
    assert answers[1].headers["RateLimit"].startswith('"submit";r=0;t=')
    assert answers[1].headers["RateLimit-Policy"] == '"submit";q=2;w=60'
    assert answers[2].json()["error"] == "rate_limited"
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 30
    assert funded.balance().held_millicredits == 200
    funded.services.accounts.set_submit_rate(funded.account_id, 1_000)
    time.sleep(0.1)  # the empty bucket stays empty, but now earns one submission in 60 ms instead of 30 s
    faster = submit(api, funded, seconds=1)
    assert (faster.status_code, faster.headers["RateLimit-Limit"]) == (202, "1000"), "a new rate counts at once"


def test_the_first_answer_is_given_again_for_the_same_key_and_request(api: TestClient, funded: Customer) -> None:
    once = {"Idempotency-Key": "once"}
    first = submit(api, funded, headers=once)
    again = submit(api, funded, headers=once)
    assert (again.status_code, again.json(), again.headers["Location"]) == (
        202,
        first.json(),
        first.headers["Location"],
    )
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert funded.balance().held_millicredits == 1_000
    other_audio = submit(api, funded, seconds=61, headers=once)
    other_field = submit(api, funded, headers=once, summary="true")
    for answer in (other_audio, other_field):
        assert (answer.status_code, answer.json()["error"]) == (422, "idempotency_key_reused")


def test_a_refused_request_leaves_its_idempotency_key_free(api: TestClient, customer: Customer) -> None:
    once = {"Idempotency-Key": "once"}
    assert submit(api, customer, headers=once).status_code == 402
    customer.grant(10)
    assert submit(api, customer, headers=once).status_code == 202


def test_while_the_first_request_runs_another_with_its_key_is_told_to_wait(api: TestClient, funded: Customer) -> None:
    statuses: list[tuple[int, str]] = []
    bucket = funded.services.submissions._ports.bucket
    upload = bucket.upload

    def slow_upload(*arguments: object) -> None:
        """In the middle of the first request the second one comes."""
        bucket.__dict__.pop("upload")
        second = submit(api, funded, headers={"Idempotency-Key": "slow"})
        statuses.append((second.status_code, second.json()["error"]))
        upload(*arguments)  # type: ignore[arg-type]

    bucket.__dict__["upload"] = slow_upload
    assert submit(api, funded, headers={"Idempotency-Key": "slow"}).status_code == 202
    assert statuses == [(409, "request_in_progress")]


def test_the_same_audio_and_options_are_answered_from_the_first_result_for_nothing(
    api: TestClient, funded: Customer, cloud: Cloud, services: object
) -> None:
    first = submit(api, funded, summary="true").json()["id"]
    assert work(cloud, first, real_seconds=60.0) is RunEnd.COMPLETED
    paid = funded.balance()

    again = submit(api, funded, summary="true", reuse="true")
    assert again.status_code == 200
    assert again.json() == {
        "id": again.json()["id"],
        "status": "completed",
        "estimated_credits": 0,
        "reused_from": first,
    }
    shown = api.get(f"{SUBMIT}{again.json()['id']}/", headers=funded.headers).json()
    assert (shown["status"], shown["transcript"], shown["credits_used"]) == ("completed", SAID, 0)
    assert shown["receipt"]["reused_from"] == first
    assert funded.balance() == paid
    quote = submit(api, funded, summary="true", reuse="true", dry_run="true").json()
    assert (quote["estimated_credits"], quote["reused_from"]) == (0, first)
    for different in ({}, {"summary": "true", "language": "en"}, {"summary": "true", "reuse": "false"}):
        answer = submit(api, funded, 60, None, **{"reuse": "true", **different})
        assert (answer.status_code, answer.json()["status"]) == (202, "processing"), different


def test_a_reused_result_outlives_the_job_it_was_taken_from(api: TestClient, funded: Customer, cloud: Cloud) -> None:
    first = submit(api, funded, seconds=88).json()["id"]
    work(cloud, first, real_seconds=88.0)
    again = submit(api, funded, seconds=88, reuse="true").json()["id"]
    assert api.delete(f"{SUBMIT}{first}/", headers=funded.headers).status_code == 200
    assert api.get(f"{SUBMIT}{again}/", headers=funded.headers).json()["transcript"] == SAID
    afresh = submit(api, funded, seconds=88, reuse="true").json()
    assert afresh["status"] == "processing", "what was deleted answers nobody any more"
    gone = api.delete(f"{SUBMIT}{again}/", headers=funded.headers).json()
    assert len(gone["objects"]) == 1, "its own copy of the result, and nothing of the other job"


def test_a_reused_answer_costs_no_credits_but_counts_towards_the_submit_rate(
    api: TestClient, funded: Customer, cloud: Cloud
) -> None:
    work(cloud, submit(api, funded, seconds=64).json()["id"], real_seconds=64.0)
    funded.services.accounts.set_submit_rate(funded.account_id, 4)
    before = funded.balance()
    answers = [submit(api, funded, seconds=64, reuse="true") for _ in range(6)]
    assert sum(answer.status_code == 200 for answer in answers) in {3, 4}, "one was taken before the rate was set"
    assert {answer.status_code for answer in answers[4:]} == {429}
    assert answers[-1].json()["error"] == "rate_limited"
    assert funded.balance() == before
    results = [found.key for found in funded.services.bucket.find(f"results/{funded.account_id}/")]
    jobs = funded.services.jobs._ports.store.recent(funded.account_id, 100)
    assert len(results) == len(jobs), "a refused one left a copy of the result"


def test_a_reuse_that_the_transaction_refuses_leaves_nothing_in_the_bucket(
    api: TestClient, funded: Customer, cloud: Cloud
) -> None:
    funded.services.accounts.set_submit_rate(funded.account_id, 2)
    first = submit(api, funded, seconds=65).json()["id"]
    work(cloud, first, real_seconds=65.0)
    with TestClient(create_app(cloud.services)) as elsewhere:  # each of its requests is a process of its own
        assert submit(elsewhere, funded, seconds=1).status_code == 202
    refused = submit(api, funded, seconds=65, reuse="true")  # as far as this process knows, one submission is left
    assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
    results = {found.key for found in funded.services.bucket.find(f"results/{funded.account_id}/")}
    assert {key.split("/")[2] for key in results} == {first}


def test_more_than_a_key_may_spend_in_a_day_is_refused_before_anything_is_stored(
    api: TestClient, funded: Customer
) -> None:
    _, secret = funded.services.keys.create(funded.account_id, "limited", daily_limit_millicredits=3_000)
    limited = Customer(services=funded.services, account_id=funded.account_id, api_key=secret)
    submit(api, limited, seconds=1)
    with counted(funded.services.bucket._client) as calls:
        refused = submit(api, limited, seconds=181)
    assert (refused.status_code, refused.json()["error"]) == (429, "spend_limit_reached")
    assert calls == []
    assert refused.json()["message"] == (
        "This transcription requires 3.1 credits, and this API key may spend 3 a day. Use a key with a higher limit."
    )
    assert "Retry-After" not in refused.headers, "no day will do"


def test_another_account_s_result_is_never_reused(api: TestClient, funded: Customer, cloud: Cloud) -> None:
    assert work(cloud, submit(api, funded, seconds=77).json()["id"], real_seconds=77.0) is RunEnd.COMPLETED
    stranger = funded.services.accounts.create("Eve")
    funded.services.credits.grant(stranger.account_id, 10_000, entry_id="grant")
    _, secret = funded.services.keys.create(stranger.account_id, "hers")
    hers = Customer(services=funded.services, account_id=stranger.account_id, api_key=secret)
    assert submit(api, hers, seconds=77, reuse="true").json()["status"] == "processing"


def test_a_reused_answer_is_told_on_the_bus_like_any_other_end(api: TestClient, funded: Customer, cloud: Cloud) -> None:
    first = submit(api, funded, seconds=66).json()["id"]
    work(cloud, first, real_seconds=66.0)
    again = submit(api, funded, seconds=66, reuse="true", headers={"Idempotency-Key": "reuse"})
    replay = submit(api, funded, seconds=66, reuse="true", headers={"Idempotency-Key": "reuse"})
    assert again.json() == replay.json()
    job = funded.services.jobs.get(again.json()["id"], funded.account_id)
    assert (job.state, job.owes_event) == (JobState.COMPLETED, False)


def test_a_price_change_never_alters_a_job_under_way(api: TestClient, funded: Customer, cloud: Cloud) -> None:
    job_id = submit(api, funded, seconds=60).json()["id"]
    dearer = cloud.services("SweepFunction")
    models = dict.fromkeys(dearer.settings.prices.models_per_minute_millicredits, 99_000)
    object.__setattr__(dearer.settings.prices, "models_per_minute_millicredits", models)
    work(cloud, job_id, real_seconds=60.0)
    shown = api.get(f"{SUBMIT}{job_id}/", headers=funded.headers).json()
    assert shown["credits_used"] == 1
