"""The API for people: deploying, going back, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final

from litestar import Request, get, post
from litestar.params import JSONBody, QueryParameter
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.control import previews, queries
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import Parts, PartsHere
from fleetcast.control.streams import DeploymentSource
from fleetcast.http.auth import caller
from fleetcast.http.parameters import (
    After,
    DeploymentInPath,
    IdempotencyKey,
    LastEventId,
    Limit,
    OfService,
    Seen,
    WaitS,
    chosen,
)
from fleetcast.http.sse import EventStream, wants_stream
from fleetcast.model.deployment import Deployment, DeploymentState
from fleetcast.model.errors import KeyReused, NotFound, Refused, Unprocessable
from fleetcast.model.ids import NAME, DeploymentId, commit_sha, environment_name, region_name, service_name
from fleetcast.model.limits import PAGE_ITEMS
from fleetcast.model.messages.deployments import (
    DeploymentDetail,
    DeploymentPage,
    DeployRequest,
    Preview,
    PreviewRequest,
    RefusalRequest,
    RetryRequest,
    RollbackRequest,
    SkipRequest,
)
from fleetcast.rollouts import deployments as known
from fleetcast.rollouts import holding_back, skipping
from fleetcast.rollouts.approvals import approve
from fleetcast.rollouts.deployments import Wanted
from fleetcast.rollouts.gate import GateLimits
from fleetcast.rollouts.waves import bounded
from fleetcast.schema.idempotency import request_key

STATE: Final = {"enum": list(DeploymentState)}


@post("/v1/deployments", status_code=201, guards=PEOPLE, errors=(NotFound, Refused, KeyReused, Unprocessable))
async def deploy(
    request: Request[Any, Any, Any],
    data: JSONBody[DeployRequest],
    parts: PartsHere,
    idempotency_key: IdempotencyKey = None,
) -> Deployment:
    """Bring a commit to a service's machines, building it first where no artifact of it exists.

    The answer is the deployment's first state, long before its end.
    """
    service_name(data.service)
    commit_sha(data.commit_sha)
    return await answer(parts, await parts.triggers.deploy(data, request_key("deploy", idempotency_key, data), caller(request)))


@post("/v1/previews", status_code=200, guards=PEOPLE, errors=(NotFound, Unprocessable))
async def preview(data: JSONBody[PreviewRequest], parts: PartsHere) -> Preview:
    """What a deployment of a service would do now, wave by wave. Changes nothing."""
    service_name(data.service)
    return await previews.preview(parts, data)


@post("/v1/rollbacks", status_code=201, guards=PEOPLE, errors=(NotFound, Refused, KeyReused))
async def rollback(
    request: Request[Any, Any, Any],
    data: JSONBody[RollbackRequest],
    parts: PartsHere,
    idempotency_key: IdempotencyKey = None,
) -> Deployment:
    """Go back to an earlier release.

    By default to the newest earlier one whose deployment SUCCEEDED and was not rolled back. A rollback is a deployment.
    """
    service_name(data.service)
    if data.to is not None:
        commit_sha(data.to)
    key = request_key("rollback", idempotency_key, data)
    return await answer(parts, await parts.triggers.rollback(data, key, caller(request)))


@post("/v1/retries", status_code=201, guards=PEOPLE, errors=(NotFound, Refused, KeyReused))
async def retry(
    request: Request[Any, Any, Any],
    data: JSONBody[RetryRequest],
    parts: PartsHere,
    idempotency_key: IdempotencyKey = None,
) -> Deployment:
    """Have the machines try again that failed a service's present deployment.

    While that is under way, in it; when it has ended, in a new deployment of the same release, all at once.
    """
    service_name(data.service)
    key = request_key("retry", idempotency_key, data)
    return await answer(parts, await parts.triggers.retry(data, key, caller(request)))


@post("/v1/deployments/{deployment:str}/abort", status_code=200, guards=PEOPLE, errors=(NotFound, Refused))
async def abort_deployment(deployment: DeploymentInPath, parts: PartsHere) -> Deployment:
    """End a deployment where it stands: machines keep what they run, nobody else switches over."""
    return await answer(parts, await parts.triggers.abort(DeploymentId(deployment)))


@post("/v1/deployments/{deployment:str}/pause", status_code=200, guards=PEOPLE, errors=(NotFound, Refused))
async def pause_deployment(deployment: DeploymentInPath, parts: PartsHere) -> Deployment:
    """Let in no further wave until it is resumed, within a day; then it has FAILED."""
    return await _told(parts, DeploymentId(deployment), holding_back.pause)


@post("/v1/deployments/{deployment:str}/resume", status_code=200, guards=PEOPLE, errors=(NotFound, Refused))
async def resume_deployment(deployment: DeploymentInPath, parts: PartsHere) -> Deployment:
    """Go on with one that is paused."""
    return await _told(parts, DeploymentId(deployment), holding_back.resume)


@post("/v1/deployments/{deployment:str}/promote", status_code=200, guards=PEOPLE, errors=(NotFound, Refused))
async def promote_deployment(deployment: DeploymentInPath, parts: PartsHere) -> Deployment:
    """Skip the bake of the wave that is under way; its machines have to be healthy all the same."""
    return await _told(parts, DeploymentId(deployment), holding_back.promote)


@post("/v1/deployments/{deployment:str}/skip", status_code=200, guards=PEOPLE, errors=(NotFound, Refused))
async def skip_region(deployment: DeploymentInPath, data: JSONBody[SkipRequest], parts: PartsHere) -> Deployment:
    """Go on without a region, or with it again: its machines keep what they run until the next deployment."""
    region = region_name(data.region)
    change = skipping.unskip if data.undo else skipping.skip
    return await _told(parts, DeploymentId(deployment), lambda tx, which: change(tx, which, region))


@post("/v1/deployments/{deployment:str}/approve", status_code=200, guards=PEOPLE, errors=(NotFound, Refused))
async def approve_deployment(request: Request[Any, Any, Any], deployment: DeploymentInPath, parts: PartsHere) -> Deployment:
    """Approve its next wave, as whoever the token is of; not one's own, unless its plan allows that."""
    return await _told(parts, DeploymentId(deployment), lambda tx, which: approve(tx, which, caller(request)))


