"""The steps a job may take."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.domain import job_keys
from shared.domain import job_rules as rules
from shared.domain.errors import Stale
from shared.domain.ids import AccountId, AttemptId, EntryId, JobId, KeyId
from shared.domain.job_rules import Beat
from shared.domain.jobs import Hold, Job, JobState, Outcome, Progress, Recording, Run, Stage
from shared.domain.options import TranscriptionOptions
from shared.domain.pricing import Price
from shared.domain.webhooks import webhook_id

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LEASE = timedelta(seconds=60)
BEAT = Beat(now=NOW, lease=LEASE)
LATER = Beat(now=NOW + timedelta(seconds=61), lease=LEASE)
ATTEMPT = AttemptId("try")
RUN = Run(job_id=JobId("j"), attempt_id=ATTEMPT, run_token="message-1")


def a_job() -> Job:
    return Job(
        job_id=JobId("j"),
        account_id=AccountId("a"),
        key_id=KeyId("k"),
        state=JobState.QUEUED,
        stage=Stage.QUEUED,
        progress_percent=0,
        options=TranscriptionOptions(),
        recording=Recording(key="audio/a/j", filename="a.mp3", content_type="audio/mpeg", size_bytes=3),
        price=Price(per_minute_millicredits=1_000, minimum_millicredits=100, step_millicredits=100, version="t"),
        hold=Hold(amount_millicredits=1_000, entry_ids=(EntryId("j#hold#1"),)),
        created_at=NOW,
        expires_at=NOW + timedelta(days=1),
        estimated_seconds=60.0,
    )


def a_running_job() -> Job:
    return rules.start(rules.dispatch(a_job(), ATTEMPT, BEAT), ATTEMPT, RUN.run_token, BEAT)


def test_a_job_is_dispatched_once() -> None:
    dispatched = rules.dispatch(a_job(), ATTEMPT, BEAT)
    assert dispatched.state is JobState.DISPATCHED
    with pytest.raises(Stale):
        rules.dispatch(dispatched, AttemptId("another"), BEAT)


def test_only_the_attempt_that_was_dispatched_may_start() -> None:
    dispatched = rules.dispatch(a_job(), ATTEMPT, BEAT)
    with pytest.raises(Stale):
        rules.start(dispatched, AttemptId("another"), "m", BEAT)


def test_a_second_message_for_a_running_attempt_does_not_start_it_again() -> None:
    with pytest.raises(Stale):
        rules.start(a_running_job(), ATTEMPT, "message-2", BEAT)


def test_a_run_that_asks_again_because_it_heard_no_answer_has_begun_once() -> None:
    assert rules.start(a_running_job(), ATTEMPT, RUN.run_token, BEAT) == a_running_job()


def test_another_run_may_begin_at_once_after_an_excused_one() -> None:
    excused = rules.excuse(a_running_job(), RUN, NOW)
    with pytest.raises(Stale):
        rules.check_run(excused, RUN)
    again = rules.start(excused, ATTEMPT, "message-2", BEAT)
    assert again.attempt is not None
    assert again.attempt.runs == 1


def test_no_run_is_taken_over_when_there_were_enough() -> None:
    job = a_running_job()
    assert job.attempt is not None
    last = replace(job, attempt=replace(job.attempt, runs=rules.MAX_RUNS))
    with pytest.raises(Stale):
        rules.start(last, ATTEMPT, "message-2", LATER)


def test_another_run_may_take_over_when_the_lease_is_over() -> None:
    taken = rules.start(a_running_job(), ATTEMPT, "message-2", LATER)
    with pytest.raises(Stale):
        rules.report(taken, RUN, Progress(stage=Stage.TRANSCRIBING, percent=5), LATER)


def test_progress_never_walks_backwards_and_extends_the_lease() -> None:
    job = rules.report(a_running_job(), RUN, Progress(stage=Stage.TRANSCRIBING, percent=50), BEAT)
    job = rules.report(job, RUN, Progress(stage=Stage.DIARIZING, percent=20), LATER)
    assert (job.progress_percent, job.stage) == (50, Stage.DIARIZING)
    assert job.sweep_at == LATER.lease_expires_at


def test_a_job_ends_once_and_then_owes_nothing_but_its_event() -> None:
    ended = rules.finish(a_running_job(), JobState.COMPLETED, Outcome(finished_at=NOW), BEAT)
    assert (ended.status, ended.progress_percent, ended.hold, ended.owes_event) == ("completed", 100, Hold(), True)
    with pytest.raises(Stale):
        rules.finish(ended, JobState.FAILED, Outcome(finished_at=NOW), BEAT)
    published = rules.published(ended)
    assert (published.owes_event, published.sweep_at) == (False, ended.expires_at)


def test_a_job_that_waited_longer_than_it_was_to_be_kept_is_there_for_a_day() -> None:
    late = replace(a_running_job(), expires_at=NOW - timedelta(days=3))
    ended = rules.finish(late, JobState.COMPLETED, Outcome(finished_at=NOW), BEAT)
    assert ended.expires_at == NOW + timedelta(days=1)
    kept = rules.finish(a_running_job(), JobState.COMPLETED, Outcome(finished_at=NOW), BEAT)
    assert kept.expires_at == max(a_running_job().expires_at, NOW + timedelta(days=1))


def test_a_cancelled_job_pays_for_the_part_of_the_work_that_was_done() -> None:
    running = replace(a_running_job(), estimated_seconds=600.0, hold=Hold(amount_millicredits=10_000))
    assert rules.cancellation_charge(replace(running, progress_percent=0)) == 0
    assert rules.cancellation_charge(replace(running, progress_percent=50)) == running.price.charge(300)
    assert rules.cancellation_charge(replace(running, progress_percent=50, hold=Hold(amount_millicredits=7))) == 7
    assert rules.cancellation_charge(replace(running, state=JobState.QUEUED, progress_percent=50)) == 0


def test_what_a_cancelled_job_pays_for_is_measured_as_soon_as_it_can_be() -> None:
    running = replace(a_running_job(), estimated_seconds=None, hold=Hold(amount_millicredits=100_000))
    half = Progress(stage=Stage.TRANSCRIBING, percent=50, length_seconds=3600.0)
    assert rules.cancellation_charge(rules.report(running, RUN, half, BEAT)) == running.price.charge(1800)
    promised_less = replace(running, estimated_seconds=10.0)
    assert rules.cancellation_charge(rules.report(promised_less, RUN, half, BEAT)) == running.price.charge(1800)


def test_a_job_given_back_keeps_its_credits_held_and_counts_its_attempts() -> None:
    back = rules.give_back(a_running_job(), BEAT)
    assert (back.state, back.hold) == (JobState.QUEUED, a_job().hold)
    second = rules.dispatch(back, AttemptId("second"), BEAT)
    assert second.attempt is not None
    assert (second.attempt.number, second.attempt.runs) == (2, 1)


def test_the_number_of_runs_is_limited() -> None:
    job = a_running_job()
    assert job.attempt is not None
    assert rules.attempts_left(job)
    assert not rules.attempts_left(replace(job, attempt=replace(job.attempt, runs=rules.MAX_RUNS)))


def test_a_job_that_waits_for_a_runner_keeps_its_attempt_and_uses_up_no_run() -> None:
    dispatched = rules.dispatch(a_job(), ATTEMPT, BEAT)
    waiting = rules.wait(dispatched, LATER)
    assert waiting.attempt == dispatched.attempt
    assert rules.attempts_left(waiting)
    with pytest.raises(Stale):
        rules.give_back(waiting, LATER)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.DISPATCHED, JobState.RUNNING])
def test_a_live_job_is_processing_on_the_wire(state: JobState) -> None:
    assert replace(a_job(), state=state).status == "processing"


def test_the_customer_s_file_name_is_no_part_of_a_key() -> None:
    assert job_keys.recording_key(AccountId("a"), JobId("j")) == "audio/a/j"
    assert job_keys.result_key(AccountId("a"), JobId("j"), "try") == "results/a/j/try.json.gz"


def test_the_webhook_s_id_is_that_of_the_event_however_often_it_is_published() -> None:
    completed, failed = (replace(a_job(), state=state) for state in (JobState.COMPLETED, JobState.FAILED))
    made_again = replace(completed, created_at=completed.created_at + timedelta(hours=1))
    assert webhook_id(completed) == f"msg_j_{int(a_job().created_at.timestamp())}_completed"
    assert len({webhook_id(completed), webhook_id(failed), webhook_id(made_again)}) == 3
