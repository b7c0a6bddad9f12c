"""What docs/operations.md tells an operator to type exists, and the workflows hold no key."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import yaml

from infra.admin.__main__ import _parser
from tests.infra.policies import SOURCE
from tests.infra.repository import ROOT, make_targets

TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_every_make_command_exists() -> None:
    assert set(re.findall(r"(?:^    |`|&& )make ([a-z-]+)", TEXT, re.MULTILINE)) <= make_targets().keys()


def test_every_setting_of_the_stages_file_is_a_parameter() -> None:
    named = re.findall(r"^    ([A-Z]\w+) = \"", TEXT, re.MULTILINE) + re.findall(r"`([A-Z]\w+) = \"", TEXT)
    assert len(named) > 5
    assert set(named) <= SOURCE["Parameters"].keys()


def admin_commands() -> list[str]:
    """Every command for the operator's tool, with stand-ins where the text leaves something out."""
    inline = re.findall(r"`\.venv/bin/audiototext-admin ([^`]+)`", TEXT)
    listed = re.findall(r"^    \$admin (.+?)(?:  +.*)?$", TEXT, re.MULTILINE)
    return [" ".join(each.split()) for each in inline + listed]


@pytest.mark.parametrize("command", admin_commands())
def test_every_command_of_the_operators_tool_is_one(command: str) -> None:
    _parser().parse_args(shlex.split(command))


def test_every_address_in_the_text_leads_somewhere() -> None:
    titles = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    headings = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= headings


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_has_bounds_and_no_right_to_write(file: Any) -> None:
    workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert workflow["permissions"] in ({"contents": "read"}, {"contents": "read", "id-token": "write"})
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())
    for step in steps(workflow):
        assert set(re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))) <= make_targets().keys()
        assert "${{" not in step.get("run", ""), "pasted into a command"


def test_the_deployment_enters_aws_by_oidc_and_stores_no_key_of_it() -> None:
    text = (ROOT / ".github" / "workflows" / "deploy.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"]["id-token"] == "write"
    (login,) = [step for step in steps(workflow) if "configure-aws-credentials" in step.get("uses", "")]
    assert login["with"].keys() == {"role-to-assume", "aws-region"}
    assert "AWS_SECRET_ACCESS_KEY" not in text
    assert "concurrency" in workflow
