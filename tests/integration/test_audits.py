"""The audit finds what no request could have done, says so, and looks at the others all the same."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import boto3
import pytest

from shared.bootstrap import Services
from shared.domain import credits as ledger
from shared.domain.credits import Posting
from shared.domain.ids import AccountId, EntryId
from shared.services.audits import SLICES, slice_of
from tests.integration.conftest import Cloud


def given_accounts(services: Services, count: int) -> list[AccountId]:
    """Accounts with a grant each."""
    found = []
    for number in range(count):
        account_id = services.accounts.create(f"customer {number}").account_id
        services.credits.grant(account_id, 5000, entry_id="grant")
        found.append(account_id)
    return found


def tamper(services: Services, account_id: AccountId) -> None:
    """What only somebody with the console could do: more credits without an entry."""
    boto3.client("dynamodb").update_item(
        TableName=services.settings.accounts_table,
        Key={"account_id": {"S": account_id}},
        UpdateExpression="SET available_millicredits = available_millicredits + :gift",
        ExpressionAttributeValues={":gift": {"N": "1000000"}},
    )


def test_a_changed_balance_is_found_and_logged_for_the_alarm(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    services = cloud.services("SweepFunction")
    accounts = given_accounts(services, 3)
    tamper(services, accounts[1])
    with caplog.at_level(logging.ERROR):
        reports = [services.audits.run(hour, has_time=lambda: True) for hour in range(SLICES)]
    assert [account for report in reports for account in report.mismatched] == [accounts[1]]
    assert sum(report.verified for report in reports) >= 3
    (line,) = [record for record in caplog.records if record.message == "ledger_mismatch"]
    assert vars(line)["account_id"] == accounts[1]


def test_credits_held_for_a_job_that_is_gone_are_found_too(cloud: Cloud) -> None:
    services = cloud.services("SweepFunction")
    (account_id,) = given_accounts(services, 1)
    posting = Posting(entry_id=EntryId("no-such-job#hold#1"), at=datetime.now(UTC))
    services.credits.post(account_id, lambda balance: ledger.hold(balance, 500, posting))
    report = services.audits.run(slice_of(account_id), has_time=lambda: True)
    assert report.mismatched == (account_id,)


def test_every_account_has_its_hour_and_a_day_has_them_all() -> None:
    hours = {slice_of(AccountId(f"account-{number}")) for number in range(2000)}
    assert hours == set(range(SLICES))


def test_an_audit_that_runs_out_of_time_says_how_much_it_left(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    services = cloud.services("SweepFunction")
    (account_id,) = given_accounts(services, 1)
    report = services.audits.run(slice_of(account_id), has_time=lambda: False)
    assert report.verified == 0
    assert report.unfinished >= 1
    assert "audit_unfinished" in caplog.text
