"""Finds the facts for the preflight: reads only, creates nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from infra.deploy import modal_side
from infra.deploy.preflight import NEEDED_SERVICES, Facts, ModalToken, reserved_concurrency, resource_name
from infra.deploy.stages import Stage
from infra.local.template import Template


class NoAccount(Exception):
    """There are no working AWS credentials; the message says how to get some."""


class Account:
    """The AWS account that the environment's credentials lead to, in one region."""

    def __init__(self, session: Any, region: str) -> None:
        self._session = session
        self._region = region

    def client(self, service: str) -> Any:
        """A boto3 client."""
        return self._session.client(service, region_name=self._region)

    def observe(self, stage: Stage, source: Template) -> Facts:
        """The facts about this account. Raises NoAccount without credentials, ClientError without rights."""
        regions = frozenset(self._session.get_available_regions("lambda"))
        account_id = self._account_id()
        if stage.region not in regions:
            return Facts(account_id=account_id, known_regions=regions)
        missing = [name for name in NEEDED_SERVICES if stage.region not in self._session.get_available_regions(name)]
        stack = self.stack(stage)
        on_modal = stage.parameters.get("Runner") == "modal"
        arn = stage.parameters.get("ModalTokenSecretArn") if on_modal else None
        providers = self.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
        return Facts(
            account_id=account_id,
            known_regions=regions,
            services_missing=tuple(missing),
            stack_status=stack["StackStatus"] if stack else None,
            stack_tags={tag["Key"]: tag["Value"] for tag in stack["Tags"]} if stack else {},
            stack_parameters=stack_parameters(stack),
            taken_names=() if stack else tuple(self._taken_names(stage, account_id, source)),
            concurrency_quota=self._concurrency(stack_parameters(stack), source),
            api_gateway_log_role=self.client("apigateway").get_account().get("cloudwatchRoleArn"),
            oidc_provider_arns=tuple(provider["Arn"] for provider in providers),
            modal_token=self._modal_token(stage, arn) if arn else None,
            modal_login=modal_side.look(stage.parameters.get("ModalEnvironment", "main")) if on_modal else None,
        )

    def stack(self, stage: Stage) -> dict[str, Any] | None:
        """The stage's stack as CloudFormation describes it, None where there is none."""
        try:
            stacks = self.client("cloudformation").describe_stacks(StackName=stage.stack_name)["Stacks"]
        except ClientError as error:
            if "does not exist" in error.response["Error"]["Message"]:
                return None
            raise
        found: dict[str, Any] = stacks[0]
        return found

    def _concurrency(self, parameters: Mapping[str, str], source: Template) -> int:
        """Concurrent executions that no other stack has reserved."""
        limits = self.client("lambda").get_account_settings()["AccountLimit"]
        if "UnreservedConcurrentExecutions" not in limits:  # moto leaves it out
            return int(limits["ConcurrentExecutions"])
        own = reserved_concurrency(source) if parameters.get("ReserveConcurrency") == "true" else 0
        return int(limits["UnreservedConcurrentExecutions"]) + own

    def _account_id(self) -> str:
        try:
            return str(self.client("sts").get_caller_identity()["Account"])
        except (BotoCoreError, ClientError) as error:
            raise NoAccount(
                f"No working AWS credentials ({error}).\n  Log in first, e.g.  aws sso login  or  "
                "export AWS_PROFILE=...; docs/operations.md, step 1."
            ) from error

    def _taken_names(self, stage: Stage, account_id: str, source: Template) -> Iterator[str]:
        for kind, name in kept_resources(stage, account_id, source):
            if self.exists(kind, name):
                yield name

    def exists(self, kind: str, name: str) -> bool:
        """Whether there is a table or bucket of this name."""
        look: Callable[[], Any]
        if kind == "AWS::S3::Bucket":
            look = lambda: self.client("s3").head_bucket(Bucket=name)  # noqa: E731 - two calls, one way to fail
        else:
            look = lambda: self.client("dynamodb").describe_table(TableName=name)  # noqa: E731 - see above
        try:
            look()
        except ClientError as error:
            if error.response["Error"]["Code"] in {"404", "NoSuchBucket", "ResourceNotFoundException"}:
                return False
            raise
        return True

    def _modal_token(self, stage: Stage, arn: str) -> ModalToken | None:
        try:
            text = self.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]
        except (ClientError, KeyError):
            return None
        try:
            values = json.loads(text)
            token = {key: str(values[key]) for key in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET")}
        except (ValueError, KeyError, TypeError):
            return ModalToken(has_both_keys=False)
        environment_name = stage.parameters.get("ModalEnvironment", "main")
        return ModalToken(has_both_keys=True, refusal=modal_side.look(environment_name, token).refusal)


def stack_parameters(stack: dict[str, Any] | None) -> dict[str, str]:
    """The parameters a stack was deployed with."""
    return {each["ParameterKey"]: each.get("ParameterValue", "") for each in (stack or {}).get("Parameters", [])}


def kept_resources(stage: Stage, account_id: str, source: Template) -> Iterator[tuple[str, str]]:
    """Type and name of the tables and buckets that outlive their stack."""
    names = {"AWS::DynamoDB::Table": "TableName", "AWS::S3::Bucket": "BucketName"}
    for resource in source["Resources"].values():
        if resource["Type"] in names and resource.get("DeletionPolicy") == "Retain":
            pattern = resource["Properties"][names[resource["Type"]]]["Fn::Sub"]
            yield resource["Type"], resource_name(pattern, stage, account_id)
