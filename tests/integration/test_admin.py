"""The operator's command on the template in moto."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.admin.__main__ import main
from shared.bootstrap import Services
from shared.domain import credits as ledger
from shared.domain.accounts import Principal, hash_key
from shared.domain.credits import Posting, hash_of
from shared.domain.ids import AccountId, EntryId, JobId, KeyId
from shared.domain.job_keys import resolution_entry_id
from shared.domain.options import TranscriptionOptions
from shared.services.submissions import Submission
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


class Harm:
    """What somebody with the console could do to an account's items."""

    def __init__(self, cloud: Cloud, customer: Customer) -> None:
        self._cloud, self._customer = cloud, customer
        self._settings = cloud.services().settings
        self._dynamodb: Any = boto3.client("dynamodb")
        self._account = {"account_id": {"S": customer.account_id}}

    def balance(self) -> None:
        """More credits without an entry."""
        self._set(self._settings.accounts_table, self._account, "available_millicredits", {"N": "5"})

    def entry(self) -> None:
        """An old entry is changed."""
        self._set(self._settings.ledger_table, self._entry("grant"), "note", {"S": "a gift"})

    def chain(self) -> None:
        """An entry is changed and given the hash that is right for what it now says."""
        first = next(e for e in self._customer.services.credits._store.entries(self._account_id) if e.sequence == 1)
        forged = replace(first, note="a gift")
        self._set(self._settings.ledger_table, self._entry("grant"), "note", {"S": "a gift"})
        self._set(self._settings.ledger_table, self._entry("grant"), "entry_hash", {"S": hash_of(forged)})

    def missing_entry(self) -> None:
        """An old entry is gone."""
        self._dynamodb.delete_item(TableName=self._settings.ledger_table, Key=self._entry("grant"))

    def missing_newest_entry(self) -> None:
        """The newest entry is gone."""
        self._dynamodb.delete_item(TableName=self._settings.ledger_table, Key=self._entry("second"))

    def hold_for_no_job(self) -> None:
        """Credits are held for a job that nobody knows."""
        posting = Posting(entry_id=EntryId("no-such-job#hold#1"), at=datetime.now(UTC))
        self._customer.services.credits.post(self._account_id, lambda balance: ledger.hold(balance, 500, posting))

    def missing_resolution(self) -> None:
        """A job has ended; the balance and the ledger are set back to the moment before."""
        services = self._cloud.services("SweepFunction")
        job_id = held_job(services, self._customer)
        before = self._dynamodb.get_item(TableName=self._settings.accounts_table, Key=self._account)["Item"]
        job = services.jobs.look_up(job_id)
        assert job is not None
        services.jobs.cancel(job)
        self._dynamodb.delete_item(TableName=self._settings.ledger_table, Key=self._entry(resolution_entry_id(job)))
        self._dynamodb.put_item(TableName=self._settings.accounts_table, Item=before)

    def missing_account(self) -> None:
        """The account's item is gone; its entries are still there."""
        self._dynamodb.delete_item(TableName=self._settings.accounts_table, Key=self._account)

    @property
    def _account_id(self) -> AccountId:
        return self._customer.account_id

    def _entry(self, entry_id: str) -> dict[str, Any]:
        return self._account | {"entry_id": {"S": entry_id}}

    def _set(self, table: str, key: dict[str, Any], name: str, value: dict[str, str]) -> None:
        self._dynamodb.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":value": value},
        )


def held_job(services: Services, customer: Customer) -> JobId:
    """A job that has its credits."""
    principal = Principal(account_id=customer.account_id, key_id=KeyId("key"))
    submission = Submission(
        principal=principal,
        options=TranscriptionOptions(),
        filename="a.wav",
        content_type="audio/wav",
        size_bytes=1,
        duration_seconds=60.0,
    )
    return JobId(str(services.submissions.submit(submission, io.BytesIO(b"x")).answer.body["id"]))


@pytest.mark.parametrize("harm", [name for name in vars(Harm) if not name.startswith("_")])
def test_verify_finds_any_harm_and_exits_with_1(admin: Admin, funded: Customer, cloud: Cloud, harm: str) -> None:
    funded.services.credits.grant(funded.account_id, 1_000, entry_id="second")
    assert admin("ledger", "verify", funded.account_id)[0] == 0
    getattr(Harm(cloud, funded), harm)()
    status, rows = admin("ledger", "verify", "--all")
    assert status == 1
    assert {row["account_id"]: row["ok"] for row in rows}[funded.account_id] == "NO"
    if harm != "missing_account":
        status, rows = admin("ledger", "verify", funded.account_id)
        assert (status, rows[0]["ok"]) == (1, "NO")


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ledger", "show", "a", "--limit", "0"), "1 to 1000"),
        (("ledger", "show", "a", "--limit", "-5"), "1 to 1000"),
        (("keys", "create", "a", "n", "--scope", "admin"), "transcribe, read, manage"),
        (("account", "rate", "a", "0"), "'default'"),
        (("keys", "create", "a", "n", "--expires", "soon"), "2027-01-31"),
        (("ledger", "verify"), "--all"),
    ],
)
def test_a_wrong_argument_is_answered_with_what_would_be_right(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_an_account_cannot_be_made_absurdly_rich(admin: Admin, customer: Customer) -> None:
    assert admin("credits", "grant", customer.account_id, "1000000000000")[0] == 0
    status, said = admin("credits", "grant", customer.account_id, "1")
    assert status == 1
    assert "at most 1000000000000 credits" in said.replace("\n", " ")


def test_json_may_be_asked_for_after_the_command_too(
    admin: Admin, customer: Customer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin("account", "show", customer.account_id)[0] == 0
    assert main(["account", "show", customer.account_id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["account_id"] == customer.account_id
    assert main(["cost", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["per_audio_hour"]


def test_a_person_sees_red_what_does_not_add_up(
    admin: Admin, funded: Customer, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert admin("ledger", "verify", funded.account_id)[0] == 0
    Harm(cloud, funded).balance()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert main(["ledger", "verify", funded.account_id]) == 1
    said = capsys.readouterr().out
    assert "1 ledger looked at: 1 of them NOT adding up." in said
    assert "\x1b[31m" in said


def test_a_person_gets_tables_and_the_new_key_whole(
    admin: Admin, customer: Customer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["keys", "create", customer.account_id, "wide"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"att_[A-Za-z0-9_-]{43}[0-9a-f]{8}", said), said
    assert "shown once" in said
