"""The drop folder: every announcement twice, out of order, beside its options; one job, one result set, one charge."""

from __future__ import annotations

import json
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from fastapi.testclient import TestClient

from functions import ingest
from gpu_jobs.run import RunEnd
from infra.local import template
from shared.adapters.dynamodb.jobs import JobMoved
from shared.bootstrap import Services
from shared.domain.accounts import Principal
from shared.domain.drops import DropKind, drop_job_id, read_key
from shared.domain.errors import JobFailure
from shared.domain.ids import JobId, KeyId
from shared.domain.job_rules import LAST_LOOK
from shared.domain.jobs import Job
from shared.domain.transcripts import Engines, Segment, Transcript
from shared.services.drops import DropEnd, Drops
from shared.services.submissions import submitted_answer
from tests.finished_jobs import store
from tests.integration.conftest import TEMPLATE, Cloud, Customer
from tests.media import wav
from tests.pipelines import Asked, StandIn, work_on

OBJECTS = int(os.environ.get("DROP_OBJECTS", "20"))  # 200 is what is promised; `make bench-intake` asks for it
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


class Pipeline(StandIn):
    """Hears the same in everything."""

    def hear(self, asked: Asked) -> Transcript:
        """One minute of talk."""
        assert asked.path.stat().st_size > 0
        asked.on_measured(60.0)
        segment = Segment(start_seconds=0.0, end_seconds=60.0, text="Talk.")
        return Transcript(duration_seconds=60.0, language="en", engines=Engines(transcriber="t"), segments=(segment,))


@pytest.fixture
def drops(cloud: Cloud) -> Drops:
    """The drop folder, with the environment of its function."""
    return ingest.make_drops(cloud.services("IngestFunction"))


@pytest.fixture
def ingest_services(cloud: Cloud) -> Services:
    """The ingest function's services."""
    return cloud.services("IngestFunction")


def _put(services: Services, key: str, body: bytes) -> str:
    services.bucket.put(key, body, "audio/wav")
    return key


def _take(drops: Drops, key: str, at: datetime = LONG_AGO) -> DropEnd:
    return drops.take(read_key(key), at)


def _finish(services: Services, job_id: str) -> RunEnd:
    return work_on(services, job_id, Pipeline())


def _job_of(services: Services, customer: Customer, key: str) -> Job:
    stored = services.upload_bucket.find(key)
    assert stored is not None
    return services.jobs.get(drop_job_id(key, stored.etag), customer.account_id)


def _keys(services: Services, prefix: str) -> set[str]:
    client: Any = boto3.client("s3")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=services.bucket.name, Prefix=prefix)
    return {each["Key"] for page in pages for each in page.get("Contents", [])}


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("drop/acc/a.mp3", DropKind.RECORDING),
        ("drop/acc/deep/er/a b.MP3", DropKind.RECORDING),
        ("drop/acc/a.mp3.options.json", DropKind.SIDECAR),
        ("drop/acc/options.json", DropKind.DEFAULTS),
        ("drop/acc/a.mp3.json", DropKind.OURS),
        ("drop/acc/a.mp3.error.json", DropKind.OURS),
        ("drop/acc/a.mp3.srt", DropKind.OURS),
        ("drop/acc/folder/", DropKind.OURS),
        ("drop/a.mp3", DropKind.STRAY),
        ("drop//a.mp3", DropKind.STRAY),
        ("drop/acc/" + "é" * 500 + ".mp3", DropKind.RECORDING),
        ("drop/acc/" + "é" * 501 + ".mp3", DropKind.TOO_LONG),
        ("drop/acc/" + "x" * 1000 + ".mp3", DropKind.RECORDING),
        ("drop/acc/" + "x" * 1001 + ".mp3", DropKind.TOO_LONG),
    ],
)
def test_a_key_says_what_its_object_is(key: str, kind: DropKind) -> None:
    assert read_key(key).kind is kind


