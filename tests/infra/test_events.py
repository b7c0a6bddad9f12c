"""Queues, rules and schedules reach their functions as the template wires them."""

from __future__ import annotations

import json
import time

from tests.infra.small_stack import SmallStack, token, wait_until


def _send(stack: SmallStack, body: str) -> None:
    stack.client("sqs").send_message(QueueUrl=stack.output_of("WorkInQueueUrl"), MessageBody=body)


def test_a_message_reaches_the_function_of_its_queue_and_is_deleted(small_stack: SmallStack) -> None:
    body = token()
    _send(small_stack, body)
    report = small_stack.wait_for_report(lambda each: body in each.get("batch", []))
    assert report["counts"][report["batch"].index(body)] == "1"


def test_only_the_failed_message_of_a_batch_ends_in_the_dead_letter_queue(small_stack: SmallStack) -> None:
    bad, good = f"fail {token()}", token()
    sqs, url = small_stack.client("sqs"), small_stack.output_of("WorkInQueueUrl")
    sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "a", "MessageBody": bad}, {"Id": "b", "MessageBody": good}])
    dead = _wait_for_dead_letter(small_stack, bad)
    assert dead["Attributes"]["ApproximateReceiveCount"] == "4"  # three tries in the queue, one look here
    small_stack.wait_for_report(lambda each: good in each.get("batch", []))
    assert wait_until(lambda: _depth(small_stack, url) == 0)
    waiting = sqs.receive_message(
        QueueUrl=small_stack.output_of("DeadLetterQueueUrl"), MaxNumberOfMessages=10, VisibilityTimeout=0
    )
    assert good not in [message["Body"] for message in waiting.get("Messages", [])]


def _depth(stack: SmallStack, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)
    return sum(int(value) for value in answer["Attributes"].values())


def test_a_message_that_kills_its_function_ends_in_the_dead_letter_queue_and_others_pass(
    small_stack: SmallStack,
) -> None:
    _send(small_stack, "crash")
    _wait_for_dead_letter(small_stack, "crash")
    after = token()
    _send(small_stack, after)
    small_stack.wait_for_report(lambda each: after in each.get("batch", []))


def test_an_event_reaches_every_queue_and_function_whose_rule_matches(small_stack: SmallStack) -> None:
    mark = token()
    for kind in ("to-function", "other"):
        small_stack.client("events").put_events(
            Entries=[
                {
                    "EventBusName": small_stack.output_of("Bus"),
                    "Source": "tests",
                    "DetailType": kind,
                    "Detail": json.dumps({"mark": mark}),
                }
            ]
        )
    at_function = small_stack.wait_for_report(lambda each: each.get("event", {}).get("detail", {}).get("mark") == mark)
    assert at_function["function"] == small_stack.ready["functions"]["EventFunction"]
    assert at_function["event"]["detail-type"] == "to-function"
    assert at_function["event"]["time"].endswith("Z")

    def at_queue() -> list[dict[str, object]]:
        return [each for each in small_stack.reports if each.get("detail") == {"mark": mark}]

    small_stack.wait_for_report(lambda _: len(at_queue()) == 4)  # two rules, two events
    assert sorted(str(each["detail-type"]) for each in at_queue()) == ["other", "other", "to-function", "to-function"]


def test_a_scheduled_rule_fires_and_matches_no_other_event(small_stack: SmallStack) -> None:
    tick = small_stack.ready["functions"]["TickFunction"]
    report = small_stack.wait_for_report(lambda each: each.get("function") == tick)
    assert report["event"]["detail-type"] == "Scheduled Event"
    assert all(
        each["event"]["detail-type"] == "Scheduled Event"
        for each in small_stack.reports
        if each.get("function") == tick
    )


def test_an_asynchronous_invocation_is_accepted_and_runs(small_stack: SmallStack) -> None:
    mark = token()
    answer = small_stack.client("lambda").invoke(
        FunctionName=small_stack.ready["functions"]["EventFunction"],
        InvocationType="Event",
        Payload=json.dumps({"mark": mark}).encode(),
    )
    assert answer["StatusCode"] == 202
    small_stack.wait_for_report(lambda each: each.get("event", {}).get("mark") == mark)


def test_an_object_under_the_notified_prefix_is_announced(small_stack: SmallStack) -> None:
    name = token()
    s3 = small_stack.client("s3")
    s3.put_object(Bucket=small_stack.output_of("Bucket"), Key=f"elsewhere/{name}", Body=b"x")
    s3.put_object(Bucket=small_stack.output_of("Bucket"), Key=f"drop/{name}", Body=b"x")
    small_stack.wait_for_report(lambda each: f"drop/{name}" in _keys(each) or f"drop%2F{name}" in _keys(each))
    assert not any("elsewhere" in key for each in small_stack.reports for key in _keys(each))


def _keys(report: dict[str, object]) -> list[str]:
    records = report.get("Records")
    return [each["s3"]["object"]["key"] for each in records if "s3" in each] if isinstance(records, list) else []


def _wait_for_dead_letter(stack: SmallStack, body: str) -> dict[str, dict[str, str]]:
    sqs, url = stack.client("sqs"), stack.output_of("DeadLetterQueueUrl")
    deadline = time.monotonic() + 60  # by time: what other tests left there answers at once
    while time.monotonic() < deadline:
        answer = sqs.receive_message(
            QueueUrl=url,
            WaitTimeSeconds=1,
            VisibilityTimeout=1,
            MaxNumberOfMessages=10,
            MessageSystemAttributeNames=["All"],
        )
        for message in answer.get("Messages", []):
            if message["Body"] == body:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                return dict(message)
    raise AssertionError(f"{body!r} never reached the dead-letter queue")