@post("/v1/deployments/{deployment:str}/refuse", status_code=200, guards=PEOPLE, errors=(NotFound, Refused, Unprocessable))
async def refuse_deployment(
    request: Request[Any, Any, Any], deployment: DeploymentInPath, data: JSONBody[RefusalRequest], parts: PartsHere
) -> Deployment:
    """Do not approve its next wave: it ends ABORTED, machines keep what they run, nobody else switches over."""
    return await answer(parts, await parts.triggers.refuse(DeploymentId(deployment), data.reason, caller(request)))


@get(
    "/v1/deployments/{deployment:str}",
    guards=PEOPLE,
    errors=(NotFound,),
    stream="`data`: a DeploymentDetail, `id`: its version. The last event is `end`, its `data` the state it ended in.",
)
async def get_deployment(
    request: Request[Any, Any, Any],
    deployment: DeploymentInPath,
    parts: PartsHere,
    wait_s: WaitS = 0.0,
    seen: Seen = "",
    last_event_id: LastEventId = None,
) -> DeploymentDetail | EventStream:
    """One deployment, as soon as its version is not ``seen``; unchanged when the wait is over.

    As a stream (``Accept: text/event-stream``) each version until it has ended; ``Last-Event-ID`` goes before ``seen``.
    """
    wanted = DeploymentId(deployment)
    if wants_stream(request):
        return parts.streams.of(DeploymentSource(parts, wanted, last_event_id or seen), parts.news)
    return await parts.unseen(lambda: queries.deployment_detail(parts, wanted), seen, wait_s)


@get("/v1/deployments", guards=PEOPLE, errors=(NotFound, Unprocessable))
async def list_deployments(
    parts: PartsHere,
    service: OfService = None,
    in_state: Annotated[
        str | None, QueryParameter(name="state", schema_extra=STATE, description="Those in one state only.")
    ] = None,  # `state` is Litestar's own
    environment: Annotated[
        str | None, QueryParameter(schema_extra=NAME.schema, description="Those in one environment only.")
    ] = None,
    after: After = "",
    limit: Limit = PAGE_ITEMS,
) -> DeploymentPage:
    """Deployments, newest first."""
    named = None if service is None else service_name(service)
    where = None if environment is None else environment_name(environment)
    return await queries.deployment_page(parts, Wanted(named, chosen(DeploymentState, in_state), where), after, limit)


async def _told(
    parts: Parts, deployment: DeploymentId, what: Callable[[AsyncConnection, DeploymentId], Awaitable[None]]
) -> Deployment:
    async with parts.database.transaction() as tx:
        await what(tx, deployment)
        shown = await known.get_deployment(tx, deployment)
    return await answer(parts, shown)


async def answer(parts: Parts, triggered: Deployment) -> Deployment:
    """Everybody whom it concerns, told; the caller, within what it ends."""
    parts.stir(ended=triggered.build if triggered.state.ended else None)
    async with parts.database.reading() as reading:
        return await bounded(reading, triggered, GateLimits(parts.config.replicate_s_max, parts.config.distribute_s_max))


HANDLERS = (
    deploy,
    preview,
    rollback,
    retry,
    abort_deployment,
    pause_deployment,
    resume_deployment,
    promote_deployment,
    skip_region,
    approve_deployment,
    refuse_deployment,
    get_deployment,
    list_deployments,
)
