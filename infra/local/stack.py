"""Creates a translated template in moto, and resolves from it what moto cannot run: functions, polls, schedules, APIs.

moto's own resolver gives every property its final value, so names, URLs and ARNs exist once, in the template.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from infra.local import completion, subset
from infra.local.aws import ACCOUNT_ID, REGION
from infra.local.template import Template, TemplateProblem

STACK_NAME: Final = "audiototext-local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A Lambda function with everything resolved."""

    logical_id: str
    name: str
    arn: str
    handler: str
    timeout_seconds: float
    memory_mb: int
    environment: Mapping[str, str]
    reserved_concurrency: int | None
    json_logs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSource:
    """An SQS queue whose messages go to a function."""

    function_arn: str
    queue_arn: str
    batch_size: int
    batch_window_seconds: int
    reports_item_failures: bool
    maximum_concurrency: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRule:
    """A rule with a schedule. ``targets`` are ARNs with the constant input they get, if any."""

    arn: str
    expression: str
    targets: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method and resource path of a REST API and the function behind it. ``ANY`` is every method."""

    method: str
    resource: str
    function_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RestApi:
    """A REST API with proxy integrations."""

    name: str
    stage: str
    binary_media_types: tuple[str, ...]
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where the stack's data lie: the names of tables, queues and buckets, by logical id."""

    tables: Mapping[str, str]
    queues: Mapping[str, str]
    buckets: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """The stack as created: what to run, and the template's outputs. ``left_out`` are logical ids moto never saw."""

    functions: tuple[Function, ...]
    event_sources: tuple[EventSource, ...]
    schedules: tuple[ScheduledRule, ...]
    apis: tuple[RestApi, ...]
    stores: Stores
    outputs: Mapping[str, str]
    left_out: tuple[str, ...] = field(default=())


def create(template: Template, values: Mapping[str, str], *, endpoint_url: str | None) -> Created:
    """Create the translated ``template`` in moto and resolve what runs outside it.

    ``endpoint_url`` is where moto is served; None when it is mocked inside this process.
    """
    from moto.cloudformation.models import cloudformation_backends
    from moto.cloudformation.parsing import clean_json

    whole = subset.aliases_to_functions(copy.deepcopy(template))
    local, left_out = subset.without_unsupported(copy.deepcopy(whole))
    backend = cloudformation_backends[ACCOUNT_ID][REGION]
    made = backend.create_stack(
        name=STACK_NAME,
        template=json.dumps(local, default=str),
        parameters=dict(values),
        notification_arns=[],
        tags={},
        role_arn=None,
    )
    if made.status != "CREATE_COMPLETE":
        raise TemplateProblem(f"the stack could not be created: {made.status}")
    resources = {
        logical_id: local["Resources"].get(logical_id, resource)
        for logical_id, resource in whole["Resources"].items()
        if _holds(resource.get("Condition"), made.resource_map)
    }
    resolved = Resolved(resources, lambda node: clean_json(copy.deepcopy(node), made.resource_map))
    completion.complete(resolved, endpoint_url=endpoint_url)
    return Created(
        functions=tuple(_functions(resolved)),
        event_sources=tuple(_event_sources(resolved)),
        schedules=tuple(_schedules(resolved)),
        apis=tuple(_apis(resolved)),
        stores=Stores(
            tables=_names(resolved, "AWS::DynamoDB::Table"),
            queues=_names(resolved, "AWS::SQS::Queue"),
            buckets=_names(resolved, "AWS::S3::Bucket"),
        ),
        outputs={output["OutputKey"]: str(output["OutputValue"]) for output in made.outputs or []},
        left_out=tuple(left_out),
    )


