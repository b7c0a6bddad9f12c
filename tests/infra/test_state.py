"""A stack that is kept: stopped or killed, its data are back at the next start, and nothing is half back."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from infra.local.launch import StackDidNotStart
from tests.infra.small_stack import FIXTURES, SmallStack, token, wait_until

PART_BYTES = 5 * 1024 * 1024  # S3's least for all parts but the last


def _put_everything(stack: SmallStack) -> dict[str, Any]:
    """One of everything; what is needed to find it again."""
    dynamodb, sqs, s3 = (stack.client(name) for name in ("dynamodb", "sqs", "s3"))
    item = {
        "id": {"S": "a"},
        "number": {"N": "1.50"},
        "binary": {"B": b"\x00\xff"},
        "deep": {"L": [{"M": {"b": {"B": b"\x01"}, "none": {"NULL": True}, "set": {"SS": ["x", "y"]}}}]},
    }
    dynamodb.put_item(TableName=stack.output_of("Table"), Item=item)
    dead = stack.output_of("DeadLetterQueueUrl")
    sqs.send_message(
        QueueUrl=dead, MessageBody="seen", MessageAttributes={"n": {"DataType": "Number", "StringValue": "7"}}
    )
    first = sqs.receive_message(QueueUrl=dead, VisibilityTimeout=0)["Messages"][0]
    sqs.send_message(QueueUrl=dead, MessageBody="hidden")
    for message in sqs.receive_message(QueueUrl=dead, VisibilityTimeout=3600, MaxNumberOfMessages=10)["Messages"]:
        if message["Body"] == "seen":
            sqs.change_message_visibility(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    sqs.send_message(QueueUrl=dead, MessageBody="later", DelaySeconds=900)
    bucket = stack.output_of("Bucket")
    s3.put_object(Bucket=bucket, Key="ä b.txt", Body=b"text", ContentType="text/plain", ContentEncoding="gzip",
                  Metadata={"who": "me"}, Tagging="state=unused&x=1")  # fmt: skip
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", ContentType="audio/wav", Tagging="t=2")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"x" * PART_BYTES)
    return {
        "item": item,
        "message_id": first["MessageId"],
        "object": s3.head_object(Bucket=bucket, Key="ä b.txt"),
        "upload": upload,
        "part": part["ETag"],
    }


def _find_everything(stack: SmallStack, put: dict[str, Any]) -> None:
    dynamodb, sqs, s3 = (stack.client(name) for name in ("dynamodb", "sqs", "s3"))
    found = dynamodb.get_item(TableName=stack.output_of("Table"), Key={"id": {"S": "a"}})["Item"]
    assert found == put["item"]

    dead = stack.output_of("DeadLetterQueueUrl")
    counts = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "1"
    assert counts["ApproximateNumberOfMessagesDelayed"] == "1"
    received = sqs.receive_message(
        QueueUrl=dead, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"]
    )["Messages"]
    assert [message["Body"] for message in received] == ["seen"]
    assert received[0]["MessageId"] == put["message_id"]
    assert received[0]["Attributes"]["ApproximateReceiveCount"] == "3"
    assert received[0]["MessageAttributes"]["n"]["StringValue"] == "7"

    bucket, then = stack.output_of("Bucket"), put["object"]
    now = s3.get_object(Bucket=bucket, Key="ä b.txt")
    assert now["Body"].read() == b"text"
    for field in ("ETag", "LastModified", "ContentType", "ContentEncoding", "ContentLength", "Metadata"):
        assert now[field] == then[field], field
    tags = s3.get_object_tagging(Bucket=bucket, Key="ä b.txt")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"state": "unused", "x": "1"}

    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=put["upload"], PartNumber=2, Body=b"the end")
    parts = [{"PartNumber": 1, "ETag": put["part"]}, {"PartNumber": 2, "ETag": part["ETag"]}]
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=put["upload"], MultipartUpload={"Parts": parts})
    whole = s3.get_object(Bucket=bucket, Key="parts")
    assert whole["Body"].read() == b"x" * PART_BYTES + b"the end"
    assert whole["ContentType"] == "audio/wav"


def test_everything_is_back_after_a_stop_and_the_wiring_with_it(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path / "state"))
    with SmallStack(*state) as stack:
        put = _put_everything(stack)
    with SmallStack(*state) as stack:
        _find_everything(stack, put)
        # The template's part: events still reach the queue, objects are still announced.
        body = token()
        stack.client("events").put_events(
            Entries=[
                {
                    "EventBusName": stack.output_of("Bus"),
                    "Source": "tests",
                    "DetailType": "t",
                    "Detail": json.dumps({"token": body}),
                }
            ]
        )
        stack.wait_for_report(lambda each: each.get("detail", {}).get("token") == body)
        stack.client("s3").put_object(Bucket=stack.output_of("Bucket"), Key="drop/a", Body=b"")
        stack.wait_for_report(lambda each: "Records" in each)
    with SmallStack(*state) as stack:  # what came back is kept again
        assert (
            stack.client("s3").head_object(Bucket=stack.output_of("Bucket"), Key="parts")["ContentLength"] > PART_BYTES
        )


def test_a_killed_stack_comes_back_as_its_last_snapshot_was(tmp_path: Path) -> None:
    state = ("--state", str(tmp_path), "--state-seconds", "0.2")
    stack = SmallStack(*state)
    stack.start()
    s3, bucket = stack.client("s3"), stack.output_of("Bucket")
    s3.put_object(Bucket=bucket, Key="kept", Body=b"1")
    first = (tmp_path / "CURRENT").read_text()
    assert wait_until(lambda: (tmp_path / "CURRENT").read_text() != first)
    for number in range(200):  # killed in the midst of changes and snapshots
        s3.put_object(Bucket=bucket, Key=f"maybe/{number:03}", Body=b"2")
        if number == 150:
            stack.process.send_signal(signal.SIGKILL)
            break
    stack.process.wait()
    stack.stop()
    with SmallStack(*state) as stack:
        listed = stack.client("s3").list_objects_v2(Bucket=stack.output_of("Bucket"))["Contents"]
        keys = [each["Key"] for each in listed]
        assert keys[0] == "kept"
        assert keys[1:] == [f"maybe/{number:03}" for number in range(len(keys) - 1)]  # a moment, without holes


def test_a_quiet_stack_writes_no_snapshots(tmp_path: Path) -> None:
    with SmallStack("--state", str(tmp_path), "--state-seconds", "0.1", "--schedule-seconds", "1000") as stack:
        assert wait_until(lambda: "[state] kept:" in stack.log)
        dynamodb, table = stack.client("dynamodb"), stack.output_of("Table")
        time.sleep(0.5)  # what the start still wrote is kept by now
        before = (tmp_path / "CURRENT").read_text()
        for _ in range(20):
            dynamodb.get_item(TableName=table, Key={"id": {"S": "a"}})
            time.sleep(0.03)
        assert (tmp_path / "CURRENT").read_text() == before
        dynamodb.put_item(TableName=table, Item={"id": {"S": "a"}})
        assert wait_until(lambda: (tmp_path / "CURRENT").read_text() != before)


def test_a_folder_in_use_is_refused_and_its_stack_goes_on(tmp_path: Path) -> None:
    with SmallStack("--state", str(tmp_path)) as stack:
        with pytest.raises(StackDidNotStart, match=r"cannot start: .* is in use by another stack \(process \d+\)"):
            SmallStack("--state", str(tmp_path)).start()
        stack.client("dynamodb").put_item(TableName=stack.output_of("Table"), Item={"id": {"S": "a"}})


def test_data_that_the_template_has_no_place_for_stop_the_start_and_stay(tmp_path: Path) -> None:
    state, text = ("--state", str(tmp_path / "state")), (FIXTURES / "template.yaml").read_text()
    with SmallStack(*state) as stack:
        stack.client("sqs").send_message(QueueUrl=stack.output_of("DeadLetterQueueUrl"), MessageBody="stays")

    renamed, keyed = tmp_path / "renamed.yaml", tmp_path / "keyed.yaml"
    renamed.write_text(text.replace("${Stage}-work-in", "other-name").replace("Default: tiny", "Default: large"))
    with SmallStack(*state, template=renamed) as stack:  # other names for the same things
        sqs, dead = stack.client("sqs"), stack.output_of("DeadLetterQueueUrl")
        assert sqs.receive_message(QueueUrl=dead, VisibilityTimeout=0)["Messages"][0]["Body"] == "stays"
        stack.client("dynamodb").put_item(TableName=stack.output_of("Table"), Item={"id": {"S": "a"}})

    gone = tmp_path / "gone.yaml"
    gone.write_text(text.replace("WorkInDeadLetterQueue", "AnotherDeadLetterQueue"))
    with pytest.raises(StackDidNotStart, match=r"no place for: queue WorkInDeadLetterQueue \(1 rows"):
        SmallStack(*state, template=gone).start()
    keyed.write_text(text.replace("AttributeName: id,", "AttributeName: key,"))
    with pytest.raises(StackDidNotStart, match=r"table Table with the key id \(now key\)"):
        SmallStack(*state, template=keyed).start()
    with SmallStack(*state) as stack:
        assert "Item" in stack.client("dynamodb").get_item(TableName=stack.output_of("Table"), Key={"id": {"S": "a"}})


def test_a_state_that_cannot_be_written_is_told_and_the_last_one_stays(tmp_path: Path) -> None:
    stack = SmallStack("--state", str(tmp_path))
    stack.start()
    stack.client("dynamodb").put_item(TableName=stack.output_of("Table"), Item={"id": {"S": "late"}})
    before = (tmp_path / "CURRENT").read_bytes()
    (tmp_path / "blobs").rename(tmp_path / "elsewhere")  # root writes to folders without permission, but not to none
    stack.process.send_signal(signal.SIGTERM)
    assert stack.process.wait(30) == 1
    assert "the state could not be kept in" in stack.output
    stack.stop()
    (tmp_path / "elsewhere").rename(tmp_path / "blobs")
    assert (tmp_path / "CURRENT").read_bytes() == before
    with SmallStack("--state", str(tmp_path)) as again:
        assert again.ready["state"] == str(tmp_path)
