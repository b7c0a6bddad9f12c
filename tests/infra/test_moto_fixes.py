"""Each way in which moto is mended, seen through AWS's own API; every test fails without its fix."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from infra.local.aws import LocalAws
from infra.local.options import REPOSITORY
from tests.infra.small_stack import SmallStack, token

CREDITS, THREADS = 300, 50


def _take_one(dynamodb: Any, table: str, key: str) -> bool:
    try:
        dynamodb.update_item(
            TableName=table,
            Key={"id": {"S": key}},
            UpdateExpression="ADD unsold :minus",
            ConditionExpression="unsold >= :one",
            ExpressionAttributeValues={":minus": {"N": "-1"}, ":one": {"N": "1"}},
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True


def test_many_threads_on_one_condition_sell_exactly_what_there_is(small_stack: SmallStack) -> None:
    dynamodb, table, key = small_stack.client("dynamodb"), small_stack.output_of("Table"), token()
    dynamodb.put_item(TableName=table, Item={"id": {"S": key}, "unsold": {"N": str(CREDITS)}})
    with ThreadPoolExecutor(THREADS) as threads:
        sold = list(threads.map(lambda _: _take_one(dynamodb, table, key), range(CREDITS + 100)))
    assert Counter(sold) == {True: CREDITS, False: 100}
    assert dynamodb.get_item(TableName=table, Key={"id": {"S": key}})["Item"]["unsold"] == {"N": "0"}


@pytest.fixture
def ranged_table(small_stack: SmallStack) -> str:
    """A table with a sort key and a stream."""
    name = token()
    small_stack.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    return name


def test_a_cancelled_transaction_leaves_every_item_as_it_was(small_stack: SmallStack, ranged_table: str) -> None:
    dynamodb = small_stack.client("dynamodb")

    def item(pk: str, sk: str, n: int) -> dict[str, Any]:
        return {"pk": {"S": pk}, "sk": {"S": sk}, "n": {"N": str(n)}}

    def key(pk: str, sk: str) -> dict[str, Any]:
        return {"pk": {"S": pk}, "sk": {"S": sk}}

    for made in (item("a", "1", 1), item("a", "2", 2), item("b", "1", 3)):
        dynamodb.put_item(TableName=ranged_table, Item=made)
    before = dynamodb.scan(TableName=ranged_table)["Items"]
    add = {"UpdateExpression": "ADD n :n", "ExpressionAttributeValues": {":n": {"N": "9"}}}
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as cancelled:
        dynamodb.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": ranged_table, "Item": item("new", "1", 4)}},
                {"Put": {"TableName": ranged_table, "Item": item("a", "3", 5)}},
                {"Update": {"TableName": ranged_table, "Key": key("a", "1"), **add}},
                {"Delete": {"TableName": ranged_table, "Key": key("b", "1")}},
                {
                    "ConditionCheck": {
                        "TableName": ranged_table,
                        "Key": key("a", "2"),
                        "ConditionExpression": "n = :n",
                        "ExpressionAttributeValues": {":n": {"N": "0"}},
                        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    }
                },
            ]
        )
    reasons = cancelled.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None"] * 4 + ["ConditionalCheckFailed"]
    assert reasons[4]["Item"]["n"] == {"N": "2"}
    after = dynamodb.scan(TableName=ranged_table)["Items"]
    assert sorted(map(str, after)) == sorted(map(str, before))
    assert _stream_length(small_stack, ranged_table) == len(before)


def _stream_length(stack: SmallStack, table: str) -> int:
    arn = stack.client("dynamodb").describe_table(TableName=table)["Table"]["LatestStreamArn"]
    streams = stack.client("dynamodbstreams")
    shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    return len(streams.get_records(ShardIterator=iterator["ShardIterator"])["Records"])


def test_a_transaction_copies_only_the_items_it_names() -> None:
    # In a process of its own: the table holds a bystander that cannot be copied.
    _run_python("""
from infra.local import moto_fixes
moto_fixes.transactions_copy_only_touched_items()
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
backend = dynamodb_backends["123456789012"]["us-east-1"]
schema = [{"AttributeName": "id", "KeyType": "HASH"}]
backend.create_table("t", schema=schema, attr=[{"AttributeName": "id", "AttributeType": "S"}], billing_mode="x",
    throughput=None, global_indexes=None, indexes=None, streams=None, sse_specification=None, tags=[],
    deletion_protection_enabled=False, warm_throughput=None)
class Bystander:
    def __deepcopy__(self, memo): raise AssertionError("copied")
