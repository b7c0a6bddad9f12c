"""Deployment says what is wrong before it creates anything, and takes down what it put up."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from moto import mock_aws

from infra.deploy import __main__ as command
from infra.deploy import modal_side, preflight, stack, stages
from infra.deploy.account import Account, NoAccount, kept_resources
from infra.deploy.modal_side import ModalFailed, ModalLogin
from infra.deploy.preflight import Facts, ModalToken
from infra.deploy.stages import Stage, StageProblem
from infra.local import template as templates
from tests.infra.repository import ROOT

ACCOUNT_ID = "123456789012"
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:audiototext/modal-token-a1b2c3"
FACTS = Facts(
    account_id=ACCOUNT_ID,
    known_regions=frozenset({"eu-central-1"}),
    api_gateway_log_role="arn:aws:iam::123456789012:role/logs",
    modal_token=ModalToken(has_both_keys=True),
    modal_login=ModalLogin(secrets=("audiototext-hub",)),
)
CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
MODAL = {"Runner": "modal", "ModalWorkspaceId": "ac-1a2B3c", "ModalTokenSecretArn": SECRET}


@pytest.fixture(scope="module")
def source() -> templates.Template:
    return templates.read(ROOT / "template.yaml")


def given(**parameters: str) -> Stage:
    return Stage(name="dev", region="eu-central-1", parameters=parameters)


def said(stage: Stage, facts: Facts, source: templates.Template) -> str:
    parameters = preflight.derive_parameters(stage, facts, source)
    return " ".join(preflight.problems(stage, facts, parameters, source))


def test_an_ordinary_first_deployment_meets_no_objection(source: templates.Template) -> None:
    assert said(given(), FACTS, source) == ""
    assert said(given(**MODAL), FACTS, source) == ""


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"Runner": "modal", "ModalWorkspaceId": "ac-1"}, "Runner=modal needs ModalTokenSecretArn"),
        ({"Runner": "modal", "ModalTokenSecretArn": SECRET}, "Runner=modal needs ModalWorkspaceId"),
        ({"Runner": "lambda"}, "allowed are queue, modal"),
        ({"DomainName": "api.example.com"}, "DomainName needs CertificateArn"),
        ({"MonthlyBudgetDollars": "50"}, "MonthlyBudgetDollars needs AlarmEmail"),
        ({"AlarmEmail": "me"}, "AlarmEmail=me"),
        ({"Runer": "queue"}, "no parameter Runer"),
        ({"LogRetentionDays": "a month"}, "is no number"),
        ({"ModalWorkspaceId": "my-team"}, "Looks like ac-"),
        ({"CertificateArn": CERTIFICATE}, "CertificateArn means nothing without DomainName"),
        ({"HostedZoneId": "Z1"}, "HostedZoneId means nothing without DomainName"),
        ({"ModalHost": "team--audiototext-dev-uploads.modal.run"}, "ModalHost needs Runner=modal"),
        (
            {**MODAL, "ModalHost": "a.modal.run", "DomainName": "a.example.com", "CertificateArn": CERTIFICATE},
            "CertificateArn must lie in us-east-1",
        ),
        (
            {**MODAL, "ModalTokenSecretArn": SECRET.replace("eu-central-1", "us-east-1")},
            "ModalTokenSecretArn must lie in eu-central-1",
        ),
        ({"CertificateArn": "arn:nonsense"}, "The ARN of a certificate"),
        ({"DomainName": "https://a.example.com/"}, "without https://"),
        ({"LogRetentionDays": "29"}, "allowed are 1, 3, 5"),
        ({"LeaseSeconds": "100000"}, "from 5 to 43200"),
        ({"MonthlyBudgetDollars": "nan"}, "is no number"),
        ({"MonthlyBudgetDollars": "-1"}, "from 0"),
        (
            {"CorsOrigins": "https://a.example.com,https://b.example.com/path"},
            "https://b.example.com/path is no origin",
        ),
        ({"AllowLoopbackWebhooks": "true"}, "for the local stack"),
        ({"Stage": "prod"}, "says Stage = prod"),
    ],
)
def test_wrong_or_contradictory_parameters_are_named(
    parameters: dict[str, str], words: str, source: templates.Template
) -> None:
    assert words in said(given(**parameters), FACTS, source)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"stack_status": "CREATE_COMPLETE"}, "is not ours"),
        ({"stack_status": "ROLLBACK_COMPLETE", "stack_tags": {"app": "audiototext"}}, "make destroy STAGE=dev"),
        ({"stack_status": "UPDATE_IN_PROGRESS", "stack_tags": {"app": "audiototext"}}, "wait"),
        ({"stack_status": "DELETE_FAILED", "stack_tags": {"app": "audiototext"}}, "stuck in DELETE_FAILED"),
        ({"taken_names": ("audiototext-dev-jobs",)}, "audiototext-dev-jobs exist already"),
        ({"services_missing": ("apigateway",)}, "eu-central-1 has no apigateway"),
        ({"known_regions": frozenset({"us-east-1"})}, "no AWS region eu-central-1"),
        ({"modal_token": None}, "no secret arn"),
        ({"modal_token": ModalToken(has_both_keys=False)}, "must hold JSON"),
        ({"modal_token": ModalToken(has_both_keys=True, refusal="Token not found")}, "refuses the token"),
        ({"modal_login": ModalLogin(refusal="Token missing")}, "Log in to Modal"),
        ({"modal_login": ModalLogin(secrets=("other",))}, "no secret audiototext-hub"),
    ],
)
def test_an_account_that_is_not_ready_is_described(
    facts: dict[str, Any], words: str, source: templates.Template
) -> None:
    assert words in said(given(**MODAL), replace(FACTS, **facts), source)


def test_everything_wrong_is_said_at_once(source: templates.Template) -> None:
    words = said(given(Runner="modal", DomainName="a.example.com"), replace(FACTS, taken_names=("t",)), source)
    assert all(part in words for part in ("ModalTokenSecretArn", "ModalWorkspaceId", "CertificateArn", "t exist"))


def test_our_own_healthy_stack_may_be_changed(source: templates.Template) -> None:
    facts = replace(FACTS, stack_status="UPDATE_ROLLBACK_COMPLETE", stack_tags={"app": "audiototext"})
    assert said(given(), facts, source) == ""


def test_names_too_long_for_aws_are_found_before_aws_finds_them(source: templates.Template) -> None:
    stage = Stage(name="s" * 40, region="eu-central-1", parameters={})
    found = [text for text in preflight.problems(stage, FACTS, {}, source) if "longer than" in text]
    assert any("63" in text for text in found)


def test_a_small_quota_turns_the_reservations_off_instead_of_failing(source: templates.Template) -> None:
    small = replace(FACTS, concurrency_quota=10)
    assert preflight.derive_parameters(given(), small, source)["ReserveConcurrency"] == "false"
    assert preflight.derive_parameters(given(), FACTS, source)["ReserveConcurrency"] == "true"
    assert "too few to reserve" in said(given(ReserveConcurrency="true"), small, source)


def test_the_accounts_log_role_is_made_once_and_then_kept(source: templates.Template) -> None:
    without = replace(FACTS, api_gateway_log_role=None)
    assert preflight.derive_parameters(given(), without, source)["ApiGatewayLogRole"] == "create"
    assert preflight.derive_parameters(given(), FACTS, source)["ApiGatewayLogRole"] == "exists"
    ours = replace(FACTS, stack_parameters={"ApiGatewayLogRole": "create"})
    assert preflight.derive_parameters(given(), ours, source)["ApiGatewayLogRole"] == "create"


def test_two_wrong_parameters_are_both_named(source: templates.Template) -> None:
    words = said(given(Runner="lambda", LogRetentionDays="29", Runer="x"), FACTS, source)
    assert all(part in words for part in ("Runner=lambda", "LogRetentionDays=29", "no parameter Runer"))


def test_stages_in_one_modal_environment_have_apps_of_their_own(source: templates.Template) -> None:
    parameters = preflight.derive_parameters(given(**MODAL), FACTS, source)
    assert (parameters["ModalApp"], parameters["ModalEnvironment"]) == ("audiototext-dev", "main")
    own = given(**MODAL, ModalApp="speech", ModalEnvironment="live")
    parameters = preflight.derive_parameters(own, FACTS, source)
    assert (parameters["ModalApp"], parameters["ModalEnvironment"]) == ("speech", "live")


def test_modals_identity_provider_is_shared_by_the_stages_of_an_account(source: templates.Template) -> None:
    arn = f"arn:aws:iam::{ACCOUNT_ID}:oidc-provider/oidc.modal.com"
    second = replace(FACTS, oidc_provider_arns=(arn,))
    assert preflight.derive_parameters(given(**MODAL), second, source)["ModalOidcProviderArn"] == arn
    maker = replace(second, stack_parameters={"Runner": "modal", "ModalOidcProviderArn": ""})
    assert preflight.derive_parameters(given(**MODAL), maker, source)["ModalOidcProviderArn"] == ""


def test_a_parameter_taken_out_of_the_file_goes_back_to_its_default(source: templates.Template) -> None:
    before = replace(FACTS, stack_parameters={"SnapStart": "true", "AlarmEmail": "me@example.com"})
    parameters = preflight.derive_parameters(given(), before, source)
    assert (parameters["SnapStart"], parameters["AlarmEmail"]) == ("false", "")
    assert parameters.keys() == source["Parameters"].keys()


# ---- Stage files -----------------------------------------------------------------------------------------------------


def test_a_stages_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    stage = replace(given(Runner="queue", AlarmEmail='me"@example.com'), ceilings={"MAX_GPUS": 50})
    stages.save(stage, tmp_path)
    assert stages.load("dev", tmp_path) == stage
    assert stages.load("prod", tmp_path) is None


@pytest.mark.parametrize("name", ["", "d", "Dev", "1st", "a-b", "../x", "thirteenchars"])
def test_a_stage_with_an_impossible_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(StageProblem, match="2 to 12"):
        stages.load(name, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "region = ",
        "[parameters]\n",
        'region = "x"\nRunner = "modal"\n',
        'region = "x"\nmodal = 50\n',
        'region = "x"\n[modal]\nMAX_GPU = 50\n',
        'region = "x"\n[modal]\nMAX_GPUS = 0\n',
        'region = "x"\n[modal]\nMAX_GPUS = true\n',
        'region = "x"\n[modal]\nMAX_GPUS = "50"\n',
    ],
)
def test_a_broken_stages_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "dev.toml").write_text(text)
    with pytest.raises(StageProblem, match=r"dev\.toml"):
        stages.load("dev", tmp_path)


def test_the_first_deployment_asks_only_what_has_no_good_default() -> None:
    answers = iter(["", "queue", "", ""])
    stage = stages.ask("dev", lambda _: next(answers), "eu-central-1")
    assert stage == Stage(
        name="dev", region="eu-central-1", parameters={"Runner": "queue", "MonthlyBudgetDollars": "0"}
    )


# ---- Modal's half ----------------------------------------------------------------------------------------------------


def test_the_app_gets_its_settings_before_it_is_deployed_and_its_weights_after() -> None:
    parameters = {"ModalApp": "audiototext-dev", "ModalEnvironment": "live"}
    create, deploy, fetch = modal_side.commands(parameters, {"STAGE": "dev", "BUCKET": "b", "EMPTY": ""})
    assert create[3:] == ["secret", "create", "--force", "--env", "live", "audiototext-dev", "BUCKET=b", "STAGE=dev"]
    assert deploy[3:] == ["deploy", "--env", "live", "modal_app.py"]
    assert fetch[3:] == ["run", "--env", "live", "modal_app.py::fetch_weights"]


def test_the_secret_that_the_operator_fills_is_made_once_and_never_overwritten() -> None:
    parameters = {"ModalApp": "audiototext-dev", "ModalEnvironment": "live"}
    first, *others = modal_side.commands(parameters, {"STAGE": "dev"}, secrets=("audiototext-hub",))
    assert first[3:] == ["secret", "create", "--env", "live", "audiototext-sources", "SOURCE_PROXY="]
    assert modal_side.commands(parameters, {"STAGE": "dev"}, secrets=("audiototext-sources",)) == others


def test_modals_commands_exist_in_the_client_we_pin() -> None:
    for each in modal_side.commands({"ModalApp": "a", "ModalEnvironment": "main"}, {}):
        words = each[3:5] if each[3] == "secret" else each[3:4]
        asked = [*modal_side.MODAL, *words, "--help"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "--env" in done.stdout


def fake_modal(folder: Path, script: str) -> tuple[str, ...]:
    """A command in Modal's place that notes its arguments in ``folder`` and does what the script says."""
    file = folder / "modal.py"
    head = f"import json, os, sys\nopen({str(folder / 'calls')!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
    file.write_text(head + script)
    return (sys.executable, str(file))


