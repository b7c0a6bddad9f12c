"""/api/v1/webhooks/, /api/v1/webhook-deliveries/ and /api/v1/transcribe/{id}/deliveries/"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import JSONResponse, Response

from functions.api import once, schemas
from functions.api import webhook_schemas as wire
from functions.api.bodies import REFUSALS, JsonBody, body_of
from functions.api.deps import MayManage, MayManageOnce, MayRead, ServicesDep
from functions.api.fields import quote
from functions.api.pages import PAGE_PARAMETERS, query_fields, read_cursor, read_limit
from functions.api.results import find_job
from shared.adapters.dynamodb.deliveries import DeliveryPage, DeliveryQuery
from shared.domain.accounts import Principal
from shared.domain.cursors import encode_cursor
from shared.domain.endpoints import JOB_ENDPOINT_ID, MAX_DESCRIPTION_CHARS, Endpoint, EndpointWish, EventType
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
    responses=schemas.answers(201, "WebhookEndpoint", *REFUSALS, *once.REFUSALS),
    openapi_extra=body_of("EndpointCreate") | once.DESCRIBED,
)
def create_endpoint(principal: MayManage, services: ServicesDep, asker: MayManageOnce, body: JsonBody) -> JSONResponse:
    """Events of the account's transcriptions are sent there, signed with the secret in the answer."""
    body.only("url", "events", "description", "enabled", "secret")
    asked = EndpointWish(
        url=_check_url(body.text("url"), allow_loopback=services.settings.allow_loopback_webhooks),
        events=_events(body.texts("events"), otherwise=frozenset(EventType)),
        description=body.text("description", default="", most=MAX_DESCRIPTION_CHARS),
        is_enabled=body.boolean("enabled", default=True),
    )
    secret = body.optional_text("secret")

    def make(turn: Turn) -> Answer:
        answered = partial(_without_secrets, status=201)
        return answered(
            services.endpoints.create(
                principal.account_id, asked, secret, also=lambda endpoint: turn.writes(answered(endpoint))
            )
        )

    content = asdict(asked) | {"events": sorted(asked.events), "secret": secret}
    made = asker.once("create webhook endpoint", content, make)
    return once.respond(made, _secrets(services.endpoints, principal, made))


@router.get("/webhooks/{id}/", summary="Get a webhook endpoint", responses=schemas.answers(200, "WebhookEndpoint", 404))
def get_endpoint(principal: MayManage, services: ServicesDep, endpoint_id: EndpointPath) -> JSONResponse:
    """One endpoint, with the secrets that are in force."""
    return _shown(services.endpoints, services.endpoints.get(principal.account_id, endpoint_id))


@router.patch(
    "/webhooks/{id}/",
    summary="Change a webhook endpoint",
    responses=schemas.answers(200, "WebhookEndpoint", 404, 409, *REFUSALS),
    openapi_extra=body_of("EndpointUpdate"),
)
def update_endpoint(
    principal: MayManage, services: ServicesDep, endpoint_id: EndpointPath, body: JsonBody
) -> JSONResponse:
    """Change its address, its events or its description; disable it, or enable it again."""
    endpoint = _own(services.endpoints, principal, endpoint_id)
    body.some("url", "events", "description", "enabled")
    url = body.optional_text("url")
    if url is not None:
        url = _check_url(url, allow_loopback=services.settings.allow_loopback_webhooks)
    asked = EndpointWish(
        url=endpoint.url if url is None else url,
        events=_events(body.texts("events"), otherwise=endpoint.events),
        description=body.text("description", default=endpoint.description, most=MAX_DESCRIPTION_CHARS),
        is_enabled=body.boolean("enabled", default=endpoint.is_enabled),
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
    responses=schemas.answers(200, "WebhookEndpoint", 404, *REFUSALS, *once.REFUSALS),
    openapi_extra=body_of("SecretRotation", required=False) | once.DESCRIBED,
)
def rotate_secret(
    principal: MayManage,
    services: ServicesDep,
    asker: MayManageOnce,
    endpoint_id: EndpointPath,
    body: JsonBody,
) -> JSONResponse:
    """A new secret. For 24 hours messages carry two signatures, the old secret's too."""
    body.only("secret")
    secret = body.optional_text("secret")

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
    responses=schemas.answers(202, "Replays", 404, *REFUSALS, *once.REFUSALS),
    openapi_extra=body_of("ReplayRange") | once.DESCRIBED,
)
def replay_range(
    principal: MayManage,
    services: ServicesDep,
    asker: MayManageOnce,
    endpoint_id: EndpointPath,
    body: JsonBody,
) -> JSONResponse:
    """Everything that was sent, or should have been, once more: the same `webhook-id`s, fresh signatures."""
    body.only("since", "until", "only_failed", "cursor")
    since, until = body.time("since"), body.time("until")
    only_failed = body.boolean("only_failed", default=False)
    cursor = body.text("cursor", default="")
    position = read_cursor(cursor, _BY_ENDPOINT)

    def replay() -> Answer:
        endpoint = services.endpoints.get(principal.account_id, endpoint_id)
        query = DeliveryQuery(
            account_id=principal.account_id, endpoint_id=endpoint.endpoint_id, since=since, until=until
        )
        done = services.endpoints.replay_range(query, position, only_failed=only_failed)
        next_cursor = None if done.position is None else encode_cursor(done.position)
        return Answer(status=202, body={"replayed": done.count, "next_cursor": next_cursor})

    times = {"since": since.isoformat(), "until": until.isoformat()}
    content = {"id": endpoint_id, "only_failed": only_failed, "cursor": cursor} | times
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


def _events(names: list[str] | None, *, otherwise: frozenset[EventType]) -> frozenset[EventType]:
    if names is None:
        return otherwise
    allowed = ", ".join(EventType)
    if not names:
        raise InvalidRequest(f"'events' must name one at least of {allowed}.", field="events")
    try:
        return frozenset(EventType(name) for name in names)
    except ValueError:
        unknown = next(name for name in names if name not in set(EventType))
        raise InvalidRequest(f"Unknown event {quote(unknown)}. Use {allowed}.", field="events") from None
