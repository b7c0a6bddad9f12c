"""Who may do what by the template's policies, and how that compares with calls that were made."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.deploy.preflight import resource_name
from infra.deploy.stages import Stage
from infra.local import template as templates
from infra.local.aws import ACCOUNT_ID, REGION
from tests.infra.repository import ROOT

SOURCE = templates.read(ROOT / "template.yaml")
RESOURCES: dict[str, dict[str, Any]] = SOURCE["Resources"]
NAME_KEYS = ("TableName", "QueueName", "BucketName", "Name", "LogGroupName")
FUNCTIONS = sorted(name for name, each in RESOURCES.items() if each["Type"] == "AWS::Serverless::Function")


@dataclass(frozen=True, slots=True, order=True)
class Call:
    """An AWS call as IAM sees it."""

    caller: str
    action: str
    resource: str


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """What a policy allows: an action on a resource, as the template writes it and as the names it stands for."""

    caller: str
    action: str
    written: str
    pattern: str

    def covers(self, call: Call) -> bool:
        """Whether the call is allowed by this."""
        return (
            self.caller == role_of(call.caller)
            and self.action == call.action
            and fnmatch.fnmatchcase(call.resource, self.pattern)
        )


def as_list(value: Any) -> list[Any]:
    """A policy's one thing or several, always as several."""
    return value if isinstance(value, list) else [value]


def flat(nodes: list[Any]) -> Iterator[dict[str, Any]]:
    """Statements, those behind conditions too."""
    for node in nodes:
        if "Fn::If" in node:
            yield from flat([each for each in node["Fn::If"][1:] if "Effect" in each or "Fn::If" in each])
        else:
            yield node


def read_calls(file: Path) -> list[Call]:
    """The calls of a run of the local stack."""
    return [Call(*line.split("\t")) for line in file.read_text(encoding="utf-8").splitlines()]


def role_of(caller: str) -> str:
    """Whose policy a caller of the local stack lives under."""
    if caller.startswith("worker-"):
        return "worker"
    return caller


def grants(caller: str) -> list[Grant]:
    """Everything this caller's policies allow."""
    return [
        Grant(caller, action, written, pattern)
        for document in _documents(caller)
        for statement in flat(document["Statement"])
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        for written, pattern in _names(resource)
    ]


def refused(calls: Iterable[Call]) -> list[Call]:
    """The calls of functions, workers and the streaming host that no policy of theirs allows."""
    known = {caller: grants(caller) for caller in (*FUNCTIONS, "worker", "streaming")}
    ours = (call for call in set(calls) if role_of(call.caller) in known)
    return sorted(call for call in ours if not any(grant.covers(call) for grant in known[role_of(call.caller)]))


def unused(calls: Iterable[Call]) -> list[Grant]:
    """What functions and workers may do and did not."""
    made = set(calls)
    given = {grant for caller in (*FUNCTIONS, "worker") for grant in grants(caller)}
    return sorted(grant for grant in given if not any(grant.covers(call) for call in made))


def _documents(caller: str) -> list[dict[str, Any]]:
    if caller == "worker":
        return [RESOURCES["WorkerPolicy"]["Properties"]["PolicyDocument"]]
    if caller == "streaming":  # the API on Modal, under ModalRole
        managed = ("WorkerPolicy", "ApiPolicy")
        return [RESOURCES[name]["Properties"]["PolicyDocument"] for name in managed]
    role = RESOURCES[caller]["Properties"]["Role"]["Fn::GetAtt"]
    own = RESOURCES[role.split(".")[0] if isinstance(role, str) else role[0]]["Properties"]
    documents = [policy["PolicyDocument"] for policy in own.get("Policies", [])]
    refs = [each["Ref"] for each in as_list(own.get("ManagedPolicyArns", [])) if each.get("Ref") in RESOURCES]
    return documents + [RESOURCES[name]["Properties"]["PolicyDocument"] for name in refs]


def _names(resource: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A policy's resource as it is written, and the names it stands for as they appear in calls."""
    if "Fn::GetAtt" in resource:
        target = resource["Fn::GetAtt"]
        name = target.split(".")[0] if isinstance(target, str) else target[0]
        yield name, _physical_name(name)
    elif "Fn::Sub" in resource:
        written = re.sub(r"\$\{([^}]*)\}", r"\1", resource["Fn::Sub"])
        yield written, re.sub(r"\$\{(\w+)[^}]*\}", lambda found: _physical_name(found[1]), resource["Fn::Sub"])
    else:
        yield resource["Ref"], resource["Ref"]


def _physical_name(logical_id: str) -> str:
    properties = RESOURCES.get(logical_id, {}).get("Properties", {})
    for key in NAME_KEYS:
        if isinstance(properties.get(key), dict):
            stage = Stage(name="dev", region=REGION, parameters={})
            return resource_name(properties[key]["Fn::Sub"], stage, ACCOUNT_ID)
    return logical_id