backend.tables["t"].items["bystander"] = Bystander()
backend.transact_write_items([{"Put": {"TableName": "t", "Item": {"id": {"S": "a"}}}}])
assert len(backend.tables["t"].items) == 2
""")


def test_every_kind_of_attribute_value_comes_back_as_it_was_put(small_stack: SmallStack) -> None:
    dynamodb, table = small_stack.client("dynamodb"), small_stack.output_of("Table")
    item: dict[str, Any] = {
        "id": {"S": token()},
        "binary": {"B": b"\x00\xff"},
        "binaries": {"BS": [b"a", b"\xfe"]},
        "flag": {"BOOL": False},
        "list": {"L": [{"S": ""}, {"N": "1"}, {"M": {"deep": {"B": b"\x01"}}}]},
        "map": {"M": {"a": {"NULL": True}, "b": {"NS": ["1", "2"]}, "c": {"M": {}}}},
        "nothing": {"NULL": True},
        "number": {"N": "-1.5"},
        "texts": {"SS": ["x", "y"]},
    }
    dynamodb.put_item(TableName=table, Item=item)
    assert dynamodb.get_item(TableName=table, Key={"id": item["id"]})["Item"] == item
    found = dynamodb.query(
        TableName=table, KeyConditionExpression="id = :id", ExpressionAttributeValues={":id": item["id"]}
    )
    assert found["Items"] == [item]
    old = dynamodb.delete_item(TableName=table, Key={"id": item["id"]}, ReturnValues="ALL_OLD")["Attributes"]
    assert old == item


def test_an_items_attributes_are_not_interpreted_one_by_one() -> None:
    _run_python("""
from infra.local import moto_fixes
moto_fixes.items_are_answered_as_they_are()
from moto.core.serialize import ResponseSerializer
import boto3, moto
questions = []
ask = ResponseSerializer.get_value
ResponseSerializer.get_value = lambda self, *args: (questions.append(args), ask(self, *args))[1]
with moto.mock_aws():
    dynamodb = boto3.client("dynamodb", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    dynamodb.create_table(TableName="t", BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}])
    dynamodb.put_item(TableName="t", Item={"id": {"S": "a"}, **{f"f{n}": {"S": "x"} for n in range(50)}})
    questions.clear()
    assert len(dynamodb.get_item(TableName="t", Key={"id": {"S": "a"}})["Item"]) == 51
assert len(questions) < 51, len(questions)
""")


def test_the_services_are_listed_once() -> None:
    _run_python("""
import os
from infra.local import moto_fixes
moto_fixes.services_are_listed_once()
from moto import backends
os.listdir = None
assert "dynamodb" in backends.list_of_moto_modules()
""")


def test_what_was_deleted_does_not_stay_in_memory() -> None:
    code = """
        import gc, weakref
        from infra.local import moto_fixes
        moto_fixes.apply(invoke_async=lambda arn, event: None)
        from moto.sqs.models import Message
        message = Message("id", "body")
        gone = weakref.ref(message)
        del message
        gc.collect()
        assert gone() is None, "moto remembers it"
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=REPOSITORY, check=True, timeout=60)


def test_cloudformation_is_imported_without_services_nobody_uses() -> None:
    _run_python("""
import sys
from infra.local import moto_fixes
moto_fixes.import_cloudformation_quickly()
import moto.cloudformation
assert "moto.ec2.models.instances" not in sys.modules and "moto.sqs.models" in sys.modules
from moto.rds.models import rds_backends  # a real use finds the real thing
assert rds_backends["123456789012"]["us-east-1"]
""")


def test_every_function_is_known_to_lambda_without_docker(small_stack: SmallStack) -> None:
    names = {each["FunctionName"] for each in small_stack.client("lambda").list_functions()["Functions"]}
    assert names == set(small_stack.ready["functions"].values())


def test_a_rule_is_on_the_bus_it_refers_to(small_stack: SmallStack) -> None:
    bus = small_stack.output_of("Bus")
    assert bus == "tiny-bus"
    assert len(small_stack.client("events").list_rules(EventBusName=bus)["Rules"]) == 3


