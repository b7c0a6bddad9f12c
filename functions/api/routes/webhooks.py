"""/api/v1/webhooks/, /api/v1/webhook-deliveries/ and /api/v1/transcribe/{id}/deliveries/"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import JSONResponse, Response

from functions.api import once, schemas
from functions.api import webhook_schemas as wire
from functions.api.deps import MayManage, MayManageOnce, MayRead, ServicesDep
from functions.api.pages import PAGE_PARAMETERS, query_fields, read_cursor, read_limit
from functions.api.results import find_job
from shared.adapters.dynamodb.deliveries import DeliveryPage, DeliveryQuery
from shared.domain.accounts import Principal
from shared.domain.cursors import encode_cursor
from shared.domain.endpoints import JOB_ENDPOINT_ID, Endpoint, EndpointWish, EventType
from shared.domain.errors import Conflict, InvalidRequest, NotFound
from shared.domain.idempotency import Answer
from shared.domain.urls import UnsafeUrl, parse_webhook_url
from shared.services.endpoints import Endpoints
from shared.services.requests import Answered, Turn

router = APIRouter(tags=["Webhooks"])

_BY_ENDPOINT = frozenset({"delivery_id", "receiver", "created_at"})
_BY_JOB = frozenset({"delivery_id", "job_id", "created_at"})

EndpointPath = Annotated[
    str,
    Path(alias="id", description="The endpoint. `job` stands for the webhook_url of each transcription."),
]


@router.get("/webhooks/", summary="List webhook endpoints", responses=schemas.answers(200, "WebhookEndpoints"))
def list_endpoints(principal: MayManage, services: ServicesDep) -> JSONResponse:
    """The account's endpoints, without their secrets."""
    found = services.endpoints.of_account(principal.account_id)
    return JSONResponse({"endpoints": [wire.endpoint_view(endpoint) for endpoint in found]})


@router.post(
    "/webhooks/",
    summary="Add a webhook endpoint",
    status_code=201,
    responses=schemas.answers(201, "WebhookEndpoint", *once.REFUSALS),
    openapi_extra=once.DESCRIBED,
)
def create_endpoint(
    principal: MayManage, services: ServicesDep, asker: MayManageOnce, wish: wire.EndpointCreate
) -> JSONResponse:
    """Events of the account's transcriptions are sent there, signed with the secret in the answer."""
    asked = EndpointWish(
        url=_check_url(wish.url, allow_loopback=services.settings.allow_loopback_webhooks),
        events=frozenset(wish.events or EventType),
        description=wish.description,
        is_enabled=wish.enabled,
    )

    def make(turn: Turn) -> Answer:
        answered = partial(_without_secrets, status=201)
        return answered(
            services.endpoints.create(
                principal.account_id, asked, wish.secret, also=lambda endpoint: turn.writes(answered(endpoint))
            )
        )

    made = asker.once("create webhook endpoint", wish.model_dump(mode="json"), make)
    return once.respond(made, _secrets(services.endpoints, principal, made))


@router.get("/webhooks/{id}/", summary="Get a webhook endpoint", responses=schemas.answers(200, "WebhookEndpoint", 404))
def get_endpoint(principal: MayManage, services: ServicesDep, endpoint_id: EndpointPath) -> JSONResponse:
    """One endpoint, with the secrets that are in force."""
    return _shown(services.endpoints, services.endpoints.get(principal.account_id, endpoint_id))


@router.patch(
    "/webhooks/{id}/",
    summary="Change a webhook endpoint",
    responses=schemas.answers(200, "WebhookEndpoint", 404, 409),
)
def update_endpoint(
    principal: MayManage, services: ServicesDep, endpoint_id: EndpointPath, wish: wire.EndpointUpdate
) -> JSONResponse:
    """Change its address, its events or its description; disable it, or enable it again."""
    endpoint = _own(services.endpoints, principal, endpoint_id)
    url = endpoint.url
    if wish.url is not None:
        url = _check_url(wish.url, allow_loopback=services.settings.allow_loopback_webhooks)
    asked = EndpointWish(
        url=url,
        events=endpoint.events if wish.events is None else frozenset(wish.events),
        description=endpoint.description if wish.description is None else wish.description,
        is_enabled=endpoint.is_enabled if wish.enabled is None else wish.enabled,
    )
    return _shown(services.endpoints, services.endpoints.update(endpoint, asked))


