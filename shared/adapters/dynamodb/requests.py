"""Idempotency records, and which result answers which recording, in DynamoDB. Both expire by themselves."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from shared.adapters.dynamodb.items import from_item, time_text, to_item
from shared.adapters.dynamodb.transactions import Write, is_refused, transact
from shared.domain.errors import IdempotencyKeyReused, RequestInProgress
from shared.domain.idempotency import LEASE, Answer, Claim, Replay, Request
from shared.domain.ids import AccountId, JobId
from shared.domain.jobs import Job
from shared.domain.options import TranscriptionOptions
from shared.domain.reuse import reuse_id

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

REQUEST_WRITE, RESULT_WRITE = "request", "result"


class RequestStore:
    """The requests table. A record past its ``expires_at`` counts as gone, whether or not DynamoDB has removed it."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def claim(self, claim: Claim) -> Replay | None:
        """Claim a request: None when it is ours now, the first answer when it was carried out before.

        Raises RequestInProgress while another holds it, IdempotencyKeyReused when it was a different request.
        """
        # Free are: no record; one that is too old; the same request, unanswered, whose claimer must be dead, or with
        # the very answer that no longer stands (another may have replaced it since: that one is judged anew).
        #
        #   A claims ── A dies                         (or is slow: its transaction names its token and is refused)
        #                       LEASE ── B claims ── B's transaction answers the record
        values = _claim_values(claim)
        condition = (
            "attribute_not_exists(record_id) OR expires_at <= :now OR "
            "(request_hash = :hash AND attribute_not_exists(answer) AND claimed_at <= :dead) OR "
            "(request_hash = :hash AND attribute_exists(answer) AND claim_token = :stale)"
        )
        try:
            self._client.put_item(
                TableName=self._table,
                Item=to_item(values),
                ConditionExpression=condition,
                ExpressionAttributeValues=to_item(
                    {
                        ":now": int(claim.claimed_at.timestamp()),
                        ":hash": claim.request.request_hash,
                        ":dead": time_text(claim.claimed_at - LEASE),
                        ":stale": claim.instead_of,
                    }
                ),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if not is_refused(error):
                raise
            item: Any = error.response.get("Item")
            return _read(from_item(item), claim)
        return None

    def answer(self, claim: Claim, answer: Answer) -> Write:
        """The record's answer, as part of the transaction that has the effect. Refused when the claim was lost."""
        values = _claim_values(claim) | {
            "answer": {"status": answer.status, "body": json.dumps(answer.body), "location": answer.location}
        }
        put = {
            "TableName": self._table,
            "Item": to_item(values),
            "ConditionExpression": "claim_token = :token AND attribute_not_exists(answer)",
            "ExpressionAttributeValues": to_item({":token": claim.token}),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        return Write(name=REQUEST_WRITE, item={"Put": put})

    def settle(self, claim: Claim, answer: Answer) -> None:
        """Write the record's answer alone, after an effect that is no write of DynamoDB's. Raises Refused."""
        transact(self._client, [self.answer(claim, answer)])

    def find(self, request: Request, now: datetime) -> dict[str, Any]:
        """The request's record as it stands; {} without one."""
        found = self._client.get_item(
            TableName=self._table, Key=to_item({"record_id": request.record_id}), ConsistentRead=True
        )
        values = from_item(found.get("Item") or {})
        return values if values and int(values["expires_at"]) > int(now.timestamp()) else {}

    def abandon(self, claim: Claim) -> None:
        """Give the claim up because nothing was created; a transaction of ours still under way is refused then."""
        try:
            self._client.delete_item(
                TableName=self._table,
                Key=to_item({"record_id": claim.request.record_id}),
                ConditionExpression="claim_token = :token AND attribute_not_exists(answer)",
                ExpressionAttributeValues=to_item({":token": claim.token}),
            )
        except ClientError as error:
            if not is_refused(error):
                raise

    def result_write(self, job: Job, content_sha256: str) -> Write:
        """Remember that this job answers this recording with these options; the newest one wins."""
        values = {
            "record_id": reuse_id(job.account_id, content_sha256, job.options),
            "job_id": job.job_id,
            "expires_at": int(job.expires_at.timestamp()),
        }
        return Write(name=RESULT_WRITE, item={"Put": {"TableName": self._table, "Item": to_item(values)}})

    def find_result(
        self, account_id: AccountId, content_sha256: str, options: TranscriptionOptions, now: datetime
    ) -> JobId | None:
        """The job that answered this recording with these options before, if any (one read)."""
        key = to_item({"record_id": reuse_id(account_id, content_sha256, options)})
        answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        values = from_item(answer.get("Item") or {})
        if not values or int(values["expires_at"]) <= int(now.timestamp()):
            return None
        return JobId(values["job_id"])


def _claim_values(claim: Claim) -> dict[str, Any]:
    return {
        "record_id": claim.request.record_id,
        "request_hash": claim.request.request_hash,
        "claim_token": claim.token,
        "claimed_at": time_text(claim.claimed_at),
        "recall": claim.recall,
        "expires_at": int(claim.expires_at.timestamp()),  # DynamoDB's TTL wants epoch seconds
    }


def _read(values: dict[str, Any], claim: Claim) -> Replay | None:
    if values.get("claim_token") == claim.token and "answer" not in values:
        return None  # our own claim: its answer was lost and botocore sent it again
    return judge(values, claim.request)


def judge(values: dict[str, Any], request: Request) -> Replay:
    """What a record that is not ours means. Raises RequestInProgress or IdempotencyKeyReused."""
    if not values:
        raise RequestInProgress
    if values["request_hash"] != request.request_hash:
        raise IdempotencyKeyReused
    if "answer" not in values:
        raise RequestInProgress
    answer = values["answer"]
    return Replay(
        answer=Answer(status=int(answer["status"]), body=json.loads(answer["body"]), location=answer.get("location")),
        token=values["claim_token"],
        recall=values.get("recall", ""),
    )
