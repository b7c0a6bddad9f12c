"""Nobody calls what his policy does not allow: every AWS call of a run of the local stack, held against the template.

moto checks no policies, so without this a missing permission would first be seen on AWS.
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from infra.deploy.preflight import resource_name
from infra.deploy.stages import Stage
from infra.local.aws import ACCOUNT_ID, REGION
from infra.local.launch import LocalStack
from tests.infra.test_template import RESOURCES, _flat, as_list
from tests.media import wav

NAME_KEYS = ("TableName", "QueueName", "BucketName", "Name", "LogGroupName")
DEADLINE_SECONDS = 90


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, str]]:
    """Every call of a run that takes a job through its life and asks for everything around it."""
    file = tmp_path_factory.mktemp("calls") / "calls"
    with LocalStack("--calls-file", str(file), "--schedule-seconds", "1", "--parameter", "DropGraceSeconds=1") as stack:
        exercise(stack)
        time.sleep(3)  # a few sweeps, and the webhook's attempt
    return [tuple(line.split("\t")) for line in file.read_text().splitlines()]  # type: ignore[misc]


def exercise(stack: LocalStack) -> None:
    """Use the API as a customer does."""
    base, headers = f"{stack.ready['base_url']}/api/v1", {"Authorization": f"Bearer {stack.ready['api_key']}"}
    endpoint = requests.post(
        f"{base}/webhooks/",
        headers=headers,
        json={"url": "http://127.0.0.1:9/hook", "events": ["transcription.completed"]},
        timeout=30,
    )
    job = requests.post(
        f"{base}/transcribe/",
        headers={**headers, "Idempotency-Key": "once"},
        files={"file": ("a.wav", wav(1), "audio/wav")},
        data={"webhook_url": "http://127.0.0.1:9/hook"},
        timeout=30,
    ).json()
    wait_for(base, headers, job["id"])
    for path in ("account/", "account/ledger/", "account/usage/", "keys/", "webhooks/", "transcribe/", "languages/"):
        requests.get(f"{base}/{path}", headers=headers, timeout=30)
    for end in ("", "?segments=true", "export/?format=srt", "receipt/"):
        requests.get(f"{base}/transcribe/{job['id']}/{end}", headers=headers, timeout=30)
    drop(stack)
    upload_and_submit(base, headers)
    upload_in_parts(base, headers)
    if endpoint.ok:
        requests.delete(f"{base}/webhooks/{endpoint.json()['id']}/", headers=headers, timeout=30)
    requests.delete(f"{base}/transcribe/{job['id']}/", headers=headers, timeout=30)


def drop(stack: LocalStack) -> None:
    """A recording in the drop folder, until its transcript lies beside it; and one of nobody's."""
    s3, bucket = stack.client("s3"), stack.ready["bucket"]
    folder = f"drop/{stack.ready['account_id']}/"
    s3.put_object(Bucket=bucket, Key=f"{folder}a.wav", Body=wav(2))
    s3.put_object(Bucket=bucket, Key="drop/nobody/a.wav", Body=wav(1))
    deadline = time.monotonic() + DEADLINE_SECONDS
    while s3.list_objects_v2(Bucket=bucket, Prefix=folder)["KeyCount"] < 2:
        assert time.monotonic() < deadline
        time.sleep(0.3)


def upload_and_submit(base: str, headers: dict[str, str]) -> None:
    """The recording goes straight into the bucket, and a submission names it."""
    audio = wav(1)
    plan = {"filename": "a.wav", "size": len(audio), "content_type": "audio/wav"}
    upload = requests.post(f"{base}/uploads/", headers=headers, json=plan, timeout=30).json()
    requests.post(upload["url"], data=upload["fields"], files={"file": audio}, timeout=30).raise_for_status()
    requests.get(f"{base}/uploads/{upload['upload_id']}/", headers=headers, timeout=30).raise_for_status()
    wish = {"upload_id": upload["upload_id"]}
    job = requests.post(f"{base}/transcribe/", headers=headers, json=wish, timeout=30).json()
    wait_for(base, headers, job["id"])
    requests.delete(f"{base}/transcribe/{job['id']}/", headers=headers, timeout=30)