def test_many_at_once_twice_each_in_any_order_make_one_of_everything_each(
    drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    services, folder = ingest_services, f"drop/{funded.account_id}/night"
    keys = [f"{folder}/{number:03}.wav" for number in range(OBJECTS)]
    events = []
    for number, key in enumerate(keys):
        _put(services, key, wav(0.1 + number / 1_000))
        events.append(key)
        if number % 2:
            _put(services, f"{key}.options.json", b'{"diarization": true}')
            events.append(f"{key}.options.json")
    events *= 2
    random.Random(4).shuffle(events)

    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(lambda key: _settled(drops, key), events))
    jobs = [_job_of(services, funded, key) for key in keys]
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda job: _finish(services, job.job_id), jobs)) == {RunEnd.COMPLETED}
        for _ in range(2):
            assert all(pool.map(lambda job: drops.deliver(funded.account_id, job.job_id), jobs))

    # Two announcements at the same moment may both submit; what follows shows that they made one job.
    assert ends.count(DropEnd.SUBMITTED) >= OBJECTS
    assert set(ends) <= {DropEnd.SUBMITTED, DropEnd.ALREADY_KNOWN, DropEnd.IGNORED}
    assert {job.options.diarization for job in jobs[::2]} == {False}
    assert {job.options.diarization for job in jobs[1::2]} == {True}
    results = _keys(services, folder)
    assert {key + ending for key in keys for ending in (".json", ".srt", ".vtt", ".txt")} <= results
    assert not any(key.endswith(".error.json") for key in results)
    balance = services.credits.balance(funded.account_id)
    ended = [services.jobs.get(job.job_id, funded.account_id).outcome for job in jobs]
    charged = sum(outcome.used_millicredits for outcome in ended if outcome)
    assert balance.held_millicredits == 0
    assert balance.available_millicredits == 1_000_000 - charged
    verified = services.credits.verify(funded.account_id)
    assert verified.entries == 1 + 3 * OBJECTS  # the grant, then a hold, its extension and a settlement each
    assert services.upload_bucket.tags(keys[0])["audiototext-state"] == "completed"


def _settled(drops: Drops, key: str) -> DropEnd:
    """What the queue does: announce again what wants to be."""
    for _ in range(100):
        if (end := _take(drops, key)) not in {DropEnd.WAITING, DropEnd.LATER}:
            return end
    raise AssertionError(f"{key} is never settled")


def test_a_recording_waits_for_its_options_and_then_goes_without(
    drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))
    now = datetime.now(UTC)

    assert _take(drops, key, now) is DropEnd.WAITING
    assert _take(drops, key, now - timedelta(minutes=1)) is DropEnd.SUBMITTED
    assert _take(drops, key, now) is DropEnd.ALREADY_KNOWN


@pytest.mark.parametrize("sidecar_first", [True, False])
def test_options_may_come_before_or_after(
    sidecar_first: bool, drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key = f"drop/{funded.account_id}/{sidecar_first}.wav"
    now = datetime.now(UTC)
    if sidecar_first:
        _put(ingest_services, f"{key}.options.json", b'{"language": "de", "vocabulary": ["Ada"]}')
        assert _take(drops, f"{key}.options.json", now) is DropEnd.IGNORED
        _put(ingest_services, key, wav(1))
        assert _take(drops, key, now) is DropEnd.SUBMITTED
    else:
        _put(ingest_services, key, wav(1))
        assert _take(drops, key, now) is DropEnd.WAITING
        _put(ingest_services, f"{key}.options.json", b'{"language": "de", "vocabulary": ["Ada"]}')
        assert _take(drops, f"{key}.options.json", now) is DropEnd.SUBMITTED

    options = _job_of(ingest_services, funded, key).options
    assert (options.language, options.vocabulary) == ("de", ("Ada",))


def test_the_accounts_defaults_hold_unless_the_sidecar_says_otherwise(
    drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    _put(ingest_services, f"drop/{funded.account_id}/options.json", b'{"language": "de", "summary": true}')
    plain = _put(ingest_services, f"drop/{funded.account_id}/plain.wav", wav(1))
    own = _put(ingest_services, f"drop/{funded.account_id}/own.wav", wav(2))
    _put(ingest_services, f"{own}.options.json", b'{"language": "fr"}')

    assert {_take(drops, plain), _take(drops, own)} == {DropEnd.SUBMITTED}
    first, second = (_job_of(ingest_services, funded, key).options for key in (plain, own))
    assert (first.language, first.summary) == ("de", True)
    assert (second.language, second.summary) == ("fr", True)


def test_the_same_bytes_again_are_no_new_job_and_other_bytes_are(
    drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))
    assert _take(drops, key) is DropEnd.SUBMITTED
    held = funded.balance().held_millicredits
    _put(ingest_services, key, wav(1))
    assert _take(drops, key) is DropEnd.ALREADY_KNOWN
    assert ingest_services.upload_bucket.tags(key)["audiototext-state"] == "processing"  # the new object is tagged too

    _put(ingest_services, key, wav(2))
    assert _take(drops, key) is DropEnd.SUBMITTED
    assert funded.balance().held_millicredits == 2 * held


def test_results_of_a_recording_that_was_replaced_do_not_land(
    drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))
    _take(drops, key)
    job = _job_of(ingest_services, funded, key)
    _put(ingest_services, key, wav(2))
    assert _finish(ingest_services, job.job_id) is RunEnd.COMPLETED  # from the job's own copy

    assert drops.deliver(funded.account_id, job.job_id) is False
    assert f"{key}.json" not in _keys(ingest_services, key)


