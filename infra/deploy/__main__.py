"""``python -m infra.deploy deploy|check|settings|smoke|destroy --stage dev``. Exit status 0 when done, 1 when not."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.deploy import modal_side, preflight, smoke, stack, stages
from infra.deploy.account import Account, NoAccount
from infra.deploy.modal_side import ModalFailed
from infra.deploy.stages import Stage, StageProblem
from infra.local import template as templates
from infra.local.worker import environment_from_outputs

DEFAULT_REGION = "us-east-1"
JOB_SECONDS = 600  # a GPU that starts cold loads its model first


def main() -> int:
    """Do one command."""
    options = _parse()
    try:
        return COMMANDS[options.command](options)
    except (StageProblem, NoAccount, stack.StackFailed, ModalFailed, templates.TemplateProblem) as problem:
        print(f"\n  {problem}\n", file=sys.stderr)
    except ClientError as error:
        print(f"\n  AWS says: {error}\n", file=sys.stderr)
    except BotoCoreError as error:
        print(f"\n  AWS cannot be reached: {error}\n", file=sys.stderr)
    except (KeyboardInterrupt, EOFError):
        print("\n  Stopped; nothing was created.\n", file=sys.stderr)
    return 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description=__doc__)
    parser.add_argument("command", choices=tuple(COMMANDS))
    parser.add_argument("--stage", required=True)
    parser.add_argument("--data", choices=("keep", "delete"), default="keep", help="destroy: tables and recordings too")
    parser.add_argument(
        "--confirm", default="", metavar="STAGE", help="destroy: the stage's name, instead of typing it"
    )
    parser.add_argument("--base-url", help="smoke: of another deployment, or of the local stack")
    return parser.parse_args()


def _deploy(options: argparse.Namespace) -> int:
    stage, source = _stage(options.stage, may_ask=True), _source()
    if found := list(preflight.settings_problems(stage, stage.parameters, source)):
        return _refuse(stage, found)  # before anybody has to log in
    account = _account(stage)
    facts = account.observe(stage, source)
    parameters = preflight.derive_parameters(stage, facts, source)
    if found := list(preflight.problems(stage, facts, parameters, source)):
        return _refuse(stage, found)
    print(f"  preflight ok: account {facts.account_id}, {stage.region}, {stage.stack_name}, now {facts.stack_status}")
    if options.command == "check":
        return 0
    if not (stack.ROOT / stack.BUILT_TEMPLATE).exists():
        raise StageProblem("There is nothing built yet:  make build")
    outputs = stack.deploy(account, stage, parameters)
    if parameters.get("Runner") == "modal":
        modal_side.deploy(parameters, _settings_of(stage, outputs), stage.ceilings, _secrets(facts))
    print("\n" + "".join(f"  {key:<22} {value}\n" for key, value in sorted(outputs.items())))
    print(f"  Next:  make smoke STAGE={stage.name}")
    return 0


def _secrets(facts: preflight.Facts) -> tuple[str, ...]:
    return facts.modal_login.secrets if facts.modal_login else ()


def _refuse(stage: Stage, found: list[str]) -> int:
    print("\n  Not deployed; nothing was created or changed:\n", file=sys.stderr)
    for problem in found:
        print(f"  - {problem}", file=sys.stderr)
    print(f"\n  The stage's settings are in infra/stages/{stage.name}.toml\n", file=sys.stderr)
    return 1


def _smoke(options: argparse.Namespace) -> int:
    base_url = options.base_url or _base_url(_stage(options.stage, may_ask=False))
    api_key = os.environ.get("AUDIOTOTEXT_API_KEY")
    failed = False
    for check in smoke.run(base_url.rstrip("/"), api_key, job_seconds=JOB_SECONDS, sleep=time.sleep):
        print(f"  {'ok    ' if check.problem is None else 'FAILED'} {check.name}")
        if check.problem:
            failed = True
            print(f"         {check.problem}")
    if not api_key:
        print("  Not tried: a transcription. Set AUDIOTOTEXT_API_KEY for that (docs/operations.md, step 6).")
    return int(failed)


def _destroy(options: argparse.Namespace) -> int:
    stage, source = _stage(options.stage, may_ask=False), _source()
    account = _account(stage)
    facts = account.observe(stage, source)
    if facts.stack_status and facts.stack_tags.get("app") != "audiototext":
        raise StageProblem(f"{stage.stack_name} is not ours (no tag app=audiototext); it stays.")
    what = "and every account, ledger entry, job, recording and result" if options.data == "delete" else "(data stays)"
    print(f"  This deletes the stack {stage.stack_name} in account {facts.account_id}, {stage.region} {what}.")
    if (options.confirm or input("  Type the stage's name to go on: ").strip()) != stage.name:
        raise StageProblem("That is not its name; nothing was deleted.")
    kept = stack.destroy(account, stage, account_id=facts.account_id, source=source, with_data=options.data == "delete")
    if kept:
        print(f"  Gone. Kept: {', '.join(kept)}\n  Delete them with  make destroy STAGE={stage.name} DATA=delete")
    else:
        print("  Gone, with all its data.")
    if facts.stack_parameters.get("Runner") == "modal":
        app, where = (facts.stack_parameters[name] for name in ("ModalApp", "ModalEnvironment"))
        print(f"  Modal's half is still there:  .venv/bin/modal app stop --env {where} {app}")
    return 0


def _stage(name: str, *, may_ask: bool) -> Stage:
    stage = stages.load(name)
    if stage is not None:
        return stage
    if not may_ask or not sys.stdin.isatty():
        raise StageProblem(f"There is no infra/stages/{name}.toml yet: run  make deploy STAGE={name}  on a terminal.")
    print(f"  First deployment of {name}. A few questions; the answers go to infra/stages/{name}.toml.\n")
    stage = stages.ask(name, input, os.environ.get("AWS_REGION", DEFAULT_REGION))
    print(f"  Written to {stages.save(stage)}")
    return stage


def _account(stage: Stage) -> Account:
    return Account(boto3.Session(), stage.region)


def _source() -> templates.Template:
    return templates.read(Path(stack.ROOT) / "template.yaml")


def _settings(options: argparse.Namespace) -> int:
    """What a worker or the Modal app needs to find the stage, as NAME=value lines."""
    stage = _stage(options.stage, may_ask=False)
    outputs = stack.outputs(_account(stage), stage)
    if not outputs:
        raise StageProblem(f"{stage.stack_name} is not deployed.")
    print("\n".join(f"{name}={value}" for name, value in sorted(_settings_of(stage, outputs).items())))
    return 0


def _settings_of(stage: Stage, outputs: Mapping[str, str]) -> dict[str, str]:
    settings = environment_from_outputs(outputs) | {"AWS_DEFAULT_REGION": stage.region}
    if "ModalRoleArn" in outputs:
        settings["AWS_ROLE_ARN"] = outputs["ModalRoleArn"]
    return settings


def _base_url(stage: Stage) -> str:
    outputs = stack.outputs(_account(stage), stage)
    for name in ("PublicUrl", "CustomBaseUrl", "BaseUrl"):
        if name in outputs:
            return outputs[name]
    raise StageProblem(f"{stage.stack_name} is not deployed.")


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "deploy": _deploy,
    "check": _deploy,
    "settings": _settings,
    "smoke": _smoke,
    "destroy": _destroy,
}

if __name__ == "__main__":
    sys.exit(main())
