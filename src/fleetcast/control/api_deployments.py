"""The API for people: deploying, going back, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from fleetcast.control import queries
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import Parts, PartsHere
from fleetcast.control.streams import DeploymentSource
from fleetcast.http.holding import held_s, hold
from fleetcast.http.parameters import After, IdempotencyKey, LastEventId, Limit
from fleetcast.http.sse import EventStream, wants_stream
from fleetcast.model.deployment import Deployment, DeploymentState
from fleetcast.model.ids import DeploymentId, commit_sha, service_name
from fleetcast.model.limits import DEPLOYMENT_LOOK_INTERVAL_S, DEPLOYMENT_WAIT_S_MAX, PAGE_ITEMS
from fleetcast.model.messages.deployments import DeploymentDetail, DeploymentPage, DeployRequest, RollbackRequest
from fleetcast.rollouts.deployments import Wanted
from fleetcast.schema.idempotency import request_key


@post("/v1/deployments", status_code=201, guards=PEOPLE)
async def deploy(data: JSONBody[DeployRequest], parts: PartsHere, idempotency_key: IdempotencyKey = None) -> Deployment:
    service_name(data.service)
    commit_sha(data.commit_sha)
    return _woken(parts, await parts.triggers.deploy(data, request_key("deploy", idempotency_key, data)))


@post("/v1/rollbacks", status_code=201, guards=PEOPLE)
async def rollback(data: JSONBody[RollbackRequest], parts: PartsHere, idempotency_key: IdempotencyKey = None) -> Deployment:
    service_name(data.service)
    if data.to is not None:
        commit_sha(data.to)
    return _woken(parts, await parts.triggers.rollback(data, request_key("rollback", idempotency_key, data)))


@post("/v1/deployments/{deployment:str}/abort", status_code=200, guards=PEOPLE)
async def abort(deployment: FromPath[str], parts: PartsHere) -> Deployment:
    return _woken(parts, await parts.triggers.abort(DeploymentId(deployment)))


@get("/v1/deployments/{deployment:str}", guards=PEOPLE)
async def deployment_detail(
    request: Request[Any, Any, Any],
    deployment: FromPath[str],
    parts: PartsHere,
    wait_s: FromQuery[float] = 0.0,
    seen: FromQuery[str] = "",
    last_event_id: LastEventId = None,
) -> DeploymentDetail | EventStream:
    """One deployment, as soon as its version is not ``seen``; unchanged when the wait is over.

    As a stream (``Accept: text/event-stream``) each version until it has ended; ``Last-Event-ID`` goes before ``seen``.
    """
    wanted = DeploymentId(deployment)
    if wants_stream(request):
        return parts.streams.of(DeploymentSource(parts, wanted, last_event_id or seen), parts.news)

    async def look() -> DeploymentDetail | None:
        detail = await queries.deployment_detail(parts, wanted)
        return detail if detail.version != seen else None

    changed = await hold(parts.news, look, wait_s=held_s(wait_s, DEPLOYMENT_WAIT_S_MAX), poll_s=DEPLOYMENT_LOOK_INTERVAL_S)
    return changed or await queries.deployment_detail(parts, wanted)


@get("/v1/deployments", guards=PEOPLE)
async def deployments(
    parts: PartsHere,
    service: FromQuery[str | None] = None,
    in_state: Annotated[DeploymentState | None, QueryParameter(name="state")] = None,  # `state` is Litestar's own
    environment: FromQuery[str | None] = None,
    after: After = "",
    limit: Limit = PAGE_ITEMS,
) -> DeploymentPage:
    """Newest first."""
    named = None if service is None else service_name(service)
    return await queries.deployment_page(parts, Wanted(named, in_state, environment), after, limit)


def _woken(parts: Parts, triggered: Deployment) -> Deployment:
    """Everybody whom a trigger concerns, told."""
    parts.controller.wake()
    parts.news.ring()
    return triggered


HANDLERS = (deploy, rollback, abort, deployment_detail, deployments)
