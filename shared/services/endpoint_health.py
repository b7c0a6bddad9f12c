"""An endpoint's health: what its answers say of it, until it is disabled and that is told."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from datetime import datetime

from shared.adapters.dynamodb.endpoints import EndpointMoved, EndpointStore
from shared.adapters.eventbridge import EventBus
from shared.domain import endpoints as rules
from shared.domain.endpoints import Endpoint, EndpointId
from shared.domain.ids import AccountId
from shared.domain.webhooks import Delivered, Refused, Verdict

DISABLED_EVENT = "webhook.endpoint.disabled"

logger = logging.getLogger(__name__)


class EndpointHealth:
    """Endpoints as deliveries see them."""

    def __init__(self, endpoints: EndpointStore, bus: EventBus, now: Callable[[], datetime]) -> None:
        self._endpoints = endpoints
        self._bus = bus
        self._now = now

    def get(self, account_id: AccountId, endpoint_id: EndpointId) -> Endpoint | None:
        """The endpoint, if it is there; who disabled it may have died before that was told."""
        endpoint = self._endpoints.get(account_id, endpoint_id)
        return None if endpoint is None else self._tell(endpoint)

    def note(self, endpoint: Endpoint, verdict: Verdict) -> None:
        """Keep the record of its failing, and disable it when it is gone or has failed for days."""
        if isinstance(verdict, Delivered):
            after = rules.after_success(endpoint)
        else:
            after = rules.after_failure(endpoint, self._now(), gone=isinstance(verdict, Refused))
        if after == endpoint:
            return
        with contextlib.suppress(EndpointMoved):  # its owner changed it meanwhile: the next attempt sees the new one
            self._tell(self._endpoints.replace(after))

    def _tell(self, endpoint: Endpoint) -> Endpoint:
        """Publish that it was disabled, if that is owed. A crash before it is noted tells it twice."""
        if not endpoint.owes_event:
            return endpoint
        assert endpoint.disabled_reason is not None  # enabling it ends the debt
        detail = {
            "version": 1,
            "account_id": endpoint.account_id,
            "endpoint_id": endpoint.endpoint_id,
            "reason": endpoint.disabled_reason.value,
            "failing_since": endpoint.failing_since.isoformat() if endpoint.failing_since else None,
        }
        self._bus.publish(DISABLED_EVENT, detail)
        logger.warning("endpoint_disabled", extra={"endpoint_id": endpoint.endpoint_id, "reason": detail["reason"]})
        with contextlib.suppress(EndpointMoved):
            return self._endpoints.replace(rules.told(endpoint))
        return endpoint
