"""Which deployment the operator means: a running local stack, a CloudFormation stack, or the environment as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.local.worker import environment_from_outputs
from shared.settings import Settings, SettingsError


class NoTarget(Exception):
    """There is no such deployment; the message says what to try."""


def settings_of(*, ready_file: str | None, stack: str | None) -> Settings:
    """The settings of the deployment. Raises NoTarget.

    ``ready_file`` is what ``make local ARGS="--ready-file FILE"`` wrote, ``stack`` a CloudFormation stack's name (its
    region and credentials come from the environment, as for the AWS command line).
    """
    if ready_file is not None:
        environment = _local(Path(ready_file))
    elif stack is not None:
        environment = environment_from_outputs(_outputs(stack))
    else:
        environment = dict(os.environ)
    try:
        return Settings.from_environment(environment)
    except SettingsError as error:
        hint = "Name a deployment with --stack NAME, or a local stack with --ready-file FILE."
        raise NoTarget(f"{error}\n{hint}") from error


def _local(ready_file: Path) -> dict[str, str]:
    try:
        ready: dict[str, Any] = json.loads(ready_file.read_text("utf-8"))
        os.environ.update(
            AWS_ENDPOINT_URL=ready["aws_endpoint"],
            AWS_DEFAULT_REGION=ready["region"],
            AWS_ACCESS_KEY_ID=ready["access_key_id"],
            AWS_SECRET_ACCESS_KEY=ready["secret_access_key"],
        )
        return environment_from_outputs(ready["outputs"])
    except (OSError, ValueError, KeyError) as error:
        raise NoTarget(f"{ready_file} is no ready file of a local stack: {error!r}") from error


def _outputs(stack: str) -> Mapping[str, str]:
    import boto3

    try:
        described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except (BotoCoreError, ClientError) as error:
        raise NoTarget(f"CloudFormation does not show a stack {stack!r}: {error}") from error
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