@router.delete(
    "/webhooks/{id}/",
    summary="Delete a webhook endpoint",
    status_code=204,
    response_class=Response,
    responses={**schemas.answers(204, "Error", 404, 409), 204: {"description": "It is gone."}},
)
def delete_endpoint(principal: MayManage, services: ServicesDep, endpoint_id: EndpointPath) -> Response:
    """Nothing is sent there any more; what was on its way is dropped."""
    services.endpoints.delete(_own(services.endpoints, principal, endpoint_id))
    return Response(status_code=204)


@router.post(
    "/webhooks/{id}/rotate-secret/",
    summary="Rotate a signing secret",
    responses=schemas.answers(200, "WebhookEndpoint", 404, *once.REFUSALS),
    openapi_extra=once.DESCRIBED,
)
def rotate_secret(
    principal: MayManage,
    services: ServicesDep,
    asker: MayManageOnce,
    endpoint_id: EndpointPath,
    wish: wire.SecretRotation | None = None,
) -> JSONResponse:
    """A new secret. For 24 hours messages carry two signatures, the old secret's too."""
    secret = wish.secret if wish else None

    def rotate(turn: Turn) -> Answer:
        endpoint = services.endpoints.get(principal.account_id, endpoint_id)
        return _without_secrets(
            services.endpoints.rotate(endpoint, secret, also=lambda changed: turn.writes(_without_secrets(changed)))
        )

    rotated = asker.once("rotate webhook secret", {"id": endpoint_id, "secret": secret}, rotate)
    return once.respond(rotated, _secrets(services.endpoints, principal, rotated))


@router.post(
    "/webhooks/{id}/test/",
    summary="Send a test message",
    status_code=202,
    responses=schemas.answers(202, "WebhookDelivery", 404, *once.REFUSALS),
    openapi_extra=once.DESCRIBED,
)
def send_test(
    principal: MayManage, services: ServicesDep, asker: MayManageOnce, endpoint_id: EndpointPath
) -> JSONResponse:
    """A signed message like that of a completed transcription, with `"test": true`; its delivery tells the rest."""

    def send() -> Answer:
        endpoint = _own(services.endpoints, principal, endpoint_id)
        return Answer(status=202, body=wire.delivery_view(services.endpoints.test(endpoint)))

    return once.respond(asker.settled("test webhook", {"id": endpoint_id}, send))


@router.get(
    "/webhooks/{id}/deliveries/",
    summary="List an endpoint's deliveries",
    responses=schemas.answers(200, "WebhookDeliveries", 404),
    openapi_extra={"parameters": PAGE_PARAMETERS},
)
def endpoint_deliveries(
    request: Request, principal: MayManage, services: ServicesDep, endpoint_id: EndpointPath
) -> JSONResponse:
    """What was sent to the endpoint in the last 30 days, newest first, with every attempt."""
    fields = query_fields(request)
    position = read_cursor(fields.text("cursor"), _BY_ENDPOINT)
    endpoint = services.endpoints.get(principal.account_id, endpoint_id)
    query = DeliveryQuery(account_id=principal.account_id, endpoint_id=endpoint.endpoint_id)
    return _page(services.endpoints.deliveries(query, read_limit(fields), position))


@router.post(
    "/webhooks/{id}/replay/",
    summary="Replay an endpoint's deliveries of a time",
    status_code=202,
    responses=schemas.answers(202, "Replays", 404, *once.REFUSALS),
    openapi_extra=once.DESCRIBED,
)
def replay_range(
    principal: MayManage,
    services: ServicesDep,
    asker: MayManageOnce,
    endpoint_id: EndpointPath,
    wish: wire.ReplayRange,
) -> JSONResponse:
    """Everything that was sent, or should have been, once more: the same `webhook-id`s, fresh signatures."""
    position = read_cursor(wish.cursor or "", _BY_ENDPOINT)

    def replay() -> Answer:
        endpoint = services.endpoints.get(principal.account_id, endpoint_id)
        query = DeliveryQuery(
            account_id=principal.account_id,
            endpoint_id=endpoint.endpoint_id,
            since=_utc(wish.since, "since"),
            until=_utc(wish.until, "until"),
        )
        done = services.endpoints.replay_range(query, position, only_failed=wish.only_failed)
        cursor = None if done.position is None else encode_cursor(done.position)
        return Answer(status=202, body={"replayed": done.count, "next_cursor": cursor})

    content = {"id": endpoint_id} | wish.model_dump(mode="json")
    return once.respond(asker.settled("replay webhooks", content, replay))


