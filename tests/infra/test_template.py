"""The template keeps its promises: least privilege, nothing unprotected, every alarm with a runbook, lean functions."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from infra.local import template as templates
from infra.stage_lambda import handlers_by_artefact
from tests.infra.repository import ROOT

SOURCE = templates.read(ROOT / "template.yaml")
RESOURCES: dict[str, dict[str, Any]] = SOURCE["Resources"]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

# What nobody's policy may name as a whole; each exception with its reason.
STAR_RESOURCES: dict[str, str] = {}
AWS_MANAGED = {
    "AWSXRayDaemonWriteAccess": "X-Ray knows no resources; only with Tracing=on",
    "AmazonAPIGatewayPushToCloudWatchLogs": "one role for all gateways of the account, as API Gateway wants it",
}


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: each.get("Properties", {}) for name, each in RESOURCES.items() if each["Type"] == kind}


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement that lets somebody do something, with the resource it stands in."""
    for name, role in of_type("AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            yield from ((name, each) for each in _flat(policy["PolicyDocument"]["Statement"]))
    for name, policy in of_type("AWS::IAM::ManagedPolicy").items():
        yield from ((name, each) for each in _flat(policy["PolicyDocument"]["Statement"]))


def _flat(nodes: list[Any]) -> Iterator[dict[str, Any]]:
    for node in nodes:
        if "Fn::If" in node:
            yield from _flat([each for each in node["Fn::If"][1:] if "Effect" in each or "Fn::If" in each])
        else:
            yield node


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# ---- Least privilege -------------------------------------------------------------------------------------------------


def test_no_policy_allows_an_action_by_wildcard() -> None:
    assert [name for name, each in statements() for action in as_list(each["Action"]) if "*" in action] == []


def test_no_policy_names_all_resources() -> None:
    found = {name for name, each in statements() for resource in as_list(each["Resource"]) if resource == "*"}
    assert found == STAR_RESOURCES.keys()


def test_every_resource_in_a_policy_is_one_of_the_stacks_or_a_parameter() -> None:
    for name, each in statements():
        for resource in as_list(each["Resource"]):
            target = resource.get("Fn::GetAtt") or resource.get("Fn::Sub") or resource.get("Ref")
            text = ".".join(target) if isinstance(target, list) else str(target)
            named = re.findall(r"\$\{(\w+)", text) or [text.split(".")[0]]
            assert set(named) <= RESOURCES.keys() | SOURCE["Parameters"].keys(), f"{name}: {resource}"


def test_no_statement_denies_or_inverts() -> None:
    assert all(each["Effect"] == "Allow" and not {"NotAction", "NotResource"} & each.keys() for _, each in statements())


def test_every_function_has_a_role_of_its_own_and_only_named_aws_policies() -> None:
    roles = [each["Role"]["Fn::GetAtt"] for each in of_type("AWS::Serverless::Function").values()]
    names = [role.split(".")[0] if isinstance(role, str) else role[0] for role in roles]
    assert len(set(names)) == len(names)
    for role in of_type("AWS::IAM::Role").values():
        used = re.findall(r"policy/(?:service-role/)?(\w+)", str(role.get("ManagedPolicyArns", "")))
        assert set(used) <= AWS_MANAGED.keys()


def test_only_those_who_bill_touch_the_ledger_and_none_may_change_an_entry() -> None:
    for name, each in statements():
        if "LedgerTable" in str(each["Resource"]):
            assert set(as_list(each["Action"])) <= {"dynamodb:PutItem", "dynamodb:Query"}, name


def test_modals_role_trusts_one_app_of_one_environment_of_one_workspace() -> None:
    (statement,) = RESOURCES["ModalRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"]["StringEquals"] == {"oidc.modal.com:aud": "oidc.modal.com"}
    subject = statement["Condition"]["StringLike"]["oidc.modal.com:sub"]["Fn::Sub"]
    fixed, _, free = subject.partition(":function_name:")
    assert "*" not in fixed
    assert {"${ModalWorkspaceId}", "${ModalEnvironment}", "${ModalApp}"} == set(re.findall(r"\$\{\w+\}", fixed))
    assert free == "*:container_id:*"
    for name in ("ModalWorkspaceId", "ModalEnvironment"):
        pattern = SOURCE["Parameters"][name]["AllowedPattern"]
        assert not re.fullmatch(pattern, "*")  # a wildcard given as a parameter would open the trust
    assert not re.fullmatch(SOURCE["Parameters"]["ModalApp"].get("AllowedPattern", ".*"), "*")


# ---- Protection ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(of_type("AWS::DynamoDB::Table")))
def test_every_table_is_encrypted_recoverable_and_protected(name: str) -> None:
    table, properties = RESOURCES[name], RESOURCES[name]["Properties"]
    assert properties["SSESpecification"] == {"SSEEnabled": True}
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["DeletionProtectionEnabled"] == {"Ref": "DeletionProtection"}
    assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("name", sorted(of_type("AWS::SQS::Queue")))
def test_every_queue_is_encrypted_and_has_a_dead_letter_queue_with_an_alarm_or_is_one(name: str) -> None:
    queue = RESOURCES[name]["Properties"]
    assert queue["SqsManagedSseEnabled"] is True
    watched = {str(alarm.get("Dimensions")) for alarm in of_type("AWS::CloudWatch::Alarm").values()}
    dead = name if "DeadLetter" in name else re.sub(r"Queue$", "DeadLetterQueue", name)
    assert dead in RESOURCES
    assert any(dead in dimensions for dimensions in watched)


@pytest.mark.parametrize("name", sorted(of_type("AWS::Serverless::Function")))
def test_every_function_logs_to_a_group_with_retention(name: str) -> None:
    logs = RESOURCES[name]["Properties"]["LoggingConfig"]
    assert logs["LogFormat"] == "JSON"
    assert "RetentionInDays" in RESOURCES[logs["LogGroup"]["Ref"]]["Properties"]


def test_a_flood_waits_in_the_queue_instead_of_being_throttled() -> None:
    for name, function in of_type("AWS::Serverless::Function").items():
        for event in function["Events"].values():
            if event["Type"] == "SQS":
                limit = event["Properties"]["ScalingConfig"]["MaximumConcurrency"]
                assert limit <= function["ReservedConcurrentExecutions"]["Fn::If"][1], name


# ---- Watching --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(of_type("AWS::CloudWatch::Alarm")))
def test_every_alarm_reaches_somebody_and_has_a_runbook(name: str) -> None:
    alarm = of_type("AWS::CloudWatch::Alarm")[name]
    assert alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}]
    title = alarm["AlarmName"]["Fn::Sub"].removeprefix("audiototext-${Stage}-")
    runbook = re.search(rf"^### {title}\n(.*?)(?=^##|\Z)", OPERATIONS, re.MULTILINE | re.DOTALL)
    assert runbook, f"docs/operations.md has no runbook {title}"
    assert all(part in runbook[1] for part in ("**Symptom**", "**Look**", "**Do**"))