def test_what_create_stack_forgets_is_set_all_the_same(small_stack: SmallStack) -> None:
    dynamodb, s3, bucket = small_stack.client("dynamodb"), small_stack.client("s3"), small_stack.output_of("Bucket")
    ttl = dynamodb.describe_time_to_live(TableName=small_stack.output_of("Table"))["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires_at"}
    rules = {rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
    assert rules["old"]["Expiration"] == {"Days": 3}
    assert rules["parts"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert s3.get_bucket_cors(Bucket=bucket)["CORSRules"][0]["AllowedOrigins"] == ["https://example.com"]
    queues = s3.get_bucket_notification_configuration(Bucket=bucket)["QueueConfigurations"]
    assert queues[0]["Filter"]["Key"]["FilterRules"][0]["Value"] == "drop/"


def test_an_empty_object_is_stored_at_once(small_stack: SmallStack) -> None:
    s3, bucket, key = small_stack.client("s3"), small_stack.output_of("Bucket"), token()
    s3.put_object(Bucket=bucket, Key=key, Body=b"")
    assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == 0


def test_writes_to_one_object_wait_for_each_other_and_reads_do_not() -> None:
    # moto looks whether the object exists (If-None-Match) and then writes it. The front is tested by itself, with a
    # service behind it that is in no hurry.
    aws, inside, go_on = LocalAws(), threading.Semaphore(0), threading.Semaphore(0)

    def slow_service(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        inside.release()
        go_on.acquire()
        return []

    aws._moto = slow_service
    signed = {"HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request"}

    def request(method: str) -> None:
        aws({"REQUEST_METHOD": method, "PATH_INFO": "/bucket/key", **signed}, print)

    with ThreadPoolExecutor(3) as threads:
        threads.submit(request, "PUT")
        first = inside.acquire(timeout=10)
        threads.submit(request, "PUT")
        second = inside.acquire(timeout=0.3)
        threads.submit(request, "GET")
        read = inside.acquire(timeout=10)
        go_on.release(3)
    aws.stop()
    assert (first, second, read) == (True, False, True)


# ---- SQS ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def queue(small_stack: SmallStack) -> str:
    """An empty queue of the test's own."""
    return str(small_stack.client("sqs").create_queue(QueueName=token())["QueueUrl"])


def test_no_message_is_lost_or_taken_twice_while_many_send_receive_and_delete(
    small_stack: SmallStack, queue: str
) -> None:
    sqs = small_stack.client("sqs")
    sent = {f"{sender}-{number}" for sender in range(8) for number in range(40)}
    received: Counter[str] = Counter()
    guard = threading.Lock()

    def send(sender: int) -> None:
        for number in range(40):
            sqs.send_message(QueueUrl=queue, MessageBody=f"{sender}-{number}")

    def receive(_: int) -> None:
        quiet = 0
        while quiet < 2:
            messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=3, WaitTimeSeconds=1).get("Messages", [])
            quiet = 0 if messages else quiet + 1
            for message in messages:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                with guard:
                    received[message["Body"]] += 1

    with ThreadPoolExecutor(16) as threads:
        work = [threads.submit(do, number) for number in range(8) for do in (send, receive)]
        for each in work:
            each.result()
    assert set(received) == sent
    assert set(received.values()) == {1}


def test_a_waiting_receiver_gets_a_message_that_becomes_visible(small_stack: SmallStack, queue: str) -> None:
    sqs = small_stack.client("sqs")
    sqs.send_message(QueueUrl=queue, MessageBody="again")
    first = sqs.receive_message(QueueUrl=queue, VisibilityTimeout=600)["Messages"][0]
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(sqs.receive_message, QueueUrl=queue, WaitTimeSeconds=20)
        time.sleep(0.2)
        sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
        assert waiting.result()["Messages"][0]["Body"] == "again"


def test_a_delayed_message_stays_hidden_and_then_arrives(small_stack: SmallStack, queue: str) -> None:
    sqs = small_stack.client("sqs")
    sqs.send_message(QueueUrl=queue, MessageBody="later", DelaySeconds=1)
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    assert sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"][0]["Body"] == "later"


def test_a_receiver_that_left_takes_no_message_with_it(small_stack: SmallStack, queue: str) -> None:
    _run_python(
        f"""
import threading, os, time
from tests.infra.small_stack import SmallStack
stack = SmallStack(); stack.ready = {small_stack.ready!r}
receive = stack.client("sqs").receive_message
threading.Thread(target=receive, kwargs=dict(QueueUrl={queue!r}, WaitTimeSeconds=20)).start()
time.sleep(1)
os._exit(0)
"""
    )
    sqs = small_stack.client("sqs")
    sqs.send_message(QueueUrl=queue, MessageBody="for who is there")
    answer = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)
    assert [message["Body"] for message in answer.get("Messages", [])] == ["for who is there"]


def test_a_receive_does_not_ask_every_message_of_a_deep_queue_for_the_time() -> None:
    _run_python("""
from infra.local import moto_sqs
moto_sqs.apply()
import boto3, moto, moto.sqs.models as models
asked = []
for name in ("unix_time", "unix_time_millis"):
    tell = getattr(models, name)
    setattr(models, name, lambda *args, tell=tell: (asked.append(1), tell(*args))[1])
with moto.mock_aws():
    sqs = boto3.client("sqs", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    url = sqs.create_queue(QueueName="deep")["QueueUrl"]
    for batch in range(50):
        entries = [{"Id": str(n), "MessageBody": f"{batch}-{n}"} for n in range(10)]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    asked.clear()
    assert len(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]) == 10
    sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)
assert len(asked) < 100, len(asked)
""")


def test_message_attributes_and_counts_are_as_asked_for(small_stack: SmallStack, queue: str) -> None:
    sqs = small_stack.client("sqs")
    attributes = {name: {"DataType": "String", "StringValue": name} for name in ("one", "two")}
    sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes=attributes)
    first = sqs.receive_message(
        QueueUrl=queue, VisibilityTimeout=0, MessageAttributeNames=["one"], MessageSystemAttributeNames=["All"]
    )["Messages"][0]
    second = sqs.receive_message(
        QueueUrl=queue, MessageAttributeNames=["All"], MessageSystemAttributeNames=["ApproximateReceiveCount"]
    )["Messages"][0]
    assert set(first["MessageAttributes"]) == {"one"}
    assert set(second["MessageAttributes"]) == {"one", "two"}
    assert second["Attributes"] == {"ApproximateReceiveCount": "2"}
    with pytest.raises(sqs.exceptions.ReceiptHandleIsInvalid):
        sqs.delete_message(QueueUrl=queue, ReceiptHandle="nonsense")


def _run_python(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
