"""Requests: what is asked for under an Idempotency-Key is carried out once, however often it is sent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shared.adapters.dynamodb.requests import REQUEST_WRITE, RequestStore, judge
from shared.adapters.dynamodb.transactions import Refused, Write
from shared.adapters.failures import AWS_FAILURES
from shared.domain.errors import IdempotencyKeyReused, RequestInProgress
from shared.domain.idempotency import Answer, Claim, key_of, request_of
from shared.domain.ids import AccountId


class ClaimLost(Exception):
    """The request's idempotency claim is no longer ours; ``record`` is what stands there now."""

    def __init__(self, record: dict[str, Any]) -> None:
        super().__init__("the idempotency claim was lost")
        self.record = record


def check_claim(error: Refused) -> None:
    """Raise ClaimLost when it was the claim that a transaction was refused for."""
    if REQUEST_WRITE in error.refused:
        raise ClaimLost(error.refused[REQUEST_WRITE]) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Once:
    """Something asked for. ``idempotency_key`` is None where the caller sent none: then it is simply done.

    ``content`` is everything the answer depends on, as JSON values.
    """

    account_id: AccountId
    idempotency_key: str | None
    operation: str
    content: Mapping[str, Any]

    def keyed(self) -> Once:
        """The same under a key: the caller's or, where none was sent, one that every request like it has."""
        if self.idempotency_key is not None:
            return self
        return replace(self, idempotency_key=key_of(self.operation, self.content))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The answer; with ``replayed`` it is the one that was given before."""

    answer: Answer
    recall: str = ""
    replayed: bool = False


class Turn:
    """The right to carry a request out, while the claim holds."""

    def __init__(self, store: RequestStore, claim: Claim | None) -> None:
        self._store = store
        self._claim = claim

    @property
    def recall(self) -> str:
        """What the claimer chose; "" without a key."""
        return self._claim.recall if self._claim else ""

    def writes(self, answer: Answer) -> tuple[Write, ...]:
        """What the effect's own transaction must also write: the answer, refused when the claim was lost."""
        return () if self._claim is None else (self._store.answer(self._claim, answer),)

    def settle(self, answer: Answer) -> None:
        """Note the answer of an effect that could not be written in one transaction with it. Raises ClaimLost."""
        if self._claim is not None:
            try:
                self._store.settle(self._claim, answer)
            except Refused as error:
                check_claim(error)


class Requests:
    """Carries requests out."""

    def __init__(self, store: RequestStore, now: Callable[[], datetime], new_id: Callable[[], str]) -> None:
        self._store = store
        self._now = now
        self._new_id = new_id

    def carry_out(
        self,
        once: Once,
        effect: Callable[[Turn], Answer],
        *,
        recall: str = "",
        stands: Callable[[Answer], bool] | None = None,
    ) -> Answered:
        """The answer of ``effect``, or the one that the same request was given before if it ``stands`` (None: it does).

        Raises what ``effect`` raises (its claim is given up then), RequestInProgress while another sending is being
        carried out, IdempotencyKeyReused for another request under the key, InvalidRequest for a key of wrong form.
        """
        if once.idempotency_key is None:
            return Answered(answer=effect(Turn(self._store, None)))
        request = request_of(once.account_id, once.idempotency_key, operation=once.operation, content=once.content)
        claim = Claim(request=request, token=self._new_id(), claimed_at=self._now(), recall=recall)
        replay = self._store.claim(claim)
        if replay is not None and stands is not None and not stands(replay.answer):
            claim = replace(claim, instead_of=replay.token)
            replay = self._store.claim(claim)
        if replay is not None:
            return Answered(answer=replay.answer, recall=replay.recall, replayed=True)
        try:
            return Answered(answer=effect(Turn(self._store, claim)), recall=recall)
        except ClaimLost as lost:
            # We were so slow that our claim ran out, and another sending of the request was carried out.
            replay = judge(lost.record, request)
            return Answered(answer=replay.answer, recall=replay.recall, replayed=True)
        except Exception:
            # Nothing was created, or the transaction that creates it is refused once the claim is gone.
            with contextlib.suppress(*AWS_FAILURES):
                self._store.abandon(claim)
            raise

    def answered_before(self, once: Once) -> Answered | None:
        """The answer that the same request was given before, if it was: one read, nothing is claimed.

        For a request that can no longer be looked at as it was then. Raises InvalidRequest for a key of wrong form.
        """
        if once.idempotency_key is None:
            return None
        request = request_of(once.account_id, once.idempotency_key, operation=once.operation, content=once.content)
        record = self._store.find(request, self._now())
        try:
            replay = judge(record, request)
        except (RequestInProgress, IdempotencyKeyReused):
            return None
        return Answered(answer=replay.answer, recall=replay.recall, replayed=True)
