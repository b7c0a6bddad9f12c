"""Reads a SAM template, checks the parameters given for it, and lets AWS's own translator expand it."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

Template = dict[str, Any]


class TemplateProblem(Exception):
    """The template or its parameters cannot be used; the message says what to change."""


def read(path: Path) -> Template:
    """The template with its short intrinsics (``!Ref``) in their long form."""
    from samtranslator.yaml_helper import yaml_parse

    try:
        parsed = yaml_parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TemplateProblem(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise TemplateProblem(f"{path} is no YAML: {error}") from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("Resources"), dict):
        raise TemplateProblem(f"{path} has no Resources")
    return parsed


def parameters(template: Template, given: Mapping[str, str]) -> dict[str, str]:
    """Every parameter's value as text, defaults included, each checked as CloudFormation checks it."""
    declared: Mapping[str, Mapping[str, Any]] = template.get("Parameters", {})
    values: dict[str, str] = {}
    problems: list[str] = []
    unknown = sorted(given.keys() - declared.keys())
    if unknown:
        problems.append(f"the template has no parameter {', '.join(unknown)}; it has {', '.join(declared)}")
    for name, rules in declared.items():
        if name not in given and "Default" not in rules:
            problems.append(f"parameter {name} has no default: give --parameter {name}=...")
            continue
        values[name] = str(given.get(name, rules.get("Default")))
        problems += _problems(name, values[name], rules)
    if problems:
        raise TemplateProblem("; ".join(problems))
    return values


def _problems(name: str, value: str, rules: Mapping[str, Any]) -> Iterator[str]:
    allowed = [str(each) for each in rules.get("AllowedValues", [])]
    if allowed and value not in allowed:
        yield f"parameter {name}={value}: allowed are {', '.join(allowed)}"
    pattern = rules.get("AllowedPattern")
    if pattern and not re.fullmatch(pattern, value):
        yield f"parameter {name}={value}: {rules.get('ConstraintDescription', pattern)}"
    if rules.get("Type") == "Number":
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            yield f"parameter {name}={value} is no number"
        elif number < float(rules.get("MinValue", number)) or number > float(rules.get("MaxValue", number)):
            yield f"parameter {name}={value}: from {rules.get('MinValue', '-')} to {rules.get('MaxValue', '-')}"


def translate(template: Template, values: Mapping[str, str]) -> Template:
    """Plain CloudFormation, as SAM would deploy it. Code locations are stand-ins: the code runs from the checkout."""
    import boto3
    from samtranslator.model.exceptions import InvalidDocumentException
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    source = copy.deepcopy(template)
    places = [resource.setdefault("Properties", {}) for resource in source["Resources"].values()
              if resource["Type"] == "AWS::Serverless::Function"]  # fmt: skip
    for properties in (*places, source.get("Globals", {}).get("Function", {})):
        properties["CodeUri"] = "s3://local/code.zip"
    session = boto3.Session(region_name="us-east-1")
    try:
        translated = Translator({}, Parser(), boto_session=session).translate(source, parameter_values=dict(values))
    except InvalidDocumentException as error:
        causes = "; ".join(str(cause.message) for cause in error.causes)
        raise TemplateProblem(f"SAM cannot translate the template: {causes}") from error
    return cast("Template", translated)