def test_a_failed_command_of_modals_stops_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modal_side, "MODAL", (*fake_modal(tmp_path, "sys.exit('deploy' in sys.argv)"), "modal"))
    with pytest.raises(ModalFailed, match="The AWS side is up"):
        modal_side.deploy({"ModalApp": "a", "ModalEnvironment": "main"}, {"STAGE": "dev"}, {})
    assert len((tmp_path / "calls").read_text().splitlines()) == 2


def test_the_app_gets_the_ceilings_of_its_stage_and_none_of_the_shells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "environment"
    script = f"open({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))"
    monkeypatch.setattr(modal_side, "MODAL", (*fake_modal(tmp_path, script), "modal"))
    monkeypatch.setenv("MAX_JOBS", "7")
    modal_side.deploy({"ModalApp": "a", "ModalEnvironment": "main"}, {"STAGE": "dev"}, {"MAX_GPUS": 50})
    environment = json.loads(seen.read_text())
    assert {name: environment.get(name) for name in stages.CEILINGS} == {
        "MAX_GPUS": "50",
        "MAX_JOBS": None,
        "MAX_UPLOAD_HOSTS": None,
    }


def test_modal_is_asked_with_the_secrets_own_token_and_in_the_stages_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
if os.environ.get("MODAL_TOKEN_ID") != "ak-good":
    sys.exit("╭ Error ╮\\n│ Token not found │")
