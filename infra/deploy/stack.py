"""Changes the stack: up with sam, down with everything that was protected, if that is really wanted."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from infra.deploy.account import Account, kept_resources
from infra.deploy.stages import Stage
from infra.local.template import Template

ROOT = Path(__file__).resolve().parents[2]
BUILT_TEMPLATE = Path(".aws-sam/build/template.yaml")
SAM = Path(".venv-tools/sam/bin/sam")
WAIT_SECONDS = 30 * 60  # CloudFront takes up to a quarter of an hour to go


class StackFailed(Exception):
    """The change did not come through; the message says where to look."""


def sam_command(stage: Stage, parameters: Mapping[str, str]) -> list[str]:
    """The ``sam deploy`` that brings the stage up or changes it."""
    command = [str(SAM), "deploy", "--template-file", str(BUILT_TEMPLATE), "--stack-name", stage.stack_name]
    command += ["--region", stage.region, "--resolve-s3", "--s3-prefix", stage.stack_name]
    command += ["--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-fail-on-empty-changeset"]
    command += ["--tags", "app=audiototext", f"stage={stage.name}"]
    # sam reads a quoted value as one, so empty values and lists survive.
    command += ["--parameter-overrides", *(f'{key}="{value}"' for key, value in sorted(parameters.items()))]
    return command


def deploy(account: Account, stage: Stage, parameters: Mapping[str, str]) -> dict[str, str]:
    """Deploy what was built; the stack's outputs. Raises StackFailed."""
    done = subprocess.run(sam_command(stage, parameters), cwd=ROOT, check=False)  # noqa: S603 - the sam we installed
    if done.returncode:
        raise StackFailed(
            f"sam deploy failed. The first failed event above is the cause; docs/operations.md lists the usual ones. "
            f"CloudFormation has put {stage.stack_name} back to what it was."
        )
    protected = parameters.get("DeletionProtection", "true") == "true"
    account.client("cloudformation").update_termination_protection(
        StackName=stage.stack_name, EnableTerminationProtection=protected
    )
    return outputs(account, stage)


def outputs(account: Account, stage: Stage) -> dict[str, str]:
    """The stack's outputs; empty where it is not deployed."""
    found = account.stack(stage)
    return {each["OutputKey"]: each["OutputValue"] for each in (found or {}).get("Outputs", [])}


def destroy(account: Account, stage: Stage, *, account_id: str, source: Template, with_data: bool) -> list[str]:
    """Delete the stack; with ``with_data`` its tables and bucket too. Returns the names of what was kept.

    Safe to run again after it stopped half-way. Raises StackFailed.
    """
    cloudformation = account.client("cloudformation")
    if (found := account.stack(stage)) is not None:
        if found.get("EnableTerminationProtection"):
            cloudformation.update_termination_protection(StackName=stage.stack_name, EnableTerminationProtection=False)
        cloudformation.delete_stack(StackName=stage.stack_name)
        _wait_until_gone(account, stage)
    kept = [pair for pair in kept_resources(stage, account_id, source) if account.exists(*pair)]
    if not with_data:
        return [name for _, name in kept]
    for kind, name in kept:
        if kind == "AWS::S3::Bucket":
            _delete_bucket(account, name)
        else:
            _delete_table(account, name)
    return []


def _wait_until_gone(account: Account, stage: Stage) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while (stack := account.stack(stage)) is not None and stack["StackStatus"] != "DELETE_COMPLETE":
        if stack["StackStatus"] == "DELETE_FAILED" or time.monotonic() > deadline:
            raise StackFailed(f"{stage.stack_name} is in {stack['StackStatus']}: see its events in the console.")
        time.sleep(5)


def _delete_table(account: Account, name: str) -> None:
    dynamodb = account.client("dynamodb")
    dynamodb.update_table(TableName=name, DeletionProtectionEnabled=False)
    dynamodb.get_waiter("table_exists").wait(TableName=name)
    dynamodb.delete_table(TableName=name)


def _delete_bucket(account: Account, name: str) -> None:
    s3: Any = account.client("s3")
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        keys = [{"Key": each["Key"]} for each in page.get("Contents", [])]
        if keys and (errors := s3.delete_objects(Bucket=name, Delete={"Objects": keys}).get("Errors")):
            raise StackFailed(f"{name}: {errors[0]['Message']}")
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    try:
        s3.delete_bucket(Bucket=name)
    except ClientError as error:
        raise StackFailed(f"{name} could not be deleted: {error.response['Error']['Message']}") from error