@router.get(
    "/webhook-deliveries/{id}/",
    summary="Get a delivery",
    responses=schemas.answers(200, "WebhookDelivery", 404),
)
def get_delivery(
    principal: MayManage, services: ServicesDep, delivery_id: Annotated[str, Path(alias="id")]
) -> JSONResponse:
    """One delivery with every attempt."""
    return JSONResponse(wire.delivery_view(services.endpoints.delivery(principal.account_id, delivery_id)))


@router.post(
    "/webhook-deliveries/{id}/replay/",
    summary="Replay a delivery",
    status_code=202,
    responses=schemas.answers(202, "WebhookDelivery", 404, *once.REFUSALS),
    openapi_extra=once.DESCRIBED,
)
def replay_delivery(
    principal: MayManage, services: ServicesDep, asker: MayManageOnce, delivery_id: Annotated[str, Path(alias="id")]
) -> JSONResponse:
    """The same message to the same receiver once more, with the same `webhook-id`."""

    def replay() -> Answer:
        delivery = services.endpoints.delivery(principal.account_id, delivery_id)
        return Answer(status=202, body=wire.delivery_view(services.endpoints.replay(delivery)))

    return once.respond(asker.settled("replay delivery", {"id": delivery_id}, replay))


@router.get(
    "/transcribe/{id}/deliveries/",
    summary="List a transcription's deliveries",
    responses=schemas.answers(200, "WebhookDeliveries", 404),
    openapi_extra={"parameters": PAGE_PARAMETERS},
)
def job_deliveries(
    request: Request,
    principal: MayRead,
    services: ServicesDep,
    job_id: Annotated[str, Path(alias="id", description="The transcription.")],
) -> JSONResponse:
    """Where the transcription's events were sent, newest first, with every attempt."""
    fields = query_fields(request)
    position = read_cursor(fields.text("cursor"), _BY_JOB)
    job = find_job(request, services, principal, job_id)
    query = DeliveryQuery(account_id=principal.account_id, job_id=job.job_id)
    return _page(services.endpoints.deliveries(query, read_limit(fields), position))


def _own(endpoints: Endpoints, principal: Principal, endpoint_id: str) -> Endpoint:
    """An endpoint that its owner made, not the stand-in for transcriptions' own URLs."""
    if endpoint_id == JOB_ENDPOINT_ID:
        raise Conflict("This stands for the webhook_url of each transcription: only its secret can be changed.")
    return endpoints.get(principal.account_id, endpoint_id)


def _shown(endpoints: Endpoints, endpoint: Endpoint) -> JSONResponse:
    return JSONResponse(wire.endpoint_view(endpoint, endpoints.now()))


def _without_secrets(endpoint: Endpoint, status: int = 200) -> Answer:
    """What is kept of the answer about an endpoint: its secrets stay in one place."""
    return Answer(status=status, body=wire.endpoint_view(endpoint))


def _secrets(endpoints: Endpoints, principal: Principal, answered: Answered) -> dict[str, Any]:
    """The secrets now in force of the endpoint that an answer is about; nothing when it has been deleted since."""
    try:
        endpoint = endpoints.get(principal.account_id, str(answered.answer.body["id"]))
    except NotFound:
        return {}
    return {"secrets": wire.endpoint_view(endpoint, endpoints.now())["secrets"]}


def _page(page: DeliveryPage) -> JSONResponse:
    cursor = None if page.position is None else encode_cursor(page.position)
    body: dict[str, Any] = {"deliveries": [wire.delivery_view(each) for each in page.deliveries]}
    return JSONResponse(body | {"next_cursor": cursor})


def _check_url(text: str, *, allow_loopback: bool) -> str:
    try:
        return parse_webhook_url(text, allow_loopback=allow_loopback).text
    except UnsafeUrl as error:
        raise InvalidRequest(f"The url cannot be used: {error}", field="url") from error


def _utc(at: datetime, field: str) -> datetime:
    if at.tzinfo is None:
        raise InvalidRequest(f"'{field}' needs a time zone, as in 2026-11-23T09:30:00Z.", field=field)
    return at.astimezone(UTC)