print(json.dumps([{"Name": "audiototext-hub"}, {"Name": sys.argv[-1]}]))
"""
    monkeypatch.setattr(modal_side, "MODAL", fake_modal(tmp_path, script))
    good = {"MODAL_TOKEN_ID": "ak-good", "MODAL_TOKEN_SECRET": "as-1"}
    assert modal_side.look("live", good) == ModalLogin(secrets=("audiototext-hub", "live"))
    assert "Token not found" in str(modal_side.look("live", good | {"MODAL_TOKEN_ID": "ak-bad"}).refusal)


# ---- The account and the stack ---------------------------------------------------------------------------------------


def test_sam_gets_every_parameter_as_one_word() -> None:
    command = stack.sam_command(
        given(), {"Stage": "dev", "CorsOrigins": "https://a,https://b", "ModalOidcProviderArn": ""}
    )
    assert command[-3:] == ['CorsOrigins="https://a,https://b"', 'ModalOidcProviderArn=""', 'Stage="dev"']


def test_without_credentials_it_says_how_to_log_in(monkeypatch: pytest.MonkeyPatch, source: templates.Template) -> None:
    without_credentials(monkeypatch)
    with pytest.raises(NoAccount, match="Log in first"):
        Account(boto3.Session(), "eu-central-1").observe(given(), source)


def _make_kept(source: templates.Template, account_id: str) -> list[str]:
    names = []
    for kind, name in kept_resources(given(), account_id, source):
        names.append(name)
        if kind == "AWS::S3::Bucket":
            s3 = boto3.client("s3", region_name="eu-central-1")
            s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
            for number in range(3):
                s3.put_object(Bucket=name, Key=f"audio/{number}", Body=b"x")
            s3.create_multipart_upload(Bucket=name, Key="audio/half")
        else:
            boto3.client("dynamodb", region_name="eu-central-1").create_table(
                TableName=name,
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
                DeletionProtectionEnabled=True,
            )
    return names


def session_with_quota(concurrent_executions: int) -> boto3.Session:
    """A session in moto, which does not know the one call about Lambda's quota: that is answered here."""
    session = boto3.Session(region_name="eu-central-1")
    body = json.dumps({"AccountLimit": {"ConcurrentExecutions": concurrent_executions}}).encode()

    def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        raw: Any = SimpleNamespace(stream=lambda: iter([body]))
        headers: Any = {"Content-Type": "application/json"}
        return AWSResponse(request.url, 200, headers, raw)

    events: Any = session.events
    events.register("before-send.lambda.GetAccountSettings", answer)
    return session


