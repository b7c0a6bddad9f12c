"""A stage's file, infra/stages/<stage>.toml: region, template parameters and the Modal app's ceilings.

No secrets, so it belongs into git.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "stages"
CEILINGS = ("MAX_GPUS", "MAX_JOBS", "MAX_UPLOAD_HOSTS")  # what may run at once, as modal_app.py reads it
MOST_AT_ONCE = 1000
STAGE_PATTERN = re.compile(r"[a-z][a-z0-9]{1,11}")  # the template's own

# What a first deployment is asked; everything else has a default that is right for a start.
QUESTIONS: tuple[tuple[str, str, str], ...] = (
    ("Runner", "Who does the speech work: modal (GPUs by the second) or queue (a GPU box of your own)", "modal"),
    ("ModalWorkspaceId", "Id of your Modal workspace, like ac-1a2B3c (Modal: Settings, Workspace)", ""),
    ("ModalTokenSecretArn", "ARN of the secret with the Modal token (docs/operations.md, step 3)", ""),
    ("AlarmEmail", "Where alarms are mailed; empty for nowhere", ""),
    ("MonthlyBudgetDollars", "Mail when the account's monthly spend gets near this many dollars; 0 for never", "0"),
)


class StageProblem(Exception):
    """The stage's name or file cannot be used; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One deployment. ``ceilings``: those of CEILINGS that are not modal_app.py's defaults."""

    name: str
    region: str
    parameters: Mapping[str, str]
    ceilings: Mapping[str, int] = field(default_factory=dict)

    @property
    def stack_name(self) -> str:
        """The CloudFormation stack."""
        return f"audiototext-{self.name}"


def check_name(name: str) -> str:
    """``name``, if it can be a stage. Raises StageProblem."""
    if not STAGE_PATTERN.fullmatch(name):
        raise StageProblem(f"STAGE={name}: 2 to 12 lower-case letters or digits, a letter first.")
    return name


def load(name: str, folder: Path | None = None) -> Stage | None:
    """The stage as its file says; None before the first deployment. Raises StageProblem for a broken file."""
    path = (folder or FOLDER) / f"{check_name(name)}.toml"
    if not path.exists():
        return None
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StageProblem(f"{path} is no TOML: {error}") from error
    region, parameters = values.get("region"), values.get("parameters", {})
    if not isinstance(region, str) or not region or not isinstance(parameters, dict):
        raise StageProblem(f'{path} needs  region = "..."  and  [parameters]')
    if unknown := sorted(values.keys() - {"region", "parameters", "modal"}):
        raise StageProblem(f"{path}: {', '.join(unknown)} means nothing here; parameters go under [parameters]")
    ceilings = _ceilings(path, values.get("modal", {}))
    parameters = {key: _text(value) for key, value in parameters.items()}
    return Stage(name=name, region=region, parameters=parameters, ceilings=ceilings)


def ask(name: str, prompt: Callable[[str], str], default_region: str) -> Stage:
    """A new stage from the answers to a few questions."""
    check_name(name)
    region = prompt(f"AWS region [{default_region}]: ").strip() or default_region
    parameters: dict[str, str] = {}
    for key, question, default in QUESTIONS:
        if key.startswith("Modal") and parameters["Runner"] != "modal":
            continue
        suffix = f" [{default}]" if default else ""
        answer = prompt(f"{question}{suffix}: ").strip() or default
        if answer:
            parameters[key] = answer
    return Stage(name=name, region=region, parameters=parameters)


def save(stage: Stage, folder: Path | None = None) -> Path:
    """Write the stage's file; its path."""
    folder = folder or FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stage.name}.toml"
    lines = [f"region = {json.dumps(stage.region)}", "", "# Parameters of template.yaml that differ from its defaults."]
    lines += ["[parameters]", *(f"{key} = {json.dumps(value)}" for key, value in stage.parameters.items())]
    if stage.ceilings:
        lines += ["", "[modal]", *(f"{name} = {most}" for name, most in stage.ceilings.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _ceilings(path: Path, values: object) -> dict[str, int]:
    if not isinstance(values, dict) or (unknown := sorted(values.keys() - set(CEILINGS))):
        what = f": {', '.join(unknown)} means nothing here" if isinstance(values, dict) else ""
        raise StageProblem(f"{path}: [modal] takes {', '.join(CEILINGS)}{what}")
    for name, most in values.items():
        if type(most) is not int or not 1 <= most <= MOST_AT_ONCE:
            raise StageProblem(f"{path}: {name} under [modal] must be a whole number from 1 to {MOST_AT_ONCE}")
    return values


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(str(each) for each in value)
    return str(value)