def test_a_stray_object_goes_to_quarantine(
    drops: Drops, ingest_services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    for key in ("drop/nobody/a.wav", "drop/a.wav"):
        _put(ingest_services, key, wav(1))
        assert _take(drops, key) is DropEnd.QUARANTINED
        assert _take(drops, key) is DropEnd.IGNORED

    assert {"quarantine/nobody/a.wav", "quarantine/a.wav"} <= _keys(ingest_services, "quarantine/")
    assert _keys(ingest_services, "drop/nobody") == set()
    assert "drop_quarantined" in caplog.messages


@pytest.mark.parametrize(
    ("sidecar", "word"),
    [
        (b'{"language": "klingon"}', "language"),
        (b"not json", "options"),
        (b"[]", "options"),
        (b'{"diarisation": true}', "diarization"),
        (b'{"max_credits": 0.001}', "max_credits"),
        (b'{"dry_run": true}', "dry_run"),
        (b'{"retention_days": 100000}', "retention_days"),
        (b'{"language": "\\ud800"}', "language"),
        (b'{"foo\\ud800": "x"}', "options"),
        (b'{"vocabulary": ["\xed\xa0\x80"]}', "vocabulary"),
        (b'{"max_credits": 1e999999999999999}', "max_credits"),
        (b'{"max_credits": 1e-999999999999999}', "max_credits"),
        (b'{"max_credits": NaN}', "options"),
        (b'{"num_speakers": ' + b"9" * 5_000 + b"}", "num_speakers"),
        (b"{" + b" " * 70_000 + b"}", "options"),
    ],
)
def test_options_that_are_wrong_are_answered_with_an_error_file(
    sidecar: bytes, word: str, drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))
    _put(ingest_services, f"{key}.options.json", sidecar)

    assert _take(drops, key) is DropEnd.REFUSED
    error = json.loads(ingest_services.bucket.get(f"{key}.error.json"))
    assert word in error["message"]
    assert ingest_services.upload_bucket.tags(key)["audiototext-state"] == "refused"
    assert funded.balance().available_millicredits == 1_000_000

    _put(ingest_services, f"{key}.options.json", b"{}")
    assert _take(drops, f"{key}.options.json") is DropEnd.SUBMITTED
    assert f"{key}.error.json" not in _keys(ingest_services, key)


@pytest.mark.parametrize("body", [b"", b"just words", b"PK\x03\x04" + bytes(300)])
def test_what_is_no_recording_is_answered_with_an_error_file(
    body: bytes, drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key = _put(ingest_services, f"drop/{funded.account_id}/a.mp3", body)

    assert _take(drops, key) is DropEnd.REFUSED


def test_an_account_without_credits_is_told_so(drops: Drops, ingest_services: Services, customer: Customer) -> None:
    key = _put(ingest_services, f"drop/{customer.account_id}/a.wav", wav(1))

    assert _take(drops, key) is DropEnd.REFUSED
    assert json.loads(ingest_services.bucket.get(f"{key}.error.json"))["error"] == "insufficient_credits"


def test_the_options_decide_how_long_a_drop_is_kept(drops: Drops, ingest_services: Services, funded: Customer) -> None:
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))
    _put(ingest_services, f"{key}.options.json", b'{"retention_days": 2}')

    assert _take(drops, key) is DropEnd.SUBMITTED
    job = _job_of(ingest_services, funded, key)
    assert timedelta(days=1) < job.expires_at - job.created_at <= timedelta(days=2)


