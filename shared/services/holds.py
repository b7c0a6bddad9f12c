"""Holds: a job and the credits set aside for it, always written in one transaction with balance, entry and usage."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from shared.adapters.dynamodb.credits import AlreadyPosted
from shared.adapters.dynamodb.jobs import WRITE_NAME as JOB_WRITE
from shared.adapters.dynamodb.jobs import JobMoved, JobStore
from shared.adapters.dynamodb.requests import RequestStore
from shared.adapters.dynamodb.transactions import Refused, TooMuchContention, Write
from shared.adapters.dynamodb.usage import WRITE_NAME as USAGE_WRITE
from shared.adapters.dynamodb.usage import UsageStore, committed
from shared.adapters.failures import AWS_FAILURES
from shared.domain import credits as ledger
from shared.domain import job_keys
from shared.domain import job_rules as rules
from shared.domain.credits import Balance, LedgerChange, Overdrawn, Posting
from shared.domain.errors import RateLimited, SpendLimitReached
from shared.domain.jobs import Job, JobState, Outcome
from shared.domain.limits import seconds_until_tomorrow
from shared.services.credits import Credits, Pacer
from shared.services.requests import check_claim

TOO_BUSY = "Too many requests of this account at once; nothing was stored. Try again in a second."


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """The credits side of a job's life."""

    credits: Credits
    store: JobStore
    usage: UsageStore
    requests: RequestStore
    now: Callable[[], datetime]

    def open(self, job: Job, amount_millicredits: int, *, pacer: Pacer, also: tuple[Write, ...] = ()) -> Job:
        """Create the job with its first hold; the job as stored.

        Raises InsufficientCredits, SpendLimitReached, RateLimited or ClaimLost with nothing written.
        """
        with _refused_when_busy():
            return self._hold(job, amount_millicredits, pacer=pacer, also=also)

    def extend(self, job: Job, amount_millicredits: int) -> Job:
        """Hold more for a job at work; the job as stored.

        Raises InsufficientCredits or SpendLimitReached with nothing written, JobMoved when the job was.
        """
        return self._hold(job, amount_millicredits)

    def resolve(self, job: Job, ended: Job, outcome: Outcome) -> Job:
        """Settle or release all of ``job``'s holds and write its end; the job as stored. Raises JobMoved."""
        also = [self.usage.resolve(job, outcome, ended=ended.state)]
        if ended.state is JobState.COMPLETED and job.recording.content_sha256 is not None:
            also.append(self.requests.result_write(ended, job.recording.content_sha256))
        self._post(ended, _resolution(job, outcome), tuple(also))
        return rules.stored(ended)

    def create_settled(self, job: Job, *, pacer: Pacer, also: tuple[Write, ...] = ()) -> Job:
        """Create a job that is completed from the start and costs nothing but its place in the submit rate.

        The job as stored. Raises RateLimited, ClaimLost or JobMoved with nothing written.
        """
        with _refused_when_busy():
            self._post(job, None, (*also, self.usage.reuse(job)), pacer)
        return rules.stored(job)

    def check_daily_limit(self, job: Job, amount_millicredits: int) -> None:
        """Raise SpendLimitReached for a hold that its key could not place on any day."""
        limit, required = job.caps.daily_limit_millicredits, job.hold.amount_millicredits + amount_millicredits
        if limit is not None and required > limit:
            raise SpendLimitReached(limit_millicredits=limit, required_millicredits=required)

    def _hold(
        self, job: Job, amount_millicredits: int, *, pacer: Pacer | None = None, also: tuple[Write, ...] = ()
    ) -> Job:
        first = not job.hold.entry_ids
        self.check_daily_limit(job, amount_millicredits)
        entry_id = job_keys.hold_entry_id(job, len(job.hold.entry_ids) + 1)
        posting = Posting(entry_id=entry_id, at=self.now(), job_id=job.job_id, key_id=job.key_id)
        held = rules.with_hold(job, amount_millicredits, entry_id)
        usage = self.usage.commit(job, amount_millicredits, submitted=1 if first else 0)
        self._post(held, lambda balance: ledger.hold(balance, amount_millicredits, posting), (*also, usage), pacer)
        return rules.stored(held)

    def _post(
        self,
        job: Job,
        plan: Callable[[Balance], LedgerChange] | None,
        also: tuple[Write, ...],
        pacer: Pacer | None = None,
    ) -> None:
        """Post a ledger change with the job. Raises JobMoved when the job was written by somebody else.

        A lost answer makes botocore send the same transaction again: it finds its own entry. When the job stands as
        we wrote it, that was us, and all is well; the same when every answer was lost.
        """
        try:
            self.credits.post(job.account_id, plan, (self.store.write(job), *also), pacer)
        except Refused as error:
            if JOB_WRITE in error.refused and self.store.get(job.job_id) == rules.stored(job):
                return  # first of all: what else was refused then was refused because it is done
            check_claim(error)
            limit = job.caps.daily_limit_millicredits
            if set(error.refused) <= {USAGE_WRITE, "balance"} and USAGE_WRITE in error.refused and limit is not None:
                raise SpendLimitReached(
                    limit_millicredits=limit,
                    required_millicredits=job.hold.amount_millicredits,
                    spent_millicredits=committed(error.refused[USAGE_WRITE]),
                    retry_after_seconds=seconds_until_tomorrow(self.now()),
                ) from error
            self._check_stored(job, error)
        except (AlreadyPosted, Overdrawn) as error:
            self._check_stored(job, error)
        except AWS_FAILURES:
            if self.store.get(job.job_id) != rules.stored(job):
                raise

    def _check_stored(self, job: Job, error: Exception) -> None:
        current = self.store.get(job.job_id)
        if current != rules.stored(job):
            raise JobMoved(current) from error


@contextlib.contextmanager
def _refused_when_busy() -> Iterator[None]:
    """A submission that others of the account were in the way of is refused like any other, and leaves nothing."""
    try:
        yield
    except TooMuchContention as error:
        raise RateLimited(TOO_BUSY, retry_after_seconds=1) from error


def _resolution(job: Job, outcome: Outcome) -> Callable[[Balance], LedgerChange]:
    posting = Posting(
        entry_id=job_keys.resolution_entry_id(job), at=outcome.finished_at, job_id=job.job_id, key_id=job.key_id
    )
    held, holds = job.hold.amount_millicredits, job.hold.entry_ids
    if outcome.used_millicredits == 0:
        return lambda balance: ledger.release(balance, held_millicredits=held, resolves=holds, posting=posting)
    return lambda balance: ledger.settle(
        balance, held_millicredits=held, used_millicredits=outcome.used_millicredits, resolves=holds, posting=posting
    )
