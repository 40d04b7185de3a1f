"""Registering a service: what of its description is legal."""

from __future__ import annotations

from dataclasses import replace

from fleetcast.http import messages
from fleetcast.model.build import broken_recipe
from fleetcast.model.errors import Invalid, NotFound, Refused, Unprocessable
from fleetcast.model.ids import environment_name, region_name, service_name
from fleetcast.model.limits import POLL_EVERY_S_MAX, POLL_EVERY_S_MIN, REGION_MACHINES_MAX, SERVICE_SPEC_BYTES_MAX
from fleetcast.model.messages.environments import EnvironmentSpec
from fleetcast.model.messages.services import REPOSITORY, TRUNK, ServiceSpec
from fleetcast.model.protocol import PROTOCOL
from fleetcast.model.push import OnPush
from fleetcast.rollouts.environments import put_environment, service_may_be
from fleetcast.rollouts.plan_lint import must_be_legal
from fleetcast.rollouts.services import known_service, put_service
from fleetcast.rollouts.time_zones import must_be_known
from fleetcast.stores.database import Database


async def register(database: Database, spec: ServiceSpec) -> ServiceSpec:
    """Store a service; returns it as stored.

    Raises:
        Invalid: a name in it is illegal, the repository is missing, or a limit is not positive.
        Unprocessable: it is too large as a whole, its recipe is none that a machine could carry out, its plan cannot be taken,
            or what it says of pushes makes no sense together.
        Refused: its own environment is another one, or one of its environments may mean the same machines.
        NotFound: it requires an environment that it has not.
    """
    _check(spec)
    async with database.transaction() as tx:
        try:
            environment = (await known_service(tx, spec.name)).environment
        except NotFound:
            environment = spec.environment
        if environment != spec.environment:
            # The goal under the old environment's key would go on standing, and nobody would ever change it again.
            raise Refused(
                "environment_fixed",
                f"{spec.name} is in environment {environment!r}: fleetcast environment add {spec.name} {spec.environment}",
            )
        await service_may_be(tx, spec)
        await put_service(tx, spec)
    return replace(spec, protocol=PROTOCOL)


async def register_environment(database: Database, spec: EnvironmentSpec) -> None:
    """Store an environment of a service.

    Raises:
        Invalid, Unprocessable: as :func:`register`.
        NotFound, Refused: as :func:`~fleetcast.rollouts.environments.put_environment`.
    """
    service_name(spec.service)
    environment_name(spec.name)
    _check_rollouts(spec)
    async with database.transaction() as tx:
        await put_environment(tx, spec)


def _check(spec: ServiceSpec) -> None:
    service_name(spec.name)
    environment_name(spec.environment)
    if not spec.repository:
        raise Invalid("no_repository", f"{spec.name} needs a repository: a path or URL that git clone takes")
    for what, spelling, text in (("repository", REPOSITORY, spec.repository), ("trunk", TRUNK, spec.trunk)):
        if not spelling.fits(text):
            raise Invalid(f"illegal_{what}", f"{text!r} is no {what}: it must not start with '-'")
    broken = broken_recipe(spec.recipe)
    if broken is not None:
        raise Unprocessable("illegal_recipe", f"the recipe of {spec.name} cannot be carried out: {broken}")
    _check_pushes(spec)
    _check_rollouts(spec)


def _check_rollouts(spec: ServiceSpec | EnvironmentSpec) -> None:
    if len(messages.encode(spec)) > SERVICE_SPEC_BYTES_MAX:
        raise Unprocessable(
            "service_too_large", f"{spec.name} is described by more than {SERVICE_SPEC_BYTES_MAX} bytes: shorten it"
        )
    for region in spec.selector.regions:
        region_name(region)
    if spec.requires is not None:
        environment_name(spec.requires)
    must_be_legal(spec.plan)
    must_be_known(spec.plan.freezes)
    for name, most in spec.limits.stated().items():
        if most < 1:
            raise Invalid("illegal_max_unavailable", f"{name} is {most}: with less than 1 nothing could ever be replaced")
        if most > REGION_MACHINES_MAX:
            raise Invalid("illegal_max_unavailable", f"{name} is at most {REGION_MACHINES_MAX}: leave it out for no limit")


def _check_pushes(spec: ServiceSpec) -> None:
    if spec.on_push is not OnPush.NOTHING and not spec.trunk:
        raise Unprocessable(
            "no_trunk_to_follow", f"{spec.name} takes commits of any branch: say which one is followed, with --trunk"
        )
    if spec.poll_every_s is None:
        return
    if not POLL_EVERY_S_MIN <= spec.poll_every_s <= POLL_EVERY_S_MAX:
        raise Invalid(
            "illegal_poll_every", f"poll_every_s is {spec.poll_every_s}: it must be {POLL_EVERY_S_MIN} to {POLL_EVERY_S_MAX} s"
        )
    if spec.on_push is OnPush.NOTHING:
        raise Unprocessable(
            "poll_for_nothing", f"{spec.name} wants nothing on a push: say --on-push build or deploy, or do not poll"
        )
