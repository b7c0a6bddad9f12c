"""Jobs in DynamoDB: read by id, replaced as a whole on condition that nobody else has written in between."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.adapters.dynamodb.items import from_item, time_text, to_item, to_time, to_time_or_none
from shared.adapters.dynamodb.transactions import PutRefused, Write, put_once
from shared.domain.errors import InvalidRequest
from shared.domain.ids import AccountId, AttemptId, EntryId, JobId, KeyId, retry_id
from shared.domain.jobs import Attempt, Caps, ComputeUse, Hold, Job, JobState, Outcome, Recording, Stage, sweep_shard
from shared.domain.options import Model, TranscriptionOptions
from shared.domain.plans import WorkPlan
from shared.domain.pricing import Price
from shared.domain.reruns import Rerun, RerunStage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WRITE_NAME = "job"
MAX_READS = 5  # of one page: a filter that matches nothing must not read a whole history in one request
TTL = "expires_at"
EXPIRY_OF_A_LIVE_JOB = "expires_once_ended_at"  # DynamoDB must not delete it: it holds credits, however old it is
TTL_GRACE = timedelta(days=7)  # the sweeper deletes a job and its objects; DynamoDB's own clock is the net below it


class JobMoved(Exception):
    """Somebody else wrote the job first; ``current`` is what stands there now (None: it is gone)."""

    def __init__(self, current: Job | None) -> None:
        super().__init__("the job was written by somebody else")
        self.current = current


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Jobs of an account, made in ``[since, until]``, in these states, from this source (None: any)."""

    account_id: AccountId
    states: frozenset[JobState] = frozenset(JobState) - {JobState.DELETED}
    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """Some jobs, newest first; ``position`` is where the next page begins, None at the end."""

    jobs: tuple[Job, ...]
    position: dict[str, str] | None