def upload_in_parts(base: str, headers: dict[str, str]) -> None:
    """Announced, sent, put together; another one abandoned."""
    audio = wav(1)
    plan = {"filename": "a.wav", "size": len(audio), "content_type": "audio/wav", "multipart": True}
    for ending in ("complete", "abandon"):
        upload = requests.post(f"{base}/uploads/", headers=headers, json=plan, timeout=30).json()
        place = f"{base}/uploads/{upload['upload_id']}/"
        parts = requests.post(f"{place}parts/", headers=headers, json={"part_numbers": [1]}, timeout=30).json()["parts"]
        requests.put(parts[0]["url"], data=audio, timeout=30).raise_for_status()
        requests.get(place, headers=headers, timeout=30).raise_for_status()
        if ending == "complete":
            requests.post(f"{place}complete/", headers=headers, timeout=30).raise_for_status()
        requests.delete(place, headers=headers, timeout=30).raise_for_status()


def wait_for(base: str, headers: dict[str, str], job_id: str) -> None:
    """Poll until the job has ended."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while requests.get(f"{base}/transcribe/{job_id}/", headers=headers, timeout=30).json()["status"] == "processing":
        assert time.monotonic() < deadline
        time.sleep(0.2)


def allowed(caller: str) -> list[tuple[str, str]]:
    """Actions and the patterns of names that the caller's policy allows."""
    if caller in RESOURCES:
        role = RESOURCES[caller]["Properties"]["Role"]["Fn::GetAtt"]
        role = role.split(".")[0] if isinstance(role, str) else role[0]
        own = RESOURCES[role]["Properties"]
        documents = [policy["PolicyDocument"] for policy in own.get("Policies", [])]
        managed = [each["Ref"] for each in as_list(own.get("ManagedPolicyArns", [])) if each.get("Ref") in RESOURCES]
        documents += [RESOURCES[name]["Properties"]["PolicyDocument"] for name in managed]
    else:
        documents = [RESOURCES["WorkerPolicy"]["Properties"]["PolicyDocument"]]
    return [
        (action, pattern)
        for document in documents
        for statement in _flat(document["Statement"])
        for action in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
        for pattern in patterns(resource)
    ]


def patterns(resource: dict[str, Any]) -> Iterator[str]:
    """The names that a policy's resource stands for, as they appear in calls."""
    if "Fn::GetAtt" in resource:
        target = resource["Fn::GetAtt"]
        yield physical_name(target.split(".")[0] if isinstance(target, str) else target[0])
    elif "Fn::Sub" in resource:
        yield re.sub(r"\$\{(\w+)[^}]*\}", lambda found: physical_name(found[1]), resource["Fn::Sub"])


def physical_name(logical_id: str) -> str:
    properties = RESOURCES.get(logical_id, {}).get("Properties", {})
    for key in NAME_KEYS:
        if isinstance(properties.get(key), dict):
            stage = Stage(name="dev", region=REGION, parameters={})
            return resource_name(properties[key]["Fn::Sub"], stage, ACCOUNT_ID)
    return logical_id


def test_no_function_and_no_worker_calls_what_its_policy_does_not_allow(calls: list[tuple[str, str, str]]) -> None:
    refused = set()
    for caller, action, resource in calls:
        if (caller in RESOURCES or caller.startswith("worker-")) and not any(
            action == granted and fnmatch.fnmatchcase(resource, pattern) for granted, pattern in allowed(caller)
        ):
            refused.add(f"{caller} {action} {resource}")
    assert not refused, "\n".join(sorted(refused))


def test_the_run_was_a_real_one(calls: list[tuple[str, str, str]]) -> None:
    callers = {caller for caller, _, _ in calls}
    assert {
        "ApiFunction",
        "DispatchFunction",
        "DeliverWebhookFunction",
        "SweepFunction",
        "IngestFunction",
        "worker-1",
    } <= callers
    assert len(calls) > 40
