"""What a word names: a service, deployment, region or machine, by its name or id, the beginning of one, or KIND:NAME."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from fleetcast.model.errors import Invalid, NotFound
from fleetcast.model.ids import DeploymentId, ServiceName, service_name
from fleetcast.model.messages.fleet import Kind, Named

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient

DEPLOYMENT_ID_CHARS: Final = 16
_DEPLOYMENT_ID: Final = re.compile(rf"[0-9a-f]{{{DEPLOYMENT_ID_CHARS}}}")
_LOOKED_THROUGH: Final = 20
"""Newest deployments of a service among which one is unfinished, if any is: a new one supersedes those before."""


async def meant(control: ControlClient, what: str, kinds: Sequence[Kind] = tuple(Kind)) -> Named:
    """The one thing of ``kinds`` that ``what`` names.

    Raises:
        NotFound: nothing has this name.
        Invalid: several things have it, or only some of another kind, or there is no such kind of thing.
    """
    kind, colon, name = what.partition(":")
    if colon:
        if kind not in [*kinds]:
            raise Invalid("unknown_kind", f"there is no kind {kind!r}: write {', '.join(f'{each}:NAME' for each in kinds)}")
        if kind == Kind.DEPLOYMENT and not _DEPLOYMENT_ID.fullmatch(name):
            return await meant(control, name, (Kind.DEPLOYMENT,))
        return Named(Kind(kind), name)
    meaning = await control.names(what)
    found = [each for each in meaning.named if each.kind in kinds]
    if len(found) == 1:
        return found[0]
    if found:
        kinds_found = " and ".join(dict.fromkeys(f"a {each.kind}" for each in found))
        several = f"{what} is {kinds_found}" if found[0].name == what else f"several deployments begin with {what}"
        raise Invalid("ambiguous_name", f"{several}: write {' or '.join(f'{each.kind}:{each.name}' for each in found)}")
    wanted = " or ".join(kinds) if len(kinds) < len(Kind) else "service, deployment, region or machine"
    if meaning.named:
        raise Invalid("wrong_kind", f"{what} is a {meaning.named[0].kind}, no {wanted}: fleetcast status shows what there is")
    if near := ", ".join(f"{each.name} ({each.kind})" for each in meaning.near if each.kind in kinds):
        raise NotFound("unknown_name", f"nothing here is called {what!r}: did you mean {near}?")
    raise NotFound("unknown_name", f"no {wanted} is called {what!r}: fleetcast status shows what there is")


async def deployable_meant(control: ControlClient, what: str) -> Named:
    """A deployment or a service; what can only be a deployment's id is not looked up. Raises as :func:`meant`."""
    if _DEPLOYMENT_ID.fullmatch(what):
        return Named(Kind.DEPLOYMENT, what)
    return await meant(control, what, (Kind.SERVICE, Kind.DEPLOYMENT))


async def deployment_meant(control: ControlClient, what: str, environment: str | None = None) -> DeploymentId:
    """A deployment by its id; of a service by its name: the unfinished one, else the newest. ``environment``: of the service;
    ``None``: its own. Raises as :func:`meant`."""
    named = await deployable_meant(control, what)
    if named.kind is Kind.DEPLOYMENT:
        if environment is not None:
            raise Invalid(
                "environment_of_deployment", f"{what} is a deployment, and in one environment: leave out --environment"
            )
        return DeploymentId(named.name)
    service = service_name(named.name)
    where = environment or await own_environment(control, service)
    newest = (await control.deployment_page(service=service, environment=where, limit=_LOOKED_THROUGH)).items
    if not newest:
        there = f" in {environment}" if environment else ""
        raise NotFound("no_deployment", f"{service} has no deployments{there}; next: fleetcast deploy {service}@SHA")
    return next((each.id for each in newest if not each.state.ended), newest[0].id)


async def own_environment(control: ControlClient, service: ServiceName) -> str | None:
    """The one that is meant where none is named; ``None``: of a service that was removed, whichever."""
    try:
        return (await control.service(service)).environment
    except NotFound:
        return None
