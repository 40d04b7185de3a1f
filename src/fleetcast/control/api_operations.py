"""The API for people: services, deployments, and what is going on."""

from __future__ import annotations

from typing import Final

from litestar import get, post, put
from litestar.params import FromPath, FromQuery, JSONBody

from fleetcast.control import queries, registration
from fleetcast.control.parts import Parts, PartsHere
from fleetcast.http.auth import allow
from fleetcast.http.holding import held_s, hold
from fleetcast.http.tokens import Role
from fleetcast.model.deployment import Deployment
from fleetcast.model.errors import Invalid
from fleetcast.model.ids import DeploymentId, artifact_name, build_id, commit_sha, machine_id, region_name, service_name
from fleetcast.model.limits import (
    BUILD_LOG_BYTES_MAX,
    DEPLOYMENT_LOOK_INTERVAL_S,
    DEPLOYMENT_WAIT_S_MAX,
    DEPLOYMENTS_LISTED_MAX,
)
from fleetcast.model.messages.operations import (
    ArtifactDetail,
    BuildLog,
    DeploymentDetail,
    DeployRequest,
    FleetStatus,
    RollbackRequest,
    ServiceSpec,
)
from fleetcast.rollouts import inventory
from fleetcast.rollouts.services import get_service, list_services

PEOPLE: Final = [allow(Role.ADMIN)]


@put("/v1/services/{name:str}", status_code=200, guards=PEOPLE)
async def put_service(name: FromPath[str], data: JSONBody[ServiceSpec], parts: PartsHere) -> ServiceSpec:
    """Create or change a service. What was triggered before keeps what it was triggered with."""
    if data.name != name:
        raise Invalid("wrong_service", f"this describes {data.name!r} and was sent to {name!r}")
    return await registration.register(parts.database, data)


@get("/v1/services/{name:str}", guards=PEOPLE)
async def service(name: FromPath[str], parts: PartsHere) -> ServiceSpec:
    async with parts.database.reading() as reading:
        return await get_service(reading, service_name(name))


@get("/v1/services", guards=PEOPLE)
async def services(parts: PartsHere) -> tuple[ServiceSpec, ...]:
    async with parts.database.reading() as reading:
        return await list_services(reading)


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


@get("/v1/status", guards=PEOPLE)
async def status(parts: PartsHere) -> FleetStatus:
    return await queries.fleet_status(parts)


@post("/v1/regions/{region:str}/drain", status_code=200, guards=PEOPLE)
async def drain(region: FromPath[str], parts: PartsHere) -> FleetStatus:
    """Wait for this region no more: its bucket and its machines are left out of every release and deployment."""
    return await _drained(parts, region, drained=True)


@post("/v1/regions/{region:str}/undrain", status_code=200, guards=PEOPLE)
async def undrain(region: FromPath[str], parts: PartsHere) -> FleetStatus:
    """Count this region again."""
    return await _drained(parts, region, drained=False)


@post("/v1/machines/{machine:str}/retire", status_code=200, guards=PEOPLE)
async def retire(machine: FromPath[str], parts: PartsHere) -> FleetStatus:
    """Count a machine that is gone no more."""
    async with parts.database.transaction() as tx:
        await inventory.retire(tx, machine_id(machine))
    parts.controller.wake()
    return await queries.fleet_status(parts)


@get("/v1/builds/{build:int}/log", guards=PEOPLE)
async def build_log(build: FromPath[int], parts: PartsHere, offset: FromQuery[int] = 0) -> BuildLog:
    return await parts.logs.read(build_id(build), min(max(0, offset), BUILD_LOG_BYTES_MAX))


@get("/v1/artifacts/{service:str}/{commit:str}", guards=PEOPLE)
async def artifact(service: FromPath[str], commit: FromPath[str], parts: PartsHere) -> ArtifactDetail:
    """By name: ``<service>/<commit>``, with ``.2`` and so on for rebuilds."""
    sha, _, number = commit.partition(".")
    if number and not (number.isascii() and number.isdigit() and len(number) < 10):
        raise Invalid(
            "illegal_artifact", f"{service}/{commit} is no artifact's name: use <service>/<commit> or <service>/<commit>.2"
        )
    name = artifact_name(service_name(service), commit_sha(sha), int(number or 1))
    return await queries.artifact_detail(parts, name)


async def _drained(parts: Parts, region: str, *, drained: bool) -> FleetStatus:
    async with parts.database.transaction() as tx:
        await inventory.drain(tx, region_name(region), drained=drained)
    parts.controller.wake()
    return await queries.fleet_status(parts)


def _woken(parts: Parts, triggered: Deployment) -> Deployment:
    """Everybody whom a trigger concerns, told."""
    parts.controller.wake()
    parts.news.ring()
    return triggered


HANDLERS = (
    put_service,
    service,
    services,
    deploy,
    rollback,
    abort,
    deployment_detail,
    deployments,
    status,
    drain,
    undrain,
    retire,
    build_log,
    artifact,
)