def test_every_metric_that_an_alarm_reads_from_logs_is_made_by_a_filter_on_a_line_that_is_logged() -> None:
    code = "".join(
        path.read_text(encoding="utf-8") for folder in ("functions", "shared") for path in (ROOT / folder).rglob("*.py")
    )
    made = set()
    for name, each in of_type("AWS::Logs::MetricFilter").items():
        made.add(each["MetricTransformations"][0]["MetricName"])
        for line in re.findall(r'\$\.message = "(\w+)"', each["FilterPattern"]):
            assert f'"{line}"' in code, f"{name} waits for a line that nobody logs"
    for alarm in of_type("AWS::CloudWatch::Alarm").values():
        if isinstance(alarm.get("Namespace"), dict):
            assert alarm["MetricName"] in made


def test_every_skipped_check_of_the_template_has_its_reason() -> None:
    text = (ROOT / ".checkov.yaml").read_text(encoding="utf-8")
    skipped = yaml.safe_load(text)["skip-check"]
    lines = text.splitlines()
    for check in skipped:
        (number,) = [index for index, line in enumerate(lines) if check in line]
        assert "#" in lines[number] or lines[number - 1].strip().startswith("#"), check
    assert "checkov" not in (ROOT / "template.yaml").read_text(encoding="utf-8")  # no skips hidden in there


# ---- What a cold start loads -----------------------------------------------------------------------------------------

# aws_xray_sdk is what makes the Tracer dear; Powertools itself loads only the Tracer's wrapper.
NOBODY = {"aws_xray_sdk", "torch", "numpy", "gpu_jobs", "infra", "modal"}
WEB = {"fastapi", "starlette", "mangum", "pydantic"}
VARIABLES = re.findall(r"^        ([A-Z_]+):", (ROOT / "template.yaml").read_text(encoding="utf-8"), re.MULTILINE)
NUMBERS = {"LEASE_SECONDS": "60", "RESULT_RETENTION_DAYS": "1", "SUBMITS_PER_MINUTE": "60"}
SETTINGS = dict.fromkeys(VARIABLES, "x") | NUMBERS | {"RUNNER": "queue", "LOG_LEVEL": "INFO"}


@pytest.mark.parametrize(
    ("handler", "forbidden"),
    [
        (handler, NOBODY if artefact == "api" else NOBODY | WEB)
        for artefact, handlers in handlers_by_artefact(SOURCE).items()
        for handler in handlers
    ],
)
def test_a_function_loads_nothing_it_does_not_need(handler: str, forbidden: set[str]) -> None:
    module = handler.rpartition(".")[0]
    environment = SETTINGS | {
        "PYTHONPATH": str(ROOT),
        "DELIVERIES_QUEUE_URL": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    code = f"import sys, {module}; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert forbidden & set(done.stdout.split()) == set()