class JobStore:
    """The jobs table."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def get(self, job_id: JobId) -> Job | None:
        """The job, or None: one consistent read."""
        answer = self._client.get_item(TableName=self._table, Key=to_item({"job_id": job_id}), ConsistentRead=True)
        return to_job(answer["Item"]) if "Item" in answer else None

    def replace(self, job: Job) -> Job:
        """Write ``job`` over the revision it was made from; the job as stored. Raises JobMoved when that is gone."""
        after = replace(job, revision=job.revision + 1)
        try:
            put_once(self._client, self._put(job), after, to_job)
        except PutRefused as error:
            raise JobMoved(error.current) from error
        return after

    def retries(self, job_id: JobId) -> Iterator[Job]:
        """The job's retry, that one's retry, and so on, as far as they are there."""
        while (job := self.get(retry_id(job_id))) is not None:
            yield job
            job_id = job.job_id

    def recent(self, account_id: AccountId, limit: int) -> list[Job]:
        """The account's newest jobs, newest first."""
        answer = self._client.query(
            TableName=self._table,
            IndexName="by_account",
            KeyConditionExpression="account_id = :a",
            ExpressionAttributeValues=to_item({":a": account_id}),
            ScanIndexForward=False,
            Limit=limit,
        )
        return [to_job(item) for item in answer["Items"]]

    def page(self, query: JobQuery, limit: int, position: dict[str, str] | None = None) -> JobPage:
        """Up to ``limit`` of the account's jobs that match, newest first; a page may be short before the last."""
        conditions, values = _conditions(query)
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": "by_account",
            "KeyConditionExpression": "account_id = :account AND created_at BETWEEN :since AND :until",
            "FilterExpression": " AND ".join(conditions),
            "ExpressionAttributeNames": {"#state": "state"} | ({"#source": "source"} if query.source else {}),
            "ExpressionAttributeValues": to_item(values),
            "ScanIndexForward": False,
        }
        found: list[Job] = []
        for _ in range(MAX_READS):
            if position is not None:
                if not _is_between(position["created_at"], query):
                    raise InvalidRequest("The cursor belongs to another list.", field="cursor")
                # Only ever a place in one's own list, whatever the cursor says.
                arguments["ExclusiveStartKey"] = to_item(position | {"account_id": query.account_id})
            answer = self._client.query(**arguments, Limit=limit - len(found))
            found += [to_job(item) for item in answer["Items"]]
            last = answer.get("LastEvaluatedKey")
            position = None if last is None else from_item(last)
            if position is None or len(found) >= limit:
                break
        return JobPage(jobs=tuple(found), position=position)

    def delete(self, job: Job) -> None:
        """Forget the job, unless somebody wrote it meanwhile."""
        with contextlib.suppress(self._client.exceptions.ConditionalCheckFailedException):
            self._client.delete_item(
                TableName=self._table,
                Key=to_item({"job_id": job.job_id}),
                ConditionExpression="revision = :revision",
                ExpressionAttributeValues=to_item({":revision": job.revision}),
            )

    def write(self, job: Job) -> Write:
        """The same replacement (or, at revision 0, the creation) as part of a transaction."""
        return Write(name=WRITE_NAME, item={"Put": self._put(job)})

    def due(self, shard: str, now: datetime) -> Iterator[JobId]:
        """Ids of jobs of this shard whose time for the sweeper has come, longest waiting first."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName="by_sweep",
            KeyConditionExpression="sweep_shard = :shard AND sweep_at <= :now",
            ExpressionAttributeValues=to_item({":shard": shard, ":now": time_text(now)}),
        )
        for page in pages:
            yield from (JobId(from_item(item)["job_id"]) for item in page["Items"])

    def _put(self, job: Job) -> dict[str, Any]:
        put: dict[str, Any] = {
            "TableName": self._table,
            "Item": _to_item(replace(job, revision=job.revision + 1)),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if job.revision == 0:
            return put | {"ConditionExpression": "attribute_not_exists(job_id)"}
        return put | {
            "ConditionExpression": "revision = :revision",
            "ExpressionAttributeValues": to_item({":revision": job.revision}),
        }


def to_job(item: dict[str, Any]) -> Job:
    """The job of a DynamoDB item."""
    values = from_item(item)
    estimated = values.get("estimated_seconds")
    attempt, outcome = values.get("attempt"), values.get("outcome")
    return Job(
        job_id=JobId(values["job_id"]),
        account_id=AccountId(values["account_id"]),
        key_id=KeyId(values["key_id"]),
        state=JobState(values["state"]),
        stage=Stage(values["stage"]),
        progress_percent=int(values["progress_percent"]),
        options=_to_options(values["options"]),
        recording=Recording(**{**values["recording"], "size_bytes": int(values["recording"]["size_bytes"])}),
        price=Price(**{name: _int_or_text(value) for name, value in values["price"].items()}),
        hold=Hold(
            amount_millicredits=int(values["hold"]["amount_millicredits"]),
            entry_ids=tuple(EntryId(entry_id) for entry_id in values["hold"]["entry_ids"]),
        ),
        created_at=to_time(values["created_at"]),
        expires_at=datetime.fromtimestamp(int(values.get(TTL) or values[EXPIRY_OF_A_LIVE_JOB]), UTC) - TTL_GRACE,
        estimated_seconds=None if estimated is None else float(estimated),
        webhook_url=values.get("webhook_url"),
        request_id=values.get("request_id"),
        drop_key=values.get("drop_key"),
        caps=Caps(**{name: int(amount) for name, amount in values.get("caps", {}).items()}),
        delete_when_delivered=values.get("delete_when_delivered", False),
        reused_from=values.get("reused_from"),
        rerun=None if values.get("rerun") is None else _to_rerun(values["rerun"]),
        attempt=None if attempt is None else _to_attempt(attempt),
        plan=None if values.get("plan") is None else _to_plan(values["plan"]),
        outcome=None if outcome is None else _to_outcome(outcome),
        owes_event=values["owes_event"],
        sweep_at=to_time_or_none(values.get("sweep_at")),
        revision=int(values["revision"]),
    )


def _to_item(job: Job) -> dict[str, Any]:
    options, recording, price, attempt, outcome = job.options, job.recording, job.price, job.attempt, job.outcome
    values = {
        "job_id": job.job_id,
        "account_id": job.account_id,
        "key_id": job.key_id,
        "state": job.state,
        "stage": job.stage,
        "progress_percent": job.progress_percent,
        "options": _fields(options),
        "recording": _fields(recording),
        "price": _fields(price),
        "hold": _fields(job.hold),
        "created_at": job.created_at,
        # Epoch seconds, as DynamoDB's TTL wants them.
        TTL if job.state.is_final else EXPIRY_OF_A_LIVE_JOB: int((job.expires_at + TTL_GRACE).timestamp()),
        "estimated_seconds": job.estimated_seconds,
        "webhook_url": job.webhook_url,
        "request_id": job.request_id,
        "drop_key": job.drop_key,
        "caps": _fields(job.caps),
        "delete_when_delivered": job.delete_when_delivered,
        "reused_from": job.reused_from,
        "rerun": None if job.rerun is None else _fields(job.rerun),
        "attempt": None if attempt is None else _fields(attempt),
        "plan": None if job.plan is None else _fields(job.plan),
        "outcome": None if outcome is None else _outcome_fields(outcome),
        "owes_event": job.owes_event,
        "sweep_at": job.sweep_at,
        "sweep_shard": None if job.sweep_at is None else sweep_shard(job.job_id),
        "source": job.source,  # for filters: it follows from the recording
        "revision": job.revision,
    }
    return to_item(values)


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _outcome_fields(outcome: Outcome) -> dict[str, Any]:
    return _fields(outcome) | {"compute": [_fields(use) for use in outcome.compute]}


def _int_or_text(value: Any) -> Any:
    return value if isinstance(value, str) else int(value)


def _to_options(values: dict[str, Any]) -> TranscriptionOptions:
    counts = {name: int(value) for name, value in values.items() if name.endswith("_speakers") and value is not None}
    return TranscriptionOptions(
        **{**values, **counts, "model": Model(values["model"]), "vocabulary": tuple(values["vocabulary"])}
    )


def _to_rerun(values: dict[str, Any]) -> Rerun:
    return Rerun(stage=RerunStage(values["stage"]), of=JobId(values["of"]), base_key=values["base_key"])


def _to_attempt(values: dict[str, Any]) -> Attempt:
    return Attempt(
        attempt_id=AttemptId(values["attempt_id"]),
        number=int(values["number"]),
        run_token=values.get("run_token"),
        runs=int(values["runs"]),
        lease_expires_at=to_time_or_none(values.get("lease_expires_at")),
    )


def _to_plan(values: dict[str, Any]) -> WorkPlan:
    return WorkPlan(
        gpu=values["gpu"],
        gpus=int(values["gpus"]),
        chunk_seconds=float(values["chunk_seconds"]),
        expected_wall_seconds=float(values["expected_wall_seconds"]),
        expected_cost_usd=float(values["expected_cost_usd"]),
    )


def _to_outcome(values: dict[str, Any]) -> Outcome:
    duration = values.get("duration_seconds")
    return Outcome(
        finished_at=to_time(values["finished_at"]),
        used_millicredits=int(values["used_millicredits"]),
        duration_seconds=None if duration is None else float(duration),
        result_key=values.get("result_key"),
        error_code=values.get("error_code"),
        error_message=values.get("error_message"),
        compute=tuple(
            ComputeUse(
                part=use["part"],
                device=use["device"],
                seconds=float(use["seconds"]),
                nanodollars_per_second=int(use["nanodollars_per_second"]),
            )
            for use in values.get("compute", [])
        ),
    )


def _is_between(created_at: str, query: JobQuery) -> bool:
    since, until = _bounds(query)
    return since <= created_at <= until


def _bounds(query: JobQuery) -> tuple[str, str]:
    return (
        "0" if query.since is None else time_text(query.since),
        "9" if query.until is None else time_text(query.until),
    )


def _conditions(query: JobQuery) -> tuple[list[str], dict[str, Any]]:
    since, until = _bounds(query)
    names = [f":state{index}" for index in range(len(query.states))]
    values: dict[str, Any] = dict(zip(names, sorted(query.states), strict=True))
    values |= {
        ":account": query.account_id,
        ":since": since,
        ":until": until,
    }
    conditions = [f"#state IN ({', '.join(names)})"]
    if query.source is not None:
        conditions.append("#source = :source")
        values[":source"] = query.source
    return conditions, values
