"""The part of a translated template that moto creates rightly, rewritten so that it does not miss the rest. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from infra.local.template import Template

# What moto creates. The rest is either run here (event source mappings, the API), permission that nothing checks
# locally (policies, Lambda permissions), or watching and billing (alarms, dashboards, usage plans).
CREATED: Final = frozenset(
    {
        "AWS::DynamoDB::Table",
        "AWS::Events::EventBus",
        "AWS::Events::Rule",
        "AWS::IAM::Role",
        "AWS::KMS::Key",
        "AWS::Lambda::Function",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::SNS::Topic",
        "AWS::SQS::Queue",
        "AWS::SSM::Parameter",
    }
)


def aliases_to_functions(template: Template) -> Template:
    """Locally an alias is its function: there is one version, the code in the checkout."""
    aliases = {
        logical_id: resource["Properties"]["FunctionName"]["Ref"]
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Lambda::Alias"
    }

    def rewrite(node: Any) -> Any:
        if isinstance(node, list):
            return [rewrite(each) for each in node]
        if isinstance(node, str):
            return re.sub(
                r"\$\{(\w+)\}", lambda found: f"${{{aliases[found[1]]}.Arn}}" if found[1] in aliases else found[0], node
            )
        if not isinstance(node, dict):
            return node
        if node.get("Ref") in aliases:
            return {"Fn::GetAtt": [aliases[node["Ref"]], "Arn"]}
        return {key: rewrite(value) for key, value in node.items()}

    rewritten: Template = rewrite(template) if aliases else template
    return rewritten


def without_unsupported(template: Template) -> tuple[Template, list[str]]:
    """The part of the template that moto creates rightly, and the logical ids of the rest."""
    resources = template["Resources"]
    left_out = [logical_id for logical_id, resource in resources.items() if resource["Type"] not in CREATED]
    for logical_id in left_out:
        del resources[logical_id]
    for resource in resources.values():
        needed = resource.pop("DependsOn", [])
        kept = [each for each in ([needed] if isinstance(needed, str) else needed) if each in resources]
        if kept:
            resource["DependsOn"] = kept
        if resource["Type"] == "AWS::Lambda::Function":
            resource["Properties"]["Code"] = {"ZipFile": "# runs from the checkout"}
            resource["Properties"].pop("Layers", None)
    gone = frozenset(left_out)
    template["Outputs"] = {
        name: output for name, output in template.get("Outputs", {}).items() if not gone & set(_references(output))
    }
    template["Resources"] = _without_references(resources, gone)
    template.pop("Rules", None)  # checked at deployment; moto does not know them
    return template, left_out


def _without_references(node: Any, gone: frozenset[str]) -> Any:
    """``node`` with a name in place of each reference to what moto never sees: ``!Ref Alarm`` is ``local-Alarm``."""
    if isinstance(node, list):
        return [_without_references(each, gone) for each in node]
    if isinstance(node, str):
        return re.sub(r"\$\{(\w+)([.\w]*)\}", lambda found: f"local-{found[1]}" if found[1] in gone else found[0], node)
    if not isinstance(node, dict):
        return node
    target = next(_references(node), "") if node.keys() & {"Ref", "Fn::GetAtt"} else ""
    if target in gone:
        return f"local-{target}"
    return {key: _without_references(value, gone) for key, value in node.items()}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("Ref"), str):
            yield node["Ref"]
        if "Fn::GetAtt" in node:
            target = node["Fn::GetAtt"]
            yield target.split(".")[0] if isinstance(target, str) else target[0]
        for key, value in node.items():
            if key == "Fn::Sub":
                text = value if isinstance(value, str) else value[0]
                yield from (name.split(".")[0] for name in re.findall(r"\$\{([^!}][^}]*)\}", text))
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)
