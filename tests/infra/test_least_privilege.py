"""Nobody calls what his policy does not allow: every AWS call of a run of the local stack, held against the template.

moto checks no policies, so without this a missing permission would first be seen on AWS.
"""

from __future__ import annotations

import io
import time
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.launch import LocalStack
from infra.local.worker import environment_from_outputs
from shared.adapters.dynamodb.items import to_item
from shared.bootstrap import bootstrap
from shared.domain.ids import JobId
from shared.domain.job_rules import MAX_RUNS
from shared.domain.jobs import sweep_shard
from shared.domain.options import TranscriptionOptions
from shared.services.submissions import Submission
from shared.settings import Settings
from tests.infra.policies import FUNCTIONS, Call, grants, read_calls, refused, unused
from tests.media import wav
from tests.receivers import OK, answering, receiver
from tests.recordings import asset

DEADLINE_SECONDS = 90
LONG_AGO = "2020-01-01T00:00:00.000000Z"


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """Every call of a run that takes jobs through all their ends and asks for everything around them."""
    file = tmp_path_factory.mktemp("calls") / "calls"
    arguments = ("--calls-file", str(file), "--schedule-seconds", "1", "--parameter", "DropGraceSeconds=1")
    with receiver(answering(OK)) as customer, LocalStack(*arguments) as stack:
        exercise(stack, customer.url)
    return read_calls(file)


def exercise(stack: LocalStack, hook_url: str) -> None:
    """Use the API as customers do, and let the sweeper find something."""
    ask = Client(stack)
    endpoint = ask.post("webhooks/", json={"url": hook_url, "events": ["transcription.completed"]})
    sound = wav(1)
    job = ask.submit(sound, {"webhook_url": hook_url}, idempotency_key="once")
    ask.wait_for(job)
    ask.submit(sound, {"reuse": "true"}, status=200)
    ask.submit(wav(2), {"max_credits": "0.001"}, idempotency_key="refused", status=400)
    for path in ("account/", "account/ledger/", "account/usage/", "keys/", "webhooks/", "transcribe/", "languages/"):
        ask.get(path)
    for end in ("", "?segments=true", "export/?format=srt", "deliveries/"):
        ask.get(f"transcribe/{job}/{end}")
    key = ask.post("keys/", json={"name": "another"})
    ask.post(f"keys/{key['id']}/rotate/")
    ask.delete(f"keys/{key['id']}/")
    place = f"webhooks/{endpoint['id']}/"
    ask.post(f"{place}test/")
    (delivery, *_) = ask.get(f"{place}deliveries/")["deliveries"]
    ask.post(f"webhook-deliveries/{delivery['id']}/replay/")
    speak_and_rename(ask)
    cancel_and_retry(ask)
    drop(stack)
    upload_and_submit(ask)
    upload_in_parts(ask)
    unkept = ask.submit(wav(3), {"webhook_url": hook_url, "retention_days": "0"})
    wait_until(lambda: not ask.has(f"transcribe/{unkept}/"))
    leave_to_the_sweeper(stack)
    ask.delete(place)
    ask.delete(f"transcribe/{job}/")