def test_a_deleted_transcription_stays_deleted_and_is_made_anew_when_its_recording_is_dropped_again(
    drops: Drops, ingest_services: Services, services: Services, funded: Customer
) -> None:
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))
    _take(drops, key)
    job = _job_of(ingest_services, funded, key)
    assert _finish(ingest_services, job.job_id) is RunEnd.COMPLETED
    charged = funded.balance()
    services.transcriptions.delete(services.jobs.get(job.job_id, funded.account_id))

    assert drops.deliver(funded.account_id, job.job_id) is False
    assert _take(drops, key) is DropEnd.IGNORED  # the recording in the folder went too
    _put(ingest_services, key, wav(1))
    assert _take(drops, key) is DropEnd.LATER
    stored = services.bucket.find_one(key)
    assert stored is not None
    deleted = _deleted_at(ingest_services, job.job_id, stored.modified_at + timedelta(milliseconds=900))
    assert services.bucket.find(f"audio/{funded.account_id}/") == []
    assert funded.balance() == charged

    assert ingest_services.jobs.expire(deleted) == "forgotten"
    assert _keys(ingest_services, key) == {key}
    assert _take(drops, key) is DropEnd.SUBMITTED
    assert _finish(ingest_services, job.job_id) is RunEnd.COMPLETED
    assert funded.balance().available_millicredits < charged.available_millicredits


def _deleted_at(services: Services, job_id: JobId, at: datetime) -> Job:
    """The deleted job, as if it had been deleted at this moment."""
    job = services.jobs.look_up(job_id)
    assert job is not None
    return store(services).replace(replace(job, sweep_at=at + LAST_LOOK))


def test_the_results_of_a_failed_drop_that_is_tried_again_land_like_those_of_the_first(
    drops: Drops, ingest_services: Services, services: Services, funded: Customer
) -> None:
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))
    _take(drops, key)
    failed = _job_of(ingest_services, funded, key)
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(Pipeline, "transcribe", _unreadable)
        assert _finish(ingest_services, failed.job_id) is RunEnd.FAILED
    assert drops.deliver(funded.account_id, failed.job_id)
    assert f"{key}.error.json" in _keys(ingest_services, key)

    principal = Principal(account_id=funded.account_id, key_id=KeyId("k"))
    failed = services.jobs.get(failed.job_id, funded.account_id)
    retried = services.repeats.retry(principal, failed, submitted_answer).job
    assert retried is not None
    assert _finish(ingest_services, retried.job_id) is RunEnd.COMPLETED
    assert drops.deliver(funded.account_id, retried.job_id)
    assert _take(drops, key) is DropEnd.ALREADY_KNOWN

    assert {f"{key}.json", f"{key}.srt"} <= _keys(ingest_services, key)
    assert f"{key}.error.json" not in _keys(ingest_services, key)
    tags = ingest_services.upload_bucket.tags(key)
    assert (tags["audiototext-state"], tags["audiototext-job"]) == ("completed", retried.job_id)

    assert not drops.deliver(funded.account_id, failed.job_id), "the first one's event, once more"
    assert f"{key}.error.json" not in _keys(ingest_services, key)
    assert ingest_services.upload_bucket.tags(key) == tags


def test_a_failure_told_twice_leaves_a_retry_s_results_alone_where_no_tag_of_ours_has_room(
    api: TestClient, drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))
    ingest_services.upload_bucket.tag(key, {f"own-{number}": "1" for number in range(10)})
    _take(drops, key)
    failed = _job_of(ingest_services, funded, key)
    ingest_services.jobs.fail(failed, JobFailure("engine_failed", "It broke."))
    assert drops.deliver(funded.account_id, failed.job_id)
    retried = api.post(f"/api/v1/transcribe/{failed.job_id}/retry/", headers=funded.headers).json()["id"]
    assert _finish(ingest_services, retried) is RunEnd.COMPLETED
    assert drops.deliver(funded.account_id, JobId(retried))

    assert not drops.deliver(funded.account_id, failed.job_id)

    assert f"{key}.error.json" not in _keys(ingest_services, key)


