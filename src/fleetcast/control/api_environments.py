"""The API for people: a service's environments, and taking a release from one to the next."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from litestar import Request, delete, get, post, put
from litestar.params import JSONBody, PathParameter, QueryParameter

from fleetcast.control.api_deployments import answer
from fleetcast.control.audiences import PEOPLE
from fleetcast.control.parts import PartsHere
from fleetcast.control.registration import register_environment
from fleetcast.http.auth import caller
from fleetcast.http.parameters import IdempotencyKey, ServiceInPath
from fleetcast.model.deployment import Deployment
from fleetcast.model.errors import KeyReused, NotFound, Refused, Unprocessable
from fleetcast.model.ids import NAME, digest, environment_name, service_name
from fleetcast.model.messages.environments import (
    Environment,
    EnvironmentList,
    EnvironmentRemoved,
    EnvironmentSpec,
    PromoteRequest,
    Promotion,
)
from fleetcast.rollouts import environments, promotions, removal
from fleetcast.schema.idempotency import request_key

EnvironmentInPath: TypeAlias = Annotated[str, PathParameter(schema_extra=NAME.schema, description="Of the service.")]
_Named: TypeAlias = Annotated[str, QueryParameter(schema_extra=NAME.schema, description="An environment of the service.")]


@put(
    "/v1/services/{name:str}/environments/{environment:str}",
    status_code=200,
    guards=PEOPLE,
    errors=(NotFound, Refused, Unprocessable),
)
async def put_environment(
    name: ServiceInPath, environment: EnvironmentInPath, data: JSONBody[EnvironmentSpec], parts: PartsHere
) -> Environment:
    """Create or change an environment of a service.

    What was triggered before keeps what it was triggered with.
    """
    if (data.service, data.name) != (name, environment):
        raise Unprocessable(
            "wrong_environment", f"this describes {data.name!r} of {data.service!r}, sent to {environment!r} of {name!r}"
        )
    await register_environment(parts.database, data)
    parts.news.ring()
    async with parts.database.reading() as reading:
        found = await environments.environments_of(reading, service_name(name))
    return next(one for one in found if one.name == environment)


@get("/v1/services/{name:str}/environments", guards=PEOPLE, errors=(NotFound,))
async def list_environments(name: ServiceInPath, parts: PartsHere) -> EnvironmentList:
    """The environments of a service, its own first, and what each is at."""
    async with parts.database.reading() as reading:
        return EnvironmentList(await environments.environments_of(reading, service_name(name)))


@delete("/v1/services/{name:str}/environments/{environment:str}", status_code=200, guards=PEOPLE, errors=(NotFound, Refused))
async def remove_environment(name: ServiceInPath, environment: EnvironmentInPath, parts: PartsHere) -> EnvironmentRemoved:
    """Stop the service on the machines of an environment and forget that; refused while it is deployed there."""
    async with parts.database.transaction() as tx:
        gone = await removal.remove_environment(
            tx, service_name(name), environment_name(environment), goal_lifetime_s=parts.config.goal_lifetime_s
        )
    parts.stir()
    return gone


@post("/v1/promotions", status_code=201, guards=PEOPLE, errors=(NotFound, Refused, KeyReused, Unprocessable))
async def promote_release(
    request: Request[Any, Any, Any],
    data: JSONBody[PromoteRequest],
    parts: PartsHere,
    idempotency_key: IdempotencyKey = None,
) -> Deployment:
    """Deploy to one environment of a service what runs in another, as it is: nothing is built."""
    service_name(data.service)
    environment_name(data.source)
    environment_name(data.target)
    if data.digest is not None:
        digest(data.digest)
    triggered = await parts.triggers.promote(data, request_key("promote", idempotency_key, data), caller(request))
    return await answer(parts, triggered)


@get("/v1/services/{name:str}/promotion", guards=PEOPLE, errors=(NotFound, Refused, Unprocessable))
async def preview_promotion(name: ServiceInPath, source: _Named, target: _Named, parts: PartsHere) -> Promotion:
    """What a promotion would deploy now, and what it would replace. Changes nothing."""
    async with parts.database.reading() as reading:
        return await promotions.preview(reading, service_name(name), environment_name(source), environment_name(target))


HANDLERS = (put_environment, list_environments, remove_environment, promote_release, preview_promotion)
