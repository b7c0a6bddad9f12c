"""What must hold before anything is created, as rules over facts: everything wrong at once, each with the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.deploy.modal_side import HUB_SECRET, ModalLogin
from infra.deploy.stages import Stage
from infra.local import template as templates

# Longest names by resource type (AWS service quotas); the property that carries the name.
NAME_LIMITS: Mapping[str, tuple[str, int]] = {
    "AWS::S3::Bucket": ("BucketName", 63),
    "AWS::SQS::Queue": ("QueueName", 80),
    "AWS::DynamoDB::Table": ("TableName", 255),
    "AWS::Events::EventBus": ("Name", 256),
    "AWS::SNS::Topic": ("TopicName", 256),
    "AWS::CloudWatch::Alarm": ("AlarmName", 255),
    "AWS::CloudWatch::Dashboard": ("DashboardName", 255),
    "AWS::Logs::LogGroup": ("LogGroupName", 512),
    "AWS::CloudFront::Function": ("Name", 64),
    "AWS::Serverless::Api": ("Name", 128),
}
# Services by the name under which botocore lists their regions.
NEEDED_SERVICES = (
    "lambda", "apigateway", "dynamodb", "s3", "sqs", "sns", "events", "logs", "cloudwatch", "secretsmanager"
)  # fmt: skip
UNRESERVED_MINIMUM = 100  # Lambda keeps this much concurrency for functions without a reservation
MODAL_ISSUER = "oidc.modal.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalToken:
    """What is known of the secret with the Modal token. ``refusal`` is what Modal said to it, None if it let it in."""

    has_both_keys: bool
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What stands in the account before the deployment."""

    account_id: str
    known_regions: frozenset[str]
    services_missing: tuple[str, ...] = ()
    stack_status: str | None = None
    stack_tags: Mapping[str, str] = field(default_factory=dict)
    stack_parameters: Mapping[str, str] = field(default_factory=dict)
    taken_names: tuple[str, ...] = ()  # tables and the bucket that exist although the stack does not
    concurrency_quota: int = 1000
    api_gateway_log_role: str | None = None
    oidc_provider_arns: tuple[str, ...] = ()
    modal_token: ModalToken | None = None  # None: there is no such secret
    modal_login: ModalLogin | None = None  # of whoever deploys, in the stage's environment; None: not asked


def derive_parameters(stage: Stage, facts: Facts, source: templates.Template) -> dict[str, str]:
    """Every parameter of the template: from the stage's file, or what the account asks for, or the template's default.

    All are given: CloudFormation would keep the last value of one that was taken out of the file.
    """
    derived = {name: str(each["Default"]) for name, each in source["Parameters"].items() if "Default" in each}
    derived["Stage"] = stage.name
    created_before = facts.stack_parameters.get("ApiGatewayLogRole") == "create"
    derived["ApiGatewayLogRole"] = "create" if created_before or not facts.api_gateway_log_role else "exists"
    room = facts.concurrency_quota - reserved_concurrency(source)
    derived["ReserveConcurrency"] = "true" if room >= UNRESERVED_MINIMUM else "false"
    if stage.parameters.get("Runner") == "modal":
        derived["ModalApp"] = stage.stack_name  # stages in one Modal environment must not overwrite each other's app
        if not _made_modal_provider(facts):
            derived["ModalOidcProviderArn"] = next((arn for arn in facts.oidc_provider_arns if MODAL_ISSUER in arn), "")
    return derived | dict(stage.parameters)


def problems(stage: Stage, facts: Facts, parameters: Mapping[str, str], source: templates.Template) -> Iterator[str]:
    """Everything that speaks against deploying now, each as a sentence that says what to do."""
    yield from settings_problems(stage, parameters, source)
    if stage.region not in facts.known_regions:
        yield f"There is no AWS region {stage.region}."
    if facts.services_missing:
        yield f"{stage.region} has no {', '.join(facts.services_missing)}: choose another region."
    yield from _stack_problems(stage, facts)
    if parameters.get("ReserveConcurrency") == "true":
        room = facts.concurrency_quota - reserved_concurrency(source)
        if room < UNRESERVED_MINIMUM:
            yield (
                f"The account's Lambda quota is {facts.concurrency_quota} concurrent executions, too few to reserve: "
                'leave ReserveConcurrency out (or set it to "false"), or raise the quota first.'
            )
    if parameters.get("Runner") == "modal":
        yield from _modal_problems(parameters, facts)
    yield from _name_problems(stage, facts, source)


def settings_problems(stage: Stage, parameters: Mapping[str, str], source: templates.Template) -> Iterator[str]:
    """What is wrong in the stage's file itself, whatever account it is for."""
    yield from _parameter_problems(parameters, source)
    if parameters.get("Stage", stage.name) != stage.name:
        yield f"The file of {stage.name} says Stage = {parameters['Stage']}: leave that out, the file's name says it."
    if parameters.get("AllowLoopbackWebhooks") == "true":
        yield "AllowLoopbackWebhooks is for the local stack: on AWS it would let customers reach into the functions."
    for origin in filter(None, parameters.get("CorsOrigins", "").split(",")):
        if not re.fullmatch(r"\*|https?://[a-z0-9.-]+(:[0-9]+)?", origin):
            yield f"CorsOrigins: {origin} is no origin; they look like https://app.example.com, without a path."
    wanted = "us-east-1" if parameters.get("ModalHost") else stage.region
    for name, region in (("CertificateArn", wanted), ("ModalTokenSecretArn", stage.region)):
        arn = parameters.get(name, "")
        if arn.startswith("arn:") and arn.split(":")[3:4] != [region]:
            why = "CloudFront takes certificates from there only" if region != stage.region else "the stage's region"
            yield f"{name} must lie in {region} ({why}), not in {(arn.split(':') + [''] * 4)[3]}."