def test_the_account_is_seen_as_it_is(source: templates.Template, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def look(environment_name: str, token: Any = None) -> ModalLogin:
        asked.append((environment_name, token))
        return ModalLogin(refusal=None if token else "Token missing", secrets=("audiototext-hub",))

    monkeypatch.setattr(modal_side, "look", look)
    with mock_aws():
        account = Account(session_with_quota(10), "eu-central-1")
        empty = account.observe(given(Runner="queue"), source)
        assert said(given(Runner="queue"), empty, source) == ""
        assert (empty.concurrency_quota, empty.stack_status, empty.modal_login) == (10, None, None)
        assert asked == []
        names = _make_kept(source, ACCOUNT_ID)
        account.client("iam").create_open_id_connect_provider(
            Url="https://oidc.modal.com", ClientIDList=["oidc.modal.com"], ThumbprintList=["0" * 40]
        )
        token = {"MODAL_TOKEN_ID": "ak-1", "MODAL_TOKEN_SECRET": "as-1"}
        secret = account.client("secretsmanager").create_secret(Name="t", SecretString=json.dumps(token))["ARN"]
        stage = given(**MODAL | {"ModalTokenSecretArn": secret, "ModalEnvironment": "live"})
        full = account.observe(stage, source)
        assert full.taken_names == tuple(names)
        assert full.modal_token == ModalToken(has_both_keys=True)
        assert asked == [("live", token), ("live", None)]
        assert preflight.derive_parameters(stage, full, source)["ModalOidcProviderArn"].endswith("oidc.modal.com")
        words = said(stage, full, source)
        assert "exist already" in words
        assert "Log in to Modal" in words


@pytest.mark.parametrize("text", ["no json", "[]", '{"MODAL_TOKEN_ID": "ak-1"}'])
def test_a_secret_with_something_else_in_it_is_told_from_one_that_is_not_there(
    text: str, source: templates.Template, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modal_side, "look", lambda *_: ModalLogin(secrets=("audiototext-hub",)))
    with mock_aws():
        account = Account(session_with_quota(1000), "eu-central-1")
        assert "no secret arn" in said(given(**MODAL), account.observe(given(**MODAL), source), source)
        secret = account.client("secretsmanager").create_secret(Name="t", SecretString=text)["ARN"]
        stage = given(**MODAL | {"ModalTokenSecretArn": secret})
        assert "must hold JSON" in said(stage, account.observe(stage, source), source)


def test_destroy_keeps_the_data_unless_told_otherwise_and_then_leaves_nothing(source: templates.Template) -> None:
    with mock_aws():
        account = Account(boto3.Session(region_name="eu-central-1"), "eu-central-1")
        account.client("cloudformation").create_stack(
            StackName="audiototext-dev",
            TemplateBody='{"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {}}}}',
        )
        names = _make_kept(source, ACCOUNT_ID)
        kept = stack.destroy(account, given(), account_id=ACCOUNT_ID, source=source, with_data=False)
        assert kept == names
        assert account.stack(given()) is None
        assert stack.destroy(account, given(), account_id=ACCOUNT_ID, source=source, with_data=True) == []
        assert not [name for kind, name in kept_resources(given(), ACCOUNT_ID, source) if account.exists(kind, name)]
        assert stack.destroy(account, given(), account_id=ACCOUNT_ID, source=source, with_data=True) == []


def test_without_a_terminal_it_never_waits_for_an_answer() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra.deploy", "deploy", "--stage", "nosuch"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "make deploy STAGE=nosuch" in done.stderr


def without_credentials(environment: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        environment.delenv(name, raising=False)
    environment.setenv("AWS_CONFIG_FILE", "/dev/null")
    environment.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    environment.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('region = "eu-central-1"\n', "No working AWS credentials"),
        ('region = "eu-central-1"\n[parameters]\nRunner = "modal"\n', "Runner=modal needs ModalTokenSecretArn"),
    ],
    ids=["credentials are asked for", "but first comes what needs none"],
)
def test_the_check_needs_no_build_and_says_what_is_missing(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dev.toml").write_text(text)
    without_credentials(monkeypatch)
    monkeypatch.setattr(stages, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["deploy", "check", "--stage", "dev"])
    assert command.main() == 1
    assert words in capsys.readouterr().err


def test_make_deploy_checks_before_it_builds_and_builds_before_it_deploys() -> None:
    done = subprocess.run(["make", "-n", "deploy"], cwd=ROOT, capture_output=True, text=True, check=True)
    steps = [line for line in done.stdout.splitlines() if "infra.deploy" in line or "stage_lambda" in line]
    assert ["deploy check" in steps[0], "stage_lambda" in steps[1], "deploy deploy" in steps[-1]] == [True, True, True]