def _unreadable(*_arguments: Any, **_named: Any) -> Transcript:
    raise JobFailure("audio_unreadable", "The file could not be read.")


def test_a_name_without_room_for_its_answers_is_refused_once_and_for_all(
    drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    longest = f"drop/{funded.account_id}/".ljust(1020, "x") + ".wav"
    key = _put(ingest_services, longest, wav(1))
    stray = _put(ingest_services, "drop/nobody/".ljust(1020, "x") + ".wav", wav(1))

    assert _take(drops, key) is DropEnd.REFUSED
    assert _take(drops, stray) is DropEnd.QUARANTINED
    tags = ingest_services.upload_bucket.tags(key)
    assert tags == {"audiototext-state": "refused", "audiototext-reason": "name_too_long"}
    assert funded.balance().held_millicredits == 0


def test_a_finished_drop_is_not_tagged_as_running_again(
    drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    """The job may end before its announcement has been dealt with to the end."""
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))
    submit = ingest_services.submissions.submit

    def submit_and_finish(*arguments: Any) -> Any:
        submitted = submit(*arguments)
        job_id = str(submitted.answer.body["id"])
        assert _finish(ingest_services, job_id) is RunEnd.COMPLETED
        assert drops.deliver(funded.account_id, JobId(job_id))
        return submitted

    drops._ports = replace(drops._ports, submissions=SimpleNamespace(submit=submit_and_finish))  # type: ignore[arg-type]

    assert _take(drops, key) is DropEnd.SUBMITTED
    assert ingest_services.upload_bucket.tags(key)["audiototext-state"] == "completed"


@pytest.mark.parametrize("announced_twice", [False, True])
def test_the_error_file_of_a_job_that_fails_at_once_stays(
    announced_twice: bool, drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    """With ``announced_twice`` it fails before the same announcement, handled at the same moment, has submitted it."""
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))
    ports, submit = drops._ports, ingest_services.submissions.submit

    def submit_and_fail(*arguments: Any) -> Any:
        drops._ports = ports
        submitted = submit(*arguments)
        job = _job_of(ingest_services, funded, key)
        ingest_services.jobs.fail(job, JobFailure("engine_failed", "It broke."))
        assert drops.deliver(funded.account_id, job.job_id)
        if announced_twice:
            drops._tag(key, "processing", job.job_id)
            return submit(*arguments)
        return submitted

    drops._ports = replace(ports, submissions=SimpleNamespace(submit=submit_and_fail))  # type: ignore[arg-type]
    _take(drops, key)

    assert json.loads(ingest_services.bucket.get(f"{key}.error.json"))["error"] == "engine_failed"
    assert ingest_services.upload_bucket.tags(key)["audiototext-state"] == "failed"


def test_a_job_that_is_forgotten_at_this_moment_is_asked_for_again(
    drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))

    def gone(*_: Any) -> Any:
        raise JobMoved(None)

    ports = drops._ports
    drops._ports = replace(ports, submissions=SimpleNamespace(submit=gone))  # type: ignore[arg-type]
    assert _take(drops, key) is DropEnd.LATER
    drops._ports = ports
    assert _take(drops, key) is DropEnd.SUBMITTED


@pytest.mark.parametrize("count", [1, 9, 10])
def test_the_customers_own_tags_stay(count: int, drops: Drops, ingest_services: Services, funded: Customer) -> None:
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))
    own = {f"own-{number}": "1" for number in range(count)}
    ingest_services.upload_bucket.tag(key, own)

    assert _take(drops, key) is DropEnd.SUBMITTED

    tags = ingest_services.upload_bucket.tags(key)
    assert own.items() <= tags.items()
    assert len(tags) == min(count + 2, 10)
    assert tags.get("audiototext-state") == ("processing" if count < 10 else None)


def test_a_flood_over_the_accounts_rate_waits_for_most_of_a_day_before_it_is_given_up_on() -> None:
    queue = template.read(TEMPLATE)["Resources"]["IngestQueue"]["Properties"]
    receives = queue["RedrivePolicy"]["maxReceiveCount"]

    waits = [ingest.busy_seconds({"attributes": {"ApproximateReceiveCount": str(n)}}) for n in range(1, receives + 1)]

    assert waits[0] == ingest.BUSY_SECONDS
    assert sum(waits) > 18 * 3600


