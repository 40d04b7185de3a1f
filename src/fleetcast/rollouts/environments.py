"""The environments of services: their own, which is part of the service, and others beside it.

No machine is meant by two environments of a service: their selectors must exclude each other whatever a machine's labels are,
and so must the goals that machines still have. So a machine never has to choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.deployment import Deployment
from fleetcast.model.errors import NotFound, Refused, Unprocessable
from fleetcast.model.event import EventKind
from fleetcast.model.ids import ServiceName
from fleetcast.model.limits import ENVIRONMENTS_MAX
from fleetcast.model.machine import Selector
from fleetcast.model.messages.environments import Environment, EnvironmentSpec
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.rollouts.counting import expected
from fleetcast.rollouts.deployments import deployment_rows, shown_deployment
from fleetcast.rollouts.goals import standing
from fleetcast.rollouts.services import get_service
from fleetcast.schema.columns import AnyRow, limits_of
from fleetcast.schema.environment_tables import environments
from fleetcast.schema.events import record_event
from fleetcast.schema.tables import deployments, goals
from fleetcast.schema.upsert import upsert
from fleetcast.stores.database import read_clock_ms


async def service_in(reading: AsyncConnection, name: ServiceName, environment: str | None) -> ServiceSpec:
    """The service as it is in one of its environments: with that one's machines, plan and limits. ``None``: its own.

    Raises:
        NotFound: there is no such service, or it has no such environment.
    """
    spec = await get_service(reading, name)
    if environment is None or environment == spec.environment:
        return spec
    row = await _row(reading, name, environment)
    if row is None:
        known = ", ".join([spec.environment, *(other.name for other in await others_of(reading, name))])
        raise NotFound(
            "unknown_environment",
            f"{name} has no environment {environment!r}: it has {known}; fleetcast environment add makes one",
        )
    return _in(spec, row)


async def put_environment(tx: AsyncConnection, wanted: EnvironmentSpec) -> None:
    """Create or change an environment, or bring back one that was removed. What was triggered before keeps what it was
    triggered with.

    Raises:
        NotFound: there is no such service, or it has not the environment that is required.
        Refused: it is the service's own; another one may mean the same machines, or takes the pushes; there are too many.
        Unprocessable: it requires itself.
    """
    spec = await get_service(tx, wanted.service)
    if wanted.name == spec.environment:
        raise Refused(
            "own_environment", f"{wanted.name} is the environment of {spec.name} itself: fleetcast service add describes it"
        )
    others = [row for row in await others_of(tx, spec.name) if row.name != wanted.name]
    if len(others) >= ENVIRONMENTS_MAX:
        raise Refused("too_many_environments", f"{spec.name} has {ENVIRONMENTS_MAX} environments already: remove one of them")
    _must_be_apart(spec.name, wanted.name, wanted.selector, spec.environment, spec.selector)
    for other in others:
        _must_be_apart(spec.name, wanted.name, wanted.selector, other.name, other.selector)
        if wanted.takes_pushes and other.takes_pushes:
            raise Refused("pushes_taken", f"pushes of {spec.name} go to {other.name}: add that again without, first")
    await must_be_there(tx, spec.name, wanted.requires, of=wanted.name)
    now = await read_clock_ms(tx)
    before = await _row(tx, spec.name, wanted.name)
    changeable = {
        "selector": wanted.selector,
        **asdict(wanted.limits),
        "plan": wanted.plan,
        "requires": wanted.requires,
        "takes_pushes": wanted.takes_pushes,
        "updated_at": now,
        "removed_at": None,
    }
    key = {"service": spec.name, "name": wanted.name}
    await upsert(tx, environments, [{**key, "created_at": now, **changeable}], update=list(changeable))
    text = "created" if before is None else "changed"
    record_event(tx, EventKind.ENVIRONMENT_PUT, wanted.name, service=spec.name, text=text)


async def must_be_there(tx: AsyncConnection, service: ServiceName, requires: str | None, *, of: str) -> None:
    """What an environment requires is another one of its service. Raises :class:`NotFound`, :class:`Unprocessable`."""
    if requires == of:
        raise Unprocessable("requires_itself", f"{of} cannot require itself: name the environment that comes before it")
    if requires is not None:
        await service_in(tx, service, requires)


async def service_may_be(tx: AsyncConnection, spec: ServiceSpec) -> None:
    """Whether a service may be described so, its other environments being what they are.

    Raises:
        Refused: one of them may mean the same machines.
        NotFound, Unprocessable: it requires one that it has not.
    """
    others = await others_of(tx, spec.name)
    for other in others:
        _must_be_apart(spec.name, spec.environment, spec.selector, other.name, other.selector)
    if spec.requires == spec.environment:
        await must_be_there(tx, spec.name, spec.requires, of=spec.environment)
    if spec.requires is not None and spec.requires not in {other.name for other in others}:
        raise NotFound(
            "unknown_environment",
            f"{spec.name} has no environment {spec.requires!r} that it could require: "
            f"fleetcast environment add {spec.name} {spec.requires}, then describe the service so",
        )


async def must_hold_no_machine(tx: AsyncConnection, spec: ServiceSpec) -> None:
    """Whether no machine of this environment still has the goal of another one, from when that meant it.

    Raises:
        Refused: one may have.
    """
    other = select(goals).where(goals.c.service == spec.name, goals.c.environment != spec.environment)
    for row in (await tx.execute(other.where(goals.c.value.is_not(None)))).all():
        goal = standing(row).goal
        if goal is not None and not goal.removed and not spec.selector.apart_from(goal.selector):
            raise Refused(
                "environments_overlap",
                f"machines of {spec.environment} may still have {spec.name} from {row.environment}, which meant them when it "
                f"was deployed last: deploy to {row.environment} once more, so that it lets go of them",
            )


async def others_of(reading: AsyncConnection, service: ServiceName) -> Sequence[AnyRow]:
    """Rows of a service's environments but its own, by name; those that were removed left out."""
    there = environments.c.service == service, environments.c.removed_at.is_(None)
    return (await reading.execute(select(environments).where(*there).order_by(environments.c.name))).all()


