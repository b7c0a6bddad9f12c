"""The template keeps its promises: least privilege, nothing unprotected, every alarm with a runbook, lean functions."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from infra.stage_lambda import handlers_by_artefact
from shared.domain.deliveries import DeliveryState
from shared.domain.jobs import JobState
from shared.metrics import METRICS
from tests.infra.policies import RESOURCES, SOURCE, as_list, flat
from tests.infra.repository import ROOT

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
            yield from ((name, each) for each in flat(policy["PolicyDocument"]["Statement"]))
    for name, policy in (of_type("AWS::IAM::ManagedPolicy") | of_type("AWS::IAM::Policy")).items():
        yield from ((name, each) for each in flat(policy["PolicyDocument"]["Statement"]))


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


def test_the_dispatcher_looks_for_the_app_in_the_environment_that_the_role_trusts() -> None:
    variables = RESOURCES["DispatchFunction"]["Properties"]["Environment"]["Variables"]
    assert variables == {"MODAL_ENVIRONMENT": {"Ref": "ModalEnvironment"}}  # modal's client reads it by itself


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


# What AWS publishes by itself: namespace, metric, and the dimensions we ask it by.
AWS_METRICS = {
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): ("QueueName",),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): ("QueueName",),
    ("AWS/ApiGateway", "Count"): ("ApiName", "Stage"),
    ("AWS/ApiGateway", "4XXError"): ("ApiName", "Stage"),
    ("AWS/ApiGateway", "5XXError"): ("ApiName", "Stage"),
    ("AWS/ApiGateway", "Latency"): ("ApiName", "Stage"),
    ("AWS/Lambda", "Errors"): ("FunctionName",),
    ("AWS/Lambda", "Invocations"): ("FunctionName",),
    ("AWS/Lambda", "Duration"): ("FunctionName",),
    ("AWS/Lambda", "Throttles"): ("FunctionName",),
    ("AWS/Lambda", "ConcurrentExecutions"): ("FunctionName",),
}
DIMENSION_VALUES = {
    "status": {state.value for state in JobState if state.is_final},
    "state": {state.value for state in DeliveryState},
}
OURS = "audiototext/${Stage}"


def made_metrics() -> dict[str, str | None]:
    """Metrics of our own namespace, each with its dimension: in the lines themselves, or by a filter over them."""
    made = {metric.name: metric.dimension for metrics in METRICS.values() for metric in metrics}
    for each in of_type("AWS::Logs::MetricFilter").values():
        (transformation,) = each["MetricTransformations"]
        assert transformation["MetricNamespace"] == {"Fn::Sub": OURS}
        made[transformation["MetricName"]] = None
    return made


def watched_metrics() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Whoever reads a metric, with its namespace, its name and its dimensions."""
    for name, alarm in of_type("AWS::CloudWatch::Alarm").items():
        metrics = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", []) if "MetricStat" in each] or [alarm]
        for metric in metrics:
            namespace = metric["Namespace"]
            dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions", [])}
            text = namespace["Fn::Sub"] if isinstance(namespace, dict) else namespace
            yield name, text, metric["MetricName"], dimensions
    body = json.loads(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    for widget in body["widgets"]:
        for line in widget["properties"]["metrics"]:
            namespace, name, *pairs = [each for each in line if not isinstance(each, dict)]
            yield widget["properties"]["title"], namespace, name, dict(zip(pairs[::2], pairs[1::2], strict=True))


def test_every_metric_that_is_watched_is_made_with_exactly_these_dimensions() -> None:
    made = made_metrics()
    for reader, namespace, name, dimensions in watched_metrics():
        if namespace != OURS:
            assert tuple(dimensions) == AWS_METRICS[namespace, name], reader
            continue
        assert name in made, f"{reader} waits for {name}, which nothing makes"
        assert list(dimensions) == ([made[name]] if made[name] else []), f"{reader}: {name} by {list(dimensions)}"
        for dimension, value in dimensions.items():
            assert value in DIMENSION_VALUES[dimension], f"{reader}: {name} never has {dimension}={value}"


def test_every_metric_of_ours_is_on_the_dashboard_and_every_line_that_carries_one_is_logged() -> None:
    title_of = {name: reader for reader, namespace, name, _ in watched_metrics() if namespace == OURS}
    assert title_of.keys() == made_metrics().keys()
    lines = logged_lines()
    assert METRICS.keys() <= lines


def test_every_queue_and_function_is_on_the_dashboard_and_every_function_in_the_alarm_on_errors() -> None:
    shown = {str(value) for _, _, _, dimensions in watched_metrics() for value in dimensions.values()}
    for name, queue in of_type("AWS::SQS::Queue").items():
        assert queue["QueueName"]["Fn::Sub"] in shown, name
    behind_queues = {name for name in of_type("AWS::Serverless::Function") if name != "ApiFunction"}
    for name in (*behind_queues, "ApiFunction"):
        assert f"${{{name}}}" in shown, name
    alarm = str(RESOURCES["FunctionErrorsAlarm"]["Properties"]["Metrics"])
    assert all(f"{{'Ref': '{name}'}}" in alarm for name in behind_queues)
    assert alarm.count("MetricStat") == len(behind_queues)


def test_every_log_group_of_ours_has_its_errors_counted() -> None:
    counted = {each["LogGroupName"]["Ref"] for each in of_type("AWS::Logs::MetricFilter").values()}
    assert counted == of_type("AWS::Logs::LogGroup").keys() - {"ApiAccessLogs"}


def test_the_lines_that_runbooks_tell_to_look_for_are_logged() -> None:
    runbooks = OPERATIONS.partition("## Alarms")[2].partition("## Restoring a table")[0]
    named = {*re.findall(r'message = "(\w+)"', runbooks), *re.findall(r"`([a-z]+_[a-z_]+)`", runbooks)}
    assert named - FIELDS <= logged_lines()


FIELDS = {"xray_trace_id", "integration_error", "run_job", "job_id", "request_id", "attempt_id", "account_id"}


def logged_lines() -> set[str]:
    """The first words of every ``logger.info("words")`` in what is deployed."""
    found: set[str] = set()
    for folder in ("functions", "shared", "gpu_jobs"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(
                        func=ast.Attribute(value=ast.Name(id="logger")), args=[ast.Constant(value=str(words)), *_]
                    ):
                        found.add(words)
    return found


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
NOBODY = {"aws_xray_sdk", "pydantic.v1.main", "torch", "numpy", "gpu_jobs", "infra", "modal"}
WEB = {"fastapi", "starlette", "mangum", "pydantic"}
VARIABLES = re.findall(r"^        ([A-Z_]+):", (ROOT / "template.yaml").read_text(encoding="utf-8"), re.MULTILINE)
NUMBERS = {"LEASE_SECONDS": "60", "RESULT_RETENTION_DAYS": "1", "SUBMITS_PER_MINUTE": "60"}
SETTINGS = dict.fromkeys(VARIABLES, "x") | NUMBERS | {"RUNNER": "queue", "LOG_LEVEL": "INFO"}


@pytest.mark.parametrize(
    ("handler", "forbidden"),
    [
        (handler, NOBODY if handler.startswith("functions.api.") else NOBODY | WEB)
        for handlers in handlers_by_artefact(SOURCE).values()
        for handler in handlers
    ],
)
def test_a_function_loads_nothing_it_does_not_need(handler: str, forbidden: set[str]) -> None:
    module = handler.rpartition(".")[0]
    environment = SETTINGS | {
        "PYTHONPATH": str(ROOT),
        "AWS_LAMBDA_RUNTIME_API": "nowhere",
        "DELIVERIES_QUEUE_URL": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    code = f"import gc, sys, {module}; assert gc.isenabled(); print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert forbidden & set(done.stdout.split()) == set()