def test_a_delivery_that_died_before_its_tag_is_completed_by_the_next_announcement(
    drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))
    _take(drops, key)
    assert _finish(ingest_services, _job_of(ingest_services, funded, key).job_id) is RunEnd.COMPLETED
    assert ingest_services.upload_bucket.tags(key)["audiototext-state"] == "processing"

    assert _take(drops, key) is DropEnd.ALREADY_KNOWN

    assert ingest_services.upload_bucket.tags(key)["audiototext-state"] == "completed"
    assert f"{key}.json" in _keys(ingest_services, key)


def test_names_come_as_s3_writes_them() -> None:
    event = {
        "Records": [{"eventTime": "2026-11-23T01:02:03.000Z", "s3": {"object": {"key": "drop%2Facc%2Fa+b%C3%A9.mp3"}}}]
    }

    ((key, at),) = ingest.announced(event)

    assert (key, at) == ("drop/acc/a bé.mp3", datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC))


# ---- what becomes of it later ----------------------------------------------------------------------------------------


def _delivered(services: Services, drops: Drops, customer: Customer, name: str, seconds: float = 1) -> tuple[str, Job]:
    """A dropped recording with its answers beside it."""
    key = _put(services, f"drop/{customer.account_id}/{name}", wav(seconds))
    _take(drops, key)
    job = _job_of(services, customer, key)
    _finish(services, job.job_id)
    assert drops.deliver(customer.account_id, job.job_id)
    return key, job


def _failed(services: Services, drops: Drops, customer: Customer) -> tuple[str, Job]:
    """A dropped recording's key and its job, which has failed."""
    key = _put(services, f"drop/{customer.account_id}/a.wav", wav(1))
    _take(drops, key)
    job = _job_of(services, customer, key)
    services.jobs.fail(job, JobFailure("engine_failed", "It broke."))
    assert drops.deliver(customer.account_id, job.job_id)
    return key, job