async def pushes_go_to(reading: AsyncConnection, service: ServiceName) -> str | None:
    """The environment that takes what a push deploys; ``None``: the service's own."""
    return next((row.name for row in await others_of(reading, service) if row.takes_pushes), None)


async def environments_of(reading: AsyncConnection, name: ServiceName) -> tuple[Environment, ...]:
    """All of a service's, its own first. Raises :class:`NotFound`."""
    own = await get_service(reading, name)
    rows = await others_of(reading, name)
    takes_pushes = next((row.name for row in rows if row.takes_pushes), own.environment)
    specs = [own, *(_in(own, row) for row in rows)]
    return tuple([await _environment(reading, spec, own, spec.environment == takes_pushes) for spec in specs])


async def remove_row(tx: AsyncConnection, service: ServiceName, environment: str, now_ms: int) -> None:
    """Mark an environment as removed; what its machines are told is the caller's.

    Raises:
        NotFound: there is none of that name.
        Refused: it is the service's own, or another one requires it.
    """
    spec = await service_in(tx, service, environment)
    own = await get_service(tx, service)
    if environment == own.environment:
        raise Refused(
            "own_environment", f"{environment} is the environment of {service} itself: fleetcast service remove {service}"
        )
    asking = [one.name for one in await others_of(tx, service) if one.requires == spec.environment]
    asking += [own.environment] if own.requires == spec.environment else []
    if asking:
        raise Refused("environment_required", f"{asking[0]} of {service} requires {environment}: describe that anew first")
    which = environments.c.service == service, environments.c.name == environment
    await tx.execute(update(environments).where(*which).values(removed_at=now_ms, updated_at=now_ms, takes_pushes=False))
    record_event(tx, EventKind.ENVIRONMENT_REMOVED, environment, service=service)


async def running_in(reading: AsyncConnection, service: ServiceName, environment: str) -> AnyRow | None:
    """The row of the deployment that an environment's goal names; ``None``: there is no goal, or it is a tombstone."""
    which = goals.c.service == service, goals.c.environment == environment
    row = (await reading.execute(select(goals).where(*which))).one_or_none()
    goal = None if row is None else standing(row).goal
    if goal is None or goal.removed:
        return None
    return (await reading.execute(deployment_rows().where(deployments.c.id == goal.deployment))).one_or_none()


async def _environment(reading: AsyncConnection, spec: ServiceSpec, own: ServiceSpec, takes_pushes: bool) -> Environment:
    newest = (
        deployment_rows()
        .where(deployments.c.service == spec.name, deployments.c.environment == spec.environment)
        .order_by(deployments.c.sequence.desc())
        .limit(1)
    )
    last = (await reading.execute(newest)).one_or_none()
    runs = await running_in(reading, spec.name, spec.environment)
    return Environment(
        service=spec.name,
        name=spec.environment,
        default=spec.environment == own.environment,
        selector=spec.selector,
        limits=spec.limits,
        plan=spec.plan,
        requires=spec.requires,
        takes_pushes=takes_pushes,
        machines=sum((await expected(reading, spec.selector)).values()),
        newest=await _shown(reading, last),
        runs=await _shown(reading, runs),
    )


async def _shown(reading: AsyncConnection, row: AnyRow | None) -> Deployment | None:
    return None if row is None else await shown_deployment(reading, row)


async def _row(reading: AsyncConnection, service: ServiceName, environment: str) -> AnyRow | None:
    return next((row for row in await others_of(reading, service) if row.name == environment), None)


def _in(spec: ServiceSpec, row: AnyRow) -> ServiceSpec:
    return replace(
        spec,
        environment=row.name,
        selector=row.selector,
        **asdict(limits_of(row)),
        plan=row.plan,
        requires=row.requires,
    )


def _must_be_apart(service: ServiceName, one: str, ones: Selector, other: str, others: Selector) -> None:
    if not ones.apart_from(others):
        raise Refused(
            "environments_overlap",
            f"a machine could be meant by {one} and by {other} of {service}: give both the same label with different values "
            f"(env={one}, env={other}), or regions or zones that differ",
        )