class Client:
    """A customer of the stack: every answer is checked."""

    def __init__(self, stack: LocalStack) -> None:
        self._base = f"{stack.ready['base_url']}/api/v1/"
        self._headers = {"Authorization": f"Bearer {stack.ready['api_key']}"}

    def _call(self, method: str, path: str, **more: Any) -> Any:
        answer = requests.request(method, self._base + path, headers=self._headers, timeout=30, **more)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.text.startswith("{") else answer.text

    def get(self, path: str) -> Any:
        """What is there."""
        return self._call("GET", path)

    def has(self, path: str) -> bool:
        """Whether anything is there."""
        answer = requests.get(self._base + path, headers=self._headers, timeout=30)
        assert answer.ok or answer.status_code == 404, answer.text
        return answer.ok

    def post(self, path: str, **more: Any) -> Any:
        """The answer."""
        return self._call("POST", path, **more)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        """The answer."""
        return self._call("PATCH", path, json=body)

    def delete(self, path: str) -> None:
        """Gone."""
        self._call("DELETE", path)

    def submit(
        self, audio: bytes, data: dict[str, str], *, idempotency_key: str | None = None, status: int = 202
    ) -> str:
        """The id of the job; empty where the submission was to be refused."""
        headers = self._headers | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        files = {"file": ("a.wav", audio, "audio/wav")}
        answer = requests.post(f"{self._base}transcribe/", headers=headers, files=files, data=data, timeout=30)
        assert answer.status_code == status, answer.text
        return str(answer.json().get("id", ""))

    def wait_for(self, job_id: str) -> str:
        """How the job ended."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (status := self.get(f"transcribe/{job_id}/")["status"]) == "processing":
            assert time.monotonic() < deadline
            time.sleep(0.2)
        return str(status)


def speak_and_rename(ask: Client) -> None:
    """A recording with words in it, whose speaker gets a name; then its speakers are found anew."""
    job = ask.submit(beginning(asset("endgame_nagg_nell.wav"), seconds=4), {"diarization": "true"})
    assert ask.wait_for(job) == "completed"
    speakers = ask.get(f"transcribe/{job}/?segments=true")["speakers"]
    ask.patch(f"transcribe/{job}/", {"speakers": [{"id": speakers[0]["id"], "label": "Nagg"}]})
    assert ask.wait_for(ask.post(f"transcribe/{job}/rerun/", json={"stage": "diarization"})["id"]) == "completed"


def beginning(path: Path, seconds: float) -> bytes:
    """The first seconds of a WAV file, as one."""
    buffer = io.BytesIO()
    with wave.open(str(path)) as whole, wave.open(buffer, "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(round(seconds * whole.getframerate())))
    return buffer.getvalue()


def cancel_and_retry(ask: Client) -> None:
    """One job is called off, another fails (the local engine has no German) and is tried again."""
    ask.post(f"transcribe/{ask.submit(wav(4), {})}/cancel/")
    failed = ask.submit(wav(1.5), {"language": "de"})
    assert ask.wait_for(failed) == "failed"
    ask.wait_for(ask.post(f"transcribe/{failed}/retry/")["id"])


def leave_to_the_sweeper(stack: LocalStack) -> None:
    """A job whose time is over, one whose message was never sent, and one whose runners were all lost."""
    client, table, ask = stack.client("dynamodb"), stack.ready["outputs"]["JobsTable"], Client(stack)

    def make_due(job_id: str, **fields: Any) -> None:
        values = {"sweep_at": LONG_AGO, "sweep_shard": sweep_shard(JobId(job_id)), **fields}
        client.update_item(
            TableName=table,
            Key={"job_id": {"S": job_id}},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in values),
            ExpressionAttributeNames={f"#{name}": name for name in values},
            ExpressionAttributeValues=to_item({f":{name}": value for name, value in values.items()}),
        )

    def item_of(job_id: str) -> Any:
        return client.get_item(TableName=table, Key={"job_id": {"S": job_id}}, ConsistentRead=True).get("Item")

    def state_of(job_id: str) -> str | None:
        item = item_of(job_id)
        return None if item is None else str(item["state"]["S"])

    over = ask.submit(wav(2.5), {})
    ask.wait_for(over)
    wait_until(lambda: not item_of(over)["owes_event"]["BOOL"])  # else the worker's last write undoes ours
    make_due(over)
    wait_until(lambda: state_of(over) == "deleted")
    make_due(over)
    wait_until(lambda: state_of(over) is None)
    unsent, lost = (submit_without_message(stack) for _ in range(2))
    make_due(unsent)
    assert ask.wait_for(unsent) == "completed"
    attempt = {"attempt_id": "a", "number": 1, "run_token": "t", "runs": MAX_RUNS, "lease_expires_at": LONG_AGO}
    make_due(lost, state="running", attempt=attempt)
    assert ask.wait_for(lost) == "failed"


def submit_without_message(stack: LocalStack) -> JobId:
    """A job of an API that died, or could not reach the queue, right after it had made the job."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", stack.ready["aws_endpoint"])
        environment.setenv("AWS_DEFAULT_REGION", stack.ready["region"])
        environment.setenv("AWS_ACCESS_KEY_ID", "the-test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", stack.ready["secret_access_key"])
        settings = Settings.from_environment(environment_from_outputs(stack.ready["outputs"]))
        services = bootstrap(replace(settings, jobs_queue_url=f"{settings.jobs_queue_url}-that-is-not-there"))
        principal = services.keys.authenticate(f"Bearer {stack.ready['api_key']}")
        audio = wav(1.2)
        submission = Submission(
            principal=principal,
            options=TranscriptionOptions(),
            filename="a.wav",
            content_type="audio/wav",
            size_bytes=len(audio),
            duration_seconds=1.2,
        )
        job = services.submissions.submit(submission, io.BytesIO(audio)).job
        assert job is not None
        return job.job_id


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
    ask = Client(stack)
    for dropped in ask.get("transcribe/?source=drop")["transcriptions"]:
        ask.delete(f"transcribe/{dropped['id']}/")
    ask.patch("account/", {"retention_days": 30})


