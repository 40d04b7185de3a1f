"""The API for people: deploying, going back, and what came of it."""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody

from fleetcast.control import queries
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import Parts, PartsHere
from fleetcast.http.holding import held_s, hold
from fleetcast.model.deployment import Deployment
from fleetcast.model.errors import Invalid
from fleetcast.model.ids import DeploymentId, commit_sha, service_name
from fleetcast.model.limits import DEPLOYMENT_LOOK_INTERVAL_S, DEPLOYMENT_WAIT_S_MAX, DEPLOYMENTS_LISTED_MAX
from fleetcast.model.messages.deployments import DeploymentDetail, DeployRequest, RollbackRequest


@post("/v1/deployments", status_code=201, guards=PEOPLE)
async def deploy(data: JSONBody[DeployRequest], parts: PartsHere) -> Deployment:
    service_name(data.service)
    commit_sha(data.commit_sha)
    return _woken(parts, await parts.triggers.deploy(data))


@post("/v1/rollbacks", status_code=201, guards=PEOPLE)
async def rollback(data: JSONBody[RollbackRequest], parts: PartsHere) -> Deployment:
    service_name(data.service)
    if data.to is not None:
        commit_sha(data.to)
    return _woken(parts, await parts.triggers.rollback(data))


@post("/v1/deployments/{deployment:str}/abort", status_code=200, guards=PEOPLE)
async def abort(deployment: FromPath[str], parts: PartsHere) -> Deployment:
    return _woken(parts, await parts.triggers.abort(DeploymentId(deployment)))


@get("/v1/deployments/{deployment:str}", guards=PEOPLE)
async def deployment_detail(
    deployment: FromPath[str], parts: PartsHere, wait_s: FromQuery[float] = 0.0, seen: FromQuery[str] = ""
) -> DeploymentDetail:
    """One deployment, as soon as its version is not ``seen``; unchanged when the wait is over."""

    async def look() -> DeploymentDetail | None:
        detail = await queries.deployment_detail(parts, DeploymentId(deployment))
        return detail if detail.version != seen else None

    changed = await hold(parts.news, look, wait_s=held_s(wait_s, DEPLOYMENT_WAIT_S_MAX), poll_s=DEPLOYMENT_LOOK_INTERVAL_S)
    return changed or await queries.deployment_detail(parts, DeploymentId(deployment))


@get("/v1/deployments", guards=PEOPLE)
async def deployments(parts: PartsHere, service: FromQuery[str], limit: FromQuery[int] = 20) -> tuple[Deployment, ...]:
    """The newest of a service, newest first."""
    if not 1 <= limit <= DEPLOYMENTS_LISTED_MAX:
        raise Invalid("illegal_limit", f"a list has 1 to {DEPLOYMENTS_LISTED_MAX} deployments, not {limit}")
    return await queries.deployments(parts, service_name(service), limit)


def _woken(parts: Parts, triggered: Deployment) -> Deployment:
    """Everybody whom a trigger concerns, told."""
    parts.controller.wake()
    parts.news.ring()
    return triggered


HANDLERS = (deploy, rollback, abort, deployment_detail, deployments)
