"""Sets by API what moto's create_stack ignores in a template: TTL, lifecycle, CORS, notifications.

The settings can be read back as on AWS; moto never acts on TTL or lifecycle, so items and objects do not expire here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from infra.local.aws import REGION, SECRET_KEY


class Resources(Protocol):
    """The stack's resources with resolved properties."""

    def of_type(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Logical id and properties of each."""

    def ref(self, logical_id: str) -> str:
        """What ``!Ref`` gives."""


def client(service: str, endpoint_url: str | None) -> Any:
    """A boto3 client of the stack itself."""
    import boto3

    make: Any = boto3.client  # typed by literal service names only
    return make(
        service,
        endpoint_url=endpoint_url,
        region_name=REGION,
        aws_access_key_id="local-stack",
        aws_secret_access_key=SECRET_KEY,
    )


def complete(resources: Resources, *, endpoint_url: str | None) -> None:
    """Make the tables and buckets of the stack at ``endpoint_url`` what the template says."""
    expiring = [pair for pair in resources.of_type("AWS::DynamoDB::Table") if "TimeToLiveSpecification" in pair[1]]
    if expiring:
        dynamodb = client("dynamodb", endpoint_url)
        for logical_id, properties in expiring:
            specification = properties["TimeToLiveSpecification"]
            dynamodb.update_time_to_live(
                TableName=resources.ref(logical_id),
                TimeToLiveSpecification={
                    "AttributeName": specification["AttributeName"],
                    "Enabled": _true(specification["Enabled"]),
                },
            )
    buckets = list(resources.of_type("AWS::S3::Bucket"))
    if buckets:
        s3 = client("s3", endpoint_url)
        for logical_id, properties in buckets:
            _complete_bucket(s3, resources.ref(logical_id), properties)


def _complete_bucket(s3: Any, bucket: str, properties: dict[str, Any]) -> None:
    if rules := properties.get("LifecycleConfiguration", {}).get("Rules"):
        s3.put_bucket_lifecycle_configuration(
            Bucket=bucket, LifecycleConfiguration={"Rules": [_lifecycle_rule(rule) for rule in rules]}
        )
    if rules := properties.get("CorsConfiguration", {}).get("CorsRules"):
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [_cors_rule(rule) for rule in rules]})
    if wanted := properties.get("NotificationConfiguration"):
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=_notifications(wanted))


def _lifecycle_rule(rule: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"Status": rule["Status"]}
    if "Id" in rule:
        made["ID"] = rule["Id"]
    tags = [{"Key": tag["Key"], "Value": tag["Value"]} for tag in rule.get("TagFilters", [])]
    prefix = rule.get("Prefix", "")
    if not tags:
        made["Filter"] = {"Prefix": prefix}
    elif len(tags) == 1 and not prefix:
        made["Filter"] = {"Tag": tags[0]}
    else:
        made["Filter"] = {"And": {"Prefix": prefix, "Tags": tags}}
    if "ExpirationInDays" in rule:
        made["Expiration"] = {"Days": int(rule["ExpirationInDays"])}
    if "NoncurrentVersionExpiration" in rule:
        days = int(rule["NoncurrentVersionExpiration"]["NoncurrentDays"])
        made["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
    if "AbortIncompleteMultipartUpload" in rule:
        days = int(rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"])
        made["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": days}
    return made


def _cors_rule(rule: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        name: rule[name] for name in ("AllowedMethods", "AllowedOrigins", "AllowedHeaders") if name in rule
    }
    if "ExposedHeaders" in rule:
        made["ExposeHeaders"] = rule["ExposedHeaders"]
    if "MaxAge" in rule:
        made["MaxAgeSeconds"] = int(rule["MaxAge"])
    return made


def _notifications(wanted: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if wanted.get("EventBridgeConfiguration") is not None:
        made["EventBridgeConfiguration"] = {}
    for ours, theirs, target in (
        ("QueueConfigurations", "Queue", "QueueArn"),
        ("TopicConfigurations", "Topic", "TopicArn"),
    ):
        if ours in wanted:
            made[ours] = list(_targets(wanted[ours], theirs, target))
    return made


def _targets(configurations: Iterable[dict[str, Any]], theirs: str, target: str) -> Iterator[dict[str, Any]]:
    for configuration in configurations:
        made: dict[str, Any] = {target: configuration[theirs], "Events": [configuration["Event"]]}
        rules = configuration.get("Filter", {}).get("S3Key", {}).get("Rules")
        if rules:
            made["Filter"] = {"Key": {"FilterRules": [{"Name": r["Name"], "Value": r["Value"]} for r in rules]}}
        yield made


def _true(value: Any) -> bool:
    return str(value).lower() == "true"
