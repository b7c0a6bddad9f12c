"""The operator's command on the template in moto."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.admin.__main__ import main
from shared.domain.accounts import hash_key
from shared.services.credits import Credits
from tests.integration.conftest import Cloud, Customer

Admin = Callable[..., tuple[int, Any]]


@pytest.fixture
def admin(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Admin:
    """Run a command with --json; its exit status and what it said."""
    for name, value in next(f for f in cloud.created.functions if f.logical_id == "SweepFunction").environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> tuple[int, Any]:
        status = main(["--json", *arguments])
        said = capsys.readouterr()
        return status, json.loads(said.out) if said.out else said.err

    return run


def test_an_operator_opens_an_account_funds_it_and_makes_a_key(admin: Admin, cloud: Cloud) -> None:
    account_id = admin("account", "create", "Ada Lovelace Ltd")[1]["account_id"]
    status, granted = admin("credits", "grant", account_id, "12.5", "--note", "welcome")
    assert (status, granted["available"], granted["posted"]) == (0, 12.5, True)
    made = admin("keys", "create", account_id, "laptop", "--scope", "read", "--daily-limit", "5")[1]
    principal = cloud.services().keys.authenticate(f"Bearer {made['key']}")
    assert (principal.account_id, principal.daily_limit_millicredits) == (account_id, 5_000)
    assert admin("account", "show", account_id)[1]["available"] == 12.5
    assert account_id in [row["account_id"] for row in admin("account", "list")[1]]
    assert admin("ledger", "show", account_id)[1][0]["note"] == "welcome"


def test_the_same_id_posts_once(admin: Admin, customer: Customer) -> None:
    for posted in (True, False):
        status, granted = admin("credits", "grant", customer.account_id, "3", "--id", "invoice-7")
        assert (status, granted["available"], granted["posted"]) == (0, 3, posted)
    assert admin("credits", "expire", customer.account_id, "100")[1]["available"] == 0


def test_a_revoked_key_is_listed_as_dead(admin: Admin, customer: Customer) -> None:
    listed = admin("keys", "list", customer.account_id)[1]
    assert [key["live"] for key in listed] == ["yes"]
    assert admin("keys", "revoke", customer.account_id, listed[0]["key_id"])[0] == 0
    listed = admin("keys", "list", customer.account_id)[1]
    assert [key["live"] for key in listed] == ["no"]
    assert hash_key(customer.api_key) not in json.dumps(listed)


def test_an_account_s_own_submit_rate_can_be_set_and_taken_back(admin: Admin, customer: Customer) -> None:
    assert admin("account", "rate", customer.account_id, "7")[1]["submits_per_minute"] == 7
    assert admin("account", "rate", customer.account_id, "default")[1]["submits_per_minute"] == 600


def test_ledgers_that_add_up_exit_with_0(admin: Admin, funded: Customer) -> None:
    status, rows = admin("ledger", "verify", funded.account_id)
    assert (status, rows[0]["ok"], rows[0]["entries"]) == (0, "yes", 1)


@pytest.mark.parametrize("harm", ["balance", "entry", "missing entry", "missing newest entry", "forgotten hold"])
def test_verify_finds_any_harm_and_exits_with_1(admin: Admin, funded: Customer, cloud: Cloud, harm: str) -> None:
    settings, dynamodb = cloud.services().settings, boto3.client("dynamodb")
    services = funded.services
    services.credits.grant(funded.account_id, 1_000, entry_id="second")
    account = {"account_id": {"S": funded.account_id}}
    if harm == "balance":
        dynamodb.update_item(
            TableName=settings.accounts_table,
            Key=account,
            UpdateExpression="SET available_millicredits = :a",
            ExpressionAttributeValues={":a": {"N": "5"}},
        )
    elif harm == "entry":
        dynamodb.update_item(
            TableName=settings.ledger_table,
            Key=account | {"entry_id": {"S": "grant"}},
            UpdateExpression="SET note = :n",
            ExpressionAttributeValues={":n": {"S": "a gift"}},
        )
    elif harm == "forgotten hold":
        hold_for_no_job(services.credits, funded)
    else:
        entry_id = "grant" if harm == "missing entry" else "second"
        dynamodb.delete_item(TableName=settings.ledger_table, Key=account | {"entry_id": {"S": entry_id}})
    status, rows = admin("ledger", "verify", funded.account_id)
    assert (status, rows[0]["ok"]) == (1, "NO")
    status, rows = admin("ledger", "verify", "--all")
    assert status == 1
    assert {row["account_id"]: row["ok"] for row in rows}[funded.account_id] == "NO"


def hold_for_no_job(credits: Credits, customer: Customer) -> None:  # noqa: A002 - the field's own word
    """Credits held for a job that nobody knows."""
    from datetime import UTC, datetime

    from shared.domain import credits as ledger
    from shared.domain.credits import Posting
    from shared.domain.ids import EntryId

    posting = Posting(entry_id=EntryId("no-such-job#hold#1"), at=datetime.now(UTC))
    credits.post(customer.account_id, lambda balance: ledger.hold(balance, 500, posting))


@pytest.mark.parametrize("amount", ["-1", "0", "NaN", "Infinity", "1e400", "many", "0.0001", "9" * 30])
def test_an_amount_that_cannot_be_is_refused(admin: Admin, customer: Customer, amount: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        admin("credits", "grant", customer.account_id, amount)
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("account", "show", "nobody"),
        ("account", "rate", "nobody", "5"),
        ("credits", "grant", "nobody", "1"),
        ("keys", "create", "nobody", "n"),
        ("ledger", "verify", "nobody"),
    ],
)
def test_an_unknown_account_is_said_in_a_word_and_exits_with_1(admin: Admin, arguments: tuple[str, ...]) -> None:
    status, said = admin(*arguments)
    assert status == 1
    assert "no account nobody" in said
    assert "Traceback" not in said


def test_without_a_deployment_it_says_how_to_name_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("ACCOUNTS_TABLE", raising=False)
    assert main(["account", "list"]) == 1
    assert "--stack NAME" in capsys.readouterr().err
    assert main(["--ready-file", str(tmp_path / "none"), "account", "list"]) == 1


def test_a_person_gets_tables_and_the_new_key_whole(
    admin: Admin, customer: Customer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["keys", "create", customer.account_id, "wide"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"att_[A-Za-z0-9_-]{43}[0-9a-f]{8}", said), said
    assert "shown once" in said
