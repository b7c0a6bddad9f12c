"""Webhook endpoints: what an account's owner does with them, and with the log of what was sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from shared.adapters.dynamodb.deliveries import DeliveryPage, DeliveryQuery
from shared.adapters.dynamodb.endpoints import EndpointMoved
from shared.adapters.dynamodb.transactions import Refused, Write
from shared.domain import deliveries as steps
from shared.domain import endpoints as rules
from shared.domain.deliveries import Delivery, DeliveryId, DeliveryState
from shared.domain.endpoints import (
    JOB_ENDPOINT_ID,
    Endpoint,
    EndpointId,
    EndpointWish,
    EventType,
    Secret,
    check_secret,
    make_secret,
)
from shared.domain.errors import Conflict, InvalidRequest, NotFound
from shared.domain.ids import AccountId
from shared.services.requests import check_claim
from shared.services.webhooks import WebhookPorts, Webhooks

MAX_REPLAYS = 500  # in one request; the answer says where to go on
TEST_ID = "00000000-0000-4000-8000-000000000000"
TEST_PAYLOAD = json.dumps(
    {
        "id": TEST_ID,
        "status": "completed",
        "transcript": "This is a test of your webhook endpoint.",
        "duration_seconds": 2.5,
        "language": "en",
        "credits_used": 0.0,
        "speakers": [],
        "summary": None,
        "topics": [],
        "test": True,
    }
)


Also = Callable[[Endpoint], tuple[Write, ...]]


def no_writes(_endpoint: Endpoint) -> tuple[Write, ...]:
    """Nothing else to be written."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """How many deliveries were queued again; ``position`` is None when that was all of them."""

    count: int
    position: dict[str, str] | None


class Endpoints:
    """The owner's side of webhooks."""

    def __init__(self, ports: WebhookPorts, webhooks: Webhooks, new_id: Callable[[], str]) -> None:
        self._ports = ports
        self._webhooks = webhooks
        self._new_id = new_id

    def create(
        self, account_id: AccountId, wish: EndpointWish, secret: str | None = None, also: Also = no_writes
    ) -> Endpoint:
        """A new endpoint, stored together with what ``also`` makes of it.

        Raises Conflict at the account's limit, InvalidRequest for a secret of wrong form, ClaimLost.
        """
        text = check_secret(secret) if secret else make_secret(self._ports.random_bytes())
        endpoint = Endpoint(
            account_id=account_id,
            endpoint_id=EndpointId("whe_" + self._new_id().replace("-", "")),
            url=wish.url,
            events=wish.events,
            secrets=(Secret(text=text),),
            created_at=self._ports.now(),
            description=wish.description,
        )
        wanted = rules.update(endpoint, wish)
        try:
            return self._ports.endpoints.create(wanted, also(wanted))
        except Refused as error:
            check_claim(error)
            raise

    def of_account(self, account_id: AccountId) -> list[Endpoint]:
        """The account's endpoints, oldest first."""
        return self._ports.endpoints.of_account(account_id)

    def get(self, account_id: AccountId, endpoint_id: str) -> Endpoint:
        """The endpoint; ``job`` is the stand-in for jobs' own URLs. Raises NotFound."""
        if endpoint_id == JOB_ENDPOINT_ID:
            return self._webhooks.job_endpoint(account_id)
        # The shape is checked so that no other item of the table can be named.
        found = (
            self._ports.endpoints.get(account_id, EndpointId(endpoint_id)) if endpoint_id.startswith("whe_") else None
        )
        if found is None:
            raise NotFound("There is no webhook endpoint with this id.")
        return found

    def update(self, endpoint: Endpoint, wish: EndpointWish) -> Endpoint:
        """Change what its owner may change. Raises Conflict when it was changed at the same moment."""
        return self._write(rules.update(endpoint, wish))

    def rotate(self, endpoint: Endpoint, secret: str | None = None, also: Also = no_writes) -> Endpoint:
        """A new secret; for a day messages carry the signatures of both. Raises Conflict, ClaimLost."""
        text = check_secret(secret) if secret else make_secret(self._ports.random_bytes())
        return self._write(rules.rotate(endpoint, text, self._ports.now()), also)

    def delete(self, endpoint: Endpoint) -> None:
        """Remove the endpoint; what was on its way to it is dropped. Raises NotFound."""
        if not self._ports.endpoints.delete(endpoint.account_id, endpoint.endpoint_id):
            raise NotFound("There is no webhook endpoint with this id.")

    def test(self, endpoint: Endpoint) -> Delivery:
        """Send the endpoint a test message; its delivery. Raises Conflict while the endpoint is disabled."""
        if not endpoint.is_enabled:
            raise Conflict("This endpoint is disabled. Enable it first.")
        now, nonce = self._ports.now(), self._new_id()
        message_id = "msg_test_" + nonce.replace("-", "")
        return self._start(
            Delivery(
                delivery_id=steps.delivery_id(message_id, endpoint.endpoint_id, None),
                account_id=endpoint.account_id,
                endpoint_id=endpoint.endpoint_id,
                message_id=message_id,
                event_type=EventType.COMPLETED,
                created_at=now,
                next_attempt_at=now,
                payload=TEST_PAYLOAD,
            )
        )

    # ---- the log -----------------------------------------------------------------------------------------------------

    def deliveries(self, query: DeliveryQuery, limit: int, position: dict[str, str] | None = None) -> DeliveryPage:
        """A page of the log, newest first."""
        return self._ports.deliveries.find(query, limit, position)

    def delivery(self, account_id: AccountId, delivery_id: str) -> Delivery:
        """One delivery. Raises NotFound."""
        found = self._ports.deliveries.get(DeliveryId(delivery_id))
        if found is None or found.account_id != account_id:
            raise NotFound("There is no delivery with this id.")
        return found

    def replay(self, delivery: Delivery) -> Delivery:
        """Send the same message to the same receiver once more; the new delivery."""
        return self._start(steps.replay(delivery, self._new_id(), self._ports.now()))

    def replay_range(
        self, query: DeliveryQuery, position: dict[str, str] | None = None, *, only_failed: bool = False
    ) -> Replayed:
        """Replay what an endpoint was sent in a range of time, newest first, up to MAX_REPLAYS at once.

        Replays themselves are left out. Raises InvalidRequest for an empty range.
        """
        if query.since is not None and query.until is not None and query.until <= query.since:
            raise InvalidRequest("'until' must be later than 'since'.", field="until")
        page = self._ports.deliveries.find(query, MAX_REPLAYS, position)
        originals = [
            delivery
            for delivery in page.deliveries
            if delivery.replay_of is None and (delivery.state is DeliveryState.FAILED or not only_failed)
        ]
        for delivery in originals:
            self.replay(delivery)
        return Replayed(count=len(originals), position=page.position)

    def now(self) -> datetime:
        """The time, for who shows secrets and their ends."""
        return self._ports.now()

    def _start(self, delivery: Delivery) -> Delivery:
        self._webhooks.announce(delivery.delivery_id)
        return self._ports.deliveries.replace(delivery)

    def _write(self, endpoint: Endpoint, also: Also = no_writes) -> Endpoint:
        try:
            return self._ports.endpoints.replace(endpoint, also(endpoint))
        except Refused as error:
            check_claim(error)
            raise
        except EndpointMoved as error:
            raise Conflict("The endpoint was changed at the same moment. Read it again and retry.") from error