class Resolved:
    """The resources that exist, by type, with moto's resolver."""

    def __init__(self, resources: Mapping[str, Any], resolve: Any) -> None:
        self._resources, self.resolve = resources, resolve

    def of_type(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for logical_id, resource in self._resources.items():
            if resource["Type"] == kind:
                properties: dict[str, Any] = self.resolve(resource.get("Properties", {}))
                yield logical_id, properties

    def raw(self, kind: str) -> list[dict[str, Any]]:
        return [resource for resource in self._resources.values() if resource["Type"] == kind]

    def ref(self, logical_id: str) -> str:
        return str(self.resolve({"Ref": logical_id}))

    def arn(self, logical_id: str) -> str:
        return str(self.resolve({"Fn::GetAtt": [logical_id, "Arn"]}))


def _holds(condition: str | None, resource_map: Any) -> bool:
    return condition is None or bool(resource_map.lazy_condition_map[condition])


# ---- What runs outside moto ----------------------------------------------------------------------------------------


def _functions(resolved: Resolved) -> Iterator[Function]:
    for logical_id, properties in resolved.of_type("AWS::Lambda::Function"):
        reserved = properties.get("ReservedConcurrentExecutions")
        variables = properties.get("Environment", {}).get("Variables", {})
        yield Function(
            logical_id=logical_id,
            name=resolved.ref(logical_id),
            arn=resolved.arn(logical_id),
            handler=properties["Handler"],
            timeout_seconds=float(properties.get("Timeout", 3)),
            memory_mb=int(properties.get("MemorySize", 128)),
            # moto gives Number parameters as ints; a process environment is text
            environment={name: _text(value) for name, value in variables.items()},
            reserved_concurrency=None if reserved is None else int(reserved),
            json_logs=properties.get("LoggingConfig", {}).get("LogFormat") == "JSON",
        )


def _names(resolved: Resolved, kind: str) -> dict[str, str]:
    # What refers to a queue gets its URL, whose last part is the name.
    return {logical_id: resolved.ref(logical_id).rpartition("/")[2] for logical_id, _ in resolved.of_type(kind)}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _event_sources(resolved: Resolved) -> Iterator[EventSource]:
    for logical_id, properties in resolved.of_type("AWS::Lambda::EventSourceMapping"):
        if str(properties.get("Enabled", True)).lower() == "false":
            continue
        queue_arn = str(properties["EventSourceArn"])
        if ":sqs:" not in queue_arn:
            raise TemplateProblem(f"{logical_id}: only SQS event sources run locally, not {queue_arn}")
        if "FilterCriteria" in properties:
            raise TemplateProblem(f"{logical_id}: FilterCriteria is not supported locally")
        concurrency = properties.get("ScalingConfig", {}).get("MaximumConcurrency")
        yield EventSource(
            function_arn=_function_arn(str(properties["FunctionName"])),
            queue_arn=queue_arn,
            batch_size=int(properties.get("BatchSize", 10)),
            batch_window_seconds=int(properties.get("MaximumBatchingWindowInSeconds", 0)),
            reports_item_failures="ReportBatchItemFailures" in properties.get("FunctionResponseTypes", []),
            maximum_concurrency=None if concurrency is None else int(concurrency),
        )


def _function_arn(name_or_arn: str) -> str:
    return name_or_arn if ":lambda:" in name_or_arn else f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{name_or_arn}"


def _schedules(resolved: Resolved) -> Iterator[ScheduledRule]:
    for logical_id, properties in resolved.of_type("AWS::Events::Rule"):
        if "ScheduleExpression" not in properties or properties.get("State") == "DISABLED":
            continue
        yield ScheduledRule(
            arn=resolved.arn(logical_id),
            expression=properties["ScheduleExpression"],
            targets=tuple((target["Arn"], target.get("Input")) for target in properties.get("Targets", [])),
        )


def _apis(resolved: Resolved) -> Iterator[RestApi]:
    # The API itself never reaches moto, so its own references (a stage's RestApiId) are read unresolved.
    stages = {
        stage["Properties"]["RestApiId"].get("Ref"): resolved.resolve(stage["Properties"]["StageName"])
        for stage in resolved.raw("AWS::ApiGateway::Stage")
    }
    for logical_id, properties in resolved.of_type("AWS::ApiGateway::RestApi"):
        body = properties.get("Body", {})
        declared = properties.get("BinaryMediaTypes") or body.get("x-amazon-apigateway-binary-media-types", [])
        yield RestApi(
            name=str(properties.get("Name", logical_id)),
            stage=str(stages.get(logical_id, "Prod")),
            binary_media_types=tuple(each.replace("~1", "/") for each in declared),
            routes=tuple(_routes(body)),
        )


def _routes(body: Mapping[str, Any]) -> Iterator[Route]:
    for resource, methods in body.get("paths", {}).items():
        for method, operation in methods.items():
            integration = operation.get("x-amazon-apigateway-integration", {})
            found = re.search(r"/functions/(arn:[^/]+)/invocations", str(integration.get("uri", "")))
            if found and integration.get("type", "").lower() == "aws_proxy":
                name = "ANY" if method == "x-amazon-apigateway-any-method" else method.upper()
                yield Route(method=name, resource=resource, function_arn=found[1])