def test_a_deleted_transcription_leaves_nothing_in_the_folder_either(
    api: TestClient, drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key, job = _delivered(ingest_services, drops, funded, "talk.wav")
    other = _put(ingest_services, f"drop/{funded.account_id}/talk.wav.bak", wav(1))
    receipt = api.delete(f"/api/v1/transcribe/{job.job_id}/", headers=funded.headers).json()
    removed = {each["key"] for each in receipt["objects"]}
    assert {key, key + ".json", key + ".srt", key + ".vtt", key + ".txt"} <= removed
    assert _keys(ingest_services, f"drop/{funded.account_id}/") == {other}


def test_a_recording_may_be_dropped_again_once_its_transcription_is_forgotten(
    ingest_services: Services, drops: Drops, funded: Customer, api: TestClient
) -> None:
    key, job = _delivered(ingest_services, drops, funded, "a.wav")
    assert api.delete(f"/api/v1/transcribe/{job.job_id}/", headers=funded.headers).status_code == 200
    deleted = ingest_services.jobs.look_up(job.job_id)
    assert deleted is not None
    assert ingest_services.jobs.expire(deleted) == "forgotten"

    again_key, again = _delivered(ingest_services, drops, funded, "a.wav")

    assert (again_key, again.job_id) == (key, job.job_id)
    ended = ingest_services.jobs.look_up(job.job_id)
    assert ended is not None
    assert ended.outcome is not None
    assert ended.outcome.used_millicredits > 0


def test_a_recording_that_took_the_place_of_a_deleted_one_stays_without_the_answers_of_the_first(
    api: TestClient, drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key, job = _delivered(ingest_services, drops, funded, "talk.wav")
    _put(ingest_services, key, wav(2))
    api.delete(f"/api/v1/transcribe/{job.job_id}/", headers=funded.headers)
    assert _keys(ingest_services, f"drop/{funded.account_id}/") == {key}


@pytest.mark.parametrize("recording_stays", [True, False])
def test_deleting_a_transcription_leaves_the_answers_of_the_one_that_took_its_place(
    recording_stays: bool, api: TestClient, drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key, first = _delivered(ingest_services, drops, funded, "daily.wav")
    _, second = _delivered(ingest_services, drops, funded, "daily.wav", seconds=2)
    if not recording_stays:
        ingest_services.bucket.delete(key)  # its owner tidies up and keeps the subtitles
    there = _keys(ingest_services, key)

    api.delete(f"/api/v1/transcribe/{first.job_id}/", headers=funded.headers)
    assert _keys(ingest_services, key) == there

    api.delete(f"/api/v1/transcribe/{second.job_id}/", headers=funded.headers)
    assert _keys(ingest_services, key) == set()


def test_deleting_a_failed_transcription_leaves_the_recording_to_its_retry(
    api: TestClient, drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key, failed = _failed(ingest_services, drops, funded)
    retried = api.post(f"/api/v1/transcribe/{failed.job_id}/retry/", headers=funded.headers).json()["id"]

    api.delete(f"/api/v1/transcribe/{failed.job_id}/", headers=funded.headers)
    assert _keys(ingest_services, key) == {key}
    assert _finish(ingest_services, retried) is RunEnd.COMPLETED
    assert drops.deliver(funded.account_id, JobId(retried))

    api.delete(f"/api/v1/transcribe/{retried}/", headers=funded.headers)
    assert _keys(ingest_services, key) == set()


@pytest.mark.parametrize("first_is", ["there", "deleted", "forgotten"])
def test_a_recording_put_there_again_after_its_retry_succeeded_is_the_retry_s(
    first_is: str, api: TestClient, drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key, failed = _failed(ingest_services, drops, funded)
    retried = api.post(f"/api/v1/transcribe/{failed.job_id}/retry/", headers=funded.headers).json()["id"]
    assert _finish(ingest_services, retried) is RunEnd.COMPLETED
    assert drops.deliver(funded.account_id, JobId(retried))
    if first_is != "there":
        api.delete(f"/api/v1/transcribe/{failed.job_id}/", headers=funded.headers)
    if first_is == "forgotten":
        deleted = ingest_services.jobs.look_up(failed.job_id)
        assert deleted is not None
        assert ingest_services.jobs.expire(deleted) == "forgotten"
    paid = funded.balance()

    _put(ingest_services, key, wav(1))  # which takes the tags away
    assert _take(drops, key) is DropEnd.ALREADY_KNOWN

    tags = ingest_services.upload_bucket.tags(key)
    assert (tags["audiototext-state"], tags["audiototext-job"]) == ("completed", retried)
    assert f"{key}.error.json" not in _keys(ingest_services, key)
    assert funded.balance() == paid


@pytest.mark.parametrize("second_is", ["deleted", "forgotten"])
def test_deleting_what_failed_leaves_the_recording_to_the_retry_of_the_retry(
    second_is: str, api: TestClient, drops: Drops, ingest_services: Services, funded: Customer
) -> None:
    key = _put(ingest_services, f"drop/{funded.account_id}/a.wav", wav(1))
    _take(drops, key)
    job_ids: list[JobId] = [_job_of(ingest_services, funded, key).job_id]
    for _ in range(2):
        failed = ingest_services.jobs.get(job_ids[-1], funded.account_id)
        ingest_services.jobs.fail(failed, JobFailure("engine_failed", "It broke."))
        assert drops.deliver(funded.account_id, failed.job_id)
        job_ids.append(api.post(f"/api/v1/transcribe/{failed.job_id}/retry/", headers=funded.headers).json()["id"])
    first, second, third = job_ids

    api.delete(f"/api/v1/transcribe/{second}/", headers=funded.headers)
    if second_is == "forgotten":
        deleted = ingest_services.jobs.look_up(second)
        assert deleted is not None
        assert ingest_services.jobs.expire(deleted) == "forgotten"
    api.delete(f"/api/v1/transcribe/{first}/", headers=funded.headers)

    assert key in _keys(ingest_services, key)
    assert _finish(ingest_services, third) is RunEnd.COMPLETED
    assert drops.deliver(funded.account_id, third)
    api.delete(f"/api/v1/transcribe/{third}/", headers=funded.headers)
    assert _keys(ingest_services, key) == set()