def reserved_concurrency(source: templates.Template) -> int:
    """The sum of what the template reserves."""
    total = 0
    for resource in source["Resources"].values():
        reserved = resource.get("Properties", {}).get("ReservedConcurrentExecutions")
        if isinstance(reserved, dict):  # !If [ReservesConcurrency, number, nothing]
            reserved = reserved["Fn::If"][1]
        total += int(reserved or 0)
    return total


def _parameter_problems(parameters: Mapping[str, str], source: templates.Template) -> Iterator[str]:
    try:
        values = templates.parameters(source, parameters)
    except templates.TemplateProblem as problem:
        yield f"{problem}."
        return
    for rule in source.get("Rules", {}).values():
        if _holds(rule.get("RuleCondition", True), values):
            for assertion in rule["Assertions"]:
                if not _holds(assertion["Assert"], values):
                    yield assertion["AssertDescription"]


def _holds(condition: Any, values: Mapping[str, str]) -> bool:
    """CloudFormation's rule functions, as far as the template uses them."""
    match condition:
        case bool():
            return condition
        case {"Fn::Not": [inner]}:
            return not _holds(inner, values)
        case {"Fn::And": list(inner)}:
            return all(_holds(each, values) for each in inner)
        case {"Fn::Or": list(inner)}:
            return any(_holds(each, values) for each in inner)
        case {"Fn::Equals": [left, right]}:
            return _value(left, values) == _value(right, values)
        case _:
            raise NotImplementedError(f"rule {condition}")


def _value(node: Any, values: Mapping[str, str]) -> str:
    return values[node["Ref"]] if isinstance(node, dict) else str(node)


def _stack_problems(stage: Stage, facts: Facts) -> Iterator[str]:
    status = facts.stack_status
    if status is None:
        if facts.taken_names:
            yield (
                f"{', '.join(facts.taken_names)} exist already, kept from a stack that is gone. "
                f"Delete them with  make destroy STAGE={stage.name} DATA=delete  or choose another STAGE."
            )
        return
    if facts.stack_tags.get("app") != "audiototext":
        yield f"There is a stack {stage.stack_name} that is not ours (no tag app=audiototext): choose another STAGE."
    elif status == "ROLLBACK_COMPLETE":
        yield (
            f"The first deployment of {stage.stack_name} failed and was rolled back. Read why in the CloudFormation "
            f"console (Events), then  make destroy STAGE={stage.name} DATA=delete  and deploy again."
        )
    elif status.endswith("_IN_PROGRESS"):
        yield f"{stage.stack_name} is being changed right now ({status}): wait until that has ended."
    elif status.endswith("_FAILED"):
        yield f"{stage.stack_name} is stuck in {status}: see the CloudFormation console, Stack actions."


def _modal_problems(parameters: Mapping[str, str], facts: Facts) -> Iterator[str]:
    arn, where = parameters.get("ModalTokenSecretArn", ""), parameters.get("ModalEnvironment", "main")
    if not arn:
        return  # a rule of the template says it
    if facts.modal_token is None:
        yield f"There is no secret {arn} in this account and region, or you may not read it."
    elif not facts.modal_token.has_both_keys:
        yield f'The secret {arn} must hold JSON: {{"MODAL_TOKEN_ID": "ak-…", "MODAL_TOKEN_SECRET": "as-…"}}.'
    elif facts.modal_token.refusal:
        yield f"Modal refuses the token in {arn}, in its environment {where}: {facts.modal_token.refusal}"
    if facts.modal_login is None:
        return
    if facts.modal_login.refusal:
        yield f"Log in to Modal (.venv/bin/modal setup); its environment {where} answers: {facts.modal_login.refusal}"
    elif HUB_SECRET not in facts.modal_login.secrets:
        yield (
            f"Modal's environment {where} has no secret {HUB_SECRET}, with which the app fetches its models: "
            f".venv/bin/modal secret create --env {where} {HUB_SECRET} HF_TOKEN=hf_...  (docs/operations.md, step 3)"
        )


def _name_problems(stage: Stage, facts: Facts, source: templates.Template) -> Iterator[str]:
    for resource in source["Resources"].values():
        key, limit = NAME_LIMITS.get(resource["Type"], (None, 0))
        name = key and resource.get("Properties", {}).get(key)
        if isinstance(name, dict) and "Fn::Sub" in name:
            full = resource_name(name["Fn::Sub"], stage, facts.account_id)
            if len(full) > limit:
                yield f"{full} is longer than the {limit} characters AWS allows: choose a shorter STAGE."


def resource_name(pattern: str, stage: Stage, account_id: str) -> str:
    """What ``!Sub pattern`` gives for this stage and account."""
    known = {"Stage": stage.name, "AWS::AccountId": account_id, "AWS::Region": stage.region}
    return re.sub(r"\$\{([\w:]+)\}", lambda found: known.get(found[1], found[0]), pattern)


def _made_modal_provider(facts: Facts) -> bool:
    """Whether the stack itself made the provider, which must then stay the stack's."""
    parameters = facts.stack_parameters
    return parameters.get("Runner") == "modal" and not parameters.get("ModalOidcProviderArn")