def upload_and_submit(ask: Client) -> None:
    """The recording goes straight into the bucket, and a submission names it."""
    audio = wav(1)
    upload = ask.post("uploads/", json={"filename": "a.wav", "size": len(audio), "content_type": "audio/wav"})
    requests.post(upload["url"], data=upload["fields"], files={"file": audio}, timeout=30).raise_for_status()
    ask.get(f"uploads/{upload['upload_id']}/")
    job = ask.post("transcribe/", json={"upload_id": upload["upload_id"]})["id"]
    ask.wait_for(job)
    ask.delete(f"transcribe/{job}/")


def upload_in_parts(ask: Client) -> None:
    """Announced, sent, put together; another one abandoned."""
    audio = wav(1)
    plan = {"filename": "a.wav", "size": len(audio), "content_type": "audio/wav", "multipart": True}
    for ending in ("complete", "abandon"):
        place = f"uploads/{ask.post('uploads/', json=plan)['upload_id']}/"
        parts = ask.post(f"{place}parts/", json={"part_numbers": [1]})["parts"]
        requests.put(parts[0]["url"], data=audio, timeout=30).raise_for_status()
        ask.get(place)
        if ending == "complete":
            ask.post(f"{place}complete/")
        ask.delete(place)


def wait_until(holds: Callable[[], bool]) -> None:
    """Return once it does."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_no_function_and_no_worker_calls_what_its_policy_does_not_allow(calls: list[Call]) -> None:
    assert refused(calls) == []


BY_LAMBDA = "Lambda's event source does it, under the function's role; here the stack's own pollers do"
LOGS = "Lambda writes what the function prints"
ABORTS = "only when an upload in parts fails half-way"
MISSING = "asked for nothing itself: without it S3 answers 403 for an object that is not there"
LARGE = "only results too large for an answer or a message; those who get the link act under this role"
RETENTION = "only a job that has such objects when its time is over"
AUDIT = "once an hour; tests/integration/test_audits.py"

# What the run above does not show, and why it is granted all the same.
REASONS: dict[tuple[str, str, str], str] = {
    **{
        (name, action, f"{logs}Logs"): LOGS
        for name, logs in ((name, name.removesuffix("Function")) for name in FUNCTIONS)
        for action in ("logs:CreateLogStream", "logs:PutLogEvents")
    },
    **{
        (name, f"sqs:{action}", queue): BY_LAMBDA
        for name, queue in (
            ("DispatchFunction", "JobsQueue"),
            ("DeliverWebhookFunction", "DeliveriesQueue"),
            ("IngestFunction", "IngestQueue"),
        )
        for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    },
    ("ApiFunction", "s3:AbortMultipartUpload", "Bucket.Arn/audio/*"): ABORTS,
    ("ApiFunction", "s3:DeleteObject", "Bucket.Arn/exports/*"): LARGE,
    ("ApiFunction", "s3:DeleteObject", "Bucket.Arn/work/*"): "only a job that has such objects when it is deleted",
    ("ApiFunction", "s3:GetObject", "Bucket.Arn/exports/*"): LARGE,
    ("ApiFunction", "s3:PutObject", "Bucket.Arn/exports/*"): LARGE,
    ("DeliverWebhookFunction", "events:PutEvents", "EventBus"): "when an endpoint has failed for days",
    ("DeliverWebhookFunction", "s3:GetObject", "Bucket.Arn/exports/*"): LARGE,
    ("DeliverWebhookFunction", "s3:PutObject", "Bucket.Arn/exports/*"): LARGE,
    ("DeliverWebhookFunction", "s3:ListBucket", "Bucket"): MISSING,
    ("DeliverWebhookFunction", "sqs:ChangeMessageVisibility", "DeliveriesQueue"): "when a delivery has to wait",
    ("DispatchFunction", "secretsmanager:GetSecretValue", "ModalTokenSecretArn"): "with Runner=modal",
    ("IngestFunction", "s3:AbortMultipartUpload", "Bucket.Arn/audio/*"): ABORTS,
    ("IngestFunction", "s3:AbortMultipartUpload", "Bucket.Arn/quarantine/*"): ABORTS,
    ("IngestFunction", "s3:DeleteObject", "Bucket.Arn/audio/*"): "when a copied recording is refused",
    ("IngestFunction", "s3:ListBucket", "Bucket"): MISSING,
    ("SweepFunction", "dynamodb:Query", "LedgerTable"): AUDIT,
    ("SweepFunction", "dynamodb:Scan", "AccountsTable"): AUDIT,
    ("SweepFunction", "s3:DeleteObject", "Bucket.Arn/drop/*"): RETENTION,
    ("SweepFunction", "s3:DeleteObject", "Bucket.Arn/exports/*"): RETENTION,
    ("SweepFunction", "s3:GetObjectTagging", "Bucket.Arn/drop/*"): RETENTION,
    ("SweepFunction", "s3:DeleteObject", "Bucket.Arn/uploads/*"): RETENTION,
    ("SweepFunction", "s3:DeleteObject", "Bucket.Arn/work/*"): RETENTION,
    ("worker", "s3:AbortMultipartUpload", "Bucket.Arn/audio/*"): ABORTS,
    ("worker", "s3:AbortMultipartUpload", "Bucket.Arn/work/*"): ABORTS,
    ("worker", "s3:ListBucket", "Bucket"): MISSING,
    ("worker", "s3:PutObject", "Bucket.Arn/audio/*"): "with a source_url; the local stack's workers have no web",
}


def test_nothing_is_allowed_that_is_never_done_or_there_is_a_reason(calls: list[Call]) -> None:
    idle = {(grant.caller, grant.action, grant.written) for grant in unused(calls)}
    assert idle - REASONS.keys() == set()


def test_every_reason_is_for_something_that_is_granted() -> None:
    given = {(each.caller, each.action, each.written) for name in (*FUNCTIONS, "worker") for each in grants(name)}
    assert REASONS.keys() - given == set()


def test_the_run_was_a_real_one(calls: list[Call]) -> None:
    callers = {call.caller for call in calls}
    assert {
        "ApiFunction",
        "DispatchFunction",
        "DeliverWebhookFunction",
        "SweepFunction",
        "IngestFunction",
        "worker-1",
    } <= callers
    assert len(calls) > 40
