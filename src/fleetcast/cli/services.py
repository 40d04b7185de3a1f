"""``fleetcast service``: what is deployed, and where to."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from fleetcast.cli.at_once import UNBOUNDED, AtOnce, at_once_text
from fleetcast.cli.connection import NO_CONNECTION, Connection, everything
from fleetcast.cli.output import print_json, seconds
from fleetcast.cli.plans import policy_of
from fleetcast.cli.terminal import print_table

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient
    from fleetcast.model.build import Recipe
    from fleetcast.model.machine import Selector
    from fleetcast.model.messages.services import ServiceSpec


def add(
    name: str,
    repository: str,
    *,
    trunk: str = "main",
    region: tuple[str, ...] = (),
    zone: tuple[str, ...] = (),
    label: tuple[str, ...] = (),
    build: str | None = None,
    output: str | None = None,
    activate: str | None = None,
    health: str | None = None,
    network: bool | None = None,
    at_once: AtOnce = UNBOUNDED,
    plan: str = "all-at-once",
    requires: str | None = None,
    on_push: Literal["nothing", "build", "deploy"] = "nothing",
    poll_every: int | None = None,
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> None:
    """Create a service, or describe one anew: what is left out has its default again. Without a selection it runs everywhere.

    For example: `fleetcast service add web ~/src/web --region eu --label role=web --health ./check`

    Parameters
    ----------
    name
        1 to 63 of a-z, 0-9 and '-'.
    repository
        Path or URL that git can clone, seen from the workers.
    trunk
        The branch commits must be on.
    region
        Only machines of this region; repeatable.
    zone
        Only machines of this zone; repeatable.
    label
        Only machines with this label, KEY=VALUE; repeatable, all must hold.
    build
        Build command; wins over the commit's fleetcast.toml, like the four below.
    output
        File or directory that becomes the artifact.
    activate
        Command that runs the service.
    health
        Command that exits 0 when the service is well.
    network
        Whether the build command may use the network.
    plan
        How deployments are rolled out: all-at-once, canary, region-by-region, cautious, or the path of a TOML file.
    requires
        The environment of the service in which what comes to its own has to have succeeded before.
    on_push
        What a new head of the trunk triggers, once control hears of it.
    poll_every
        Seconds between two looks at the trunk, where no webhook can call control; default: it waits for webhooks.
    json
        Print the service as JSON.
    """
    from fleetcast.model.build import Recipe
    from fleetcast.model.ids import service_name
    from fleetcast.model.messages.services import ServiceSpec
    from fleetcast.model.push import OnPush

    wanted, (location, empty) = service_name(name), _located(repository, trunk)
    recipe = Recipe(build=build, output=output, activate=activate, health=health, network=network)
    spec = ServiceSpec(wanted, location, trunk, selector=selector_of(region, zone, label), recipe=recipe, plan=policy_of(plan))
    spec = replace(at_once.of(spec), on_push=OnPush(on_push), poll_every_s=poll_every, requires=requires)
    _show_stored(*connection.ask(lambda control: _put(control, spec)), empty=empty, json=json)


def _show_stored(before: ServiceSpec | None, stored: ServiceSpec, *, empty: bool, json: bool) -> None:
    if json:
        print_json(stored)
    else:
        print(_set_up(stored, empty=empty) if before is None else changes_text(before, stored))


def _set_up(spec: ServiceSpec, *, empty: bool) -> str:
    first = f"its repository is empty: commit to {spec.trunk or 'a branch'} there, then" if empty else "next:"
    return f"service {spec.name} is set up; {first} fleetcast deploy {spec.name}@SHA{_followed(spec)}"


def _followed(spec: ServiceSpec) -> str:
    if spec.on_push == "nothing":
        return ""
    heard = "once a webhook tells control of it" if spec.poll_every_s is None else f"looked for every {spec.poll_every_s} s"
    return f"\na push to {spec.trunk} is to {spec.on_push} it, {heard}"


def _located(repository: str, trunk: str) -> tuple[str, bool]:
    """A repository as workers will see it, and whether it is known to be empty. Raises as :func:`git.located`, and
    :class:`NotFound` where there is no such trunk."""
    from fleetcast.cli import git
    from fleetcast.model.branches import no_trunk

    location, branches = git.located(repository)
    if branches and trunk and trunk not in branches:
        raise no_trunk(trunk, branches, "say --trunk")
    return location, branches == ()


async def _put(control: ControlClient, spec: ServiceSpec) -> tuple[ServiceSpec | None, ServiceSpec]:
    """The service before, if it was there, and now."""
    from fleetcast.model.errors import NotFound

    before = None
    with contextlib.suppress(NotFound):
        before = await control.service(spec.name)
    return before, await control.put_service(spec)


def list_services(*, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """List the services.

    For example: `fleetcast service list`

    Parameters
    ----------
    json
        Print them as JSON.
    """
    services = connection.ask(lambda control: everything(control.services()))
    if json:
        print_json(services)
    elif not services:
        print("no services; next: fleetcast service add NAME REPOSITORY")
    else:
        print_table(
            ["SERVICE", "TRUNK", "RUNS ON", "REPOSITORY"],
            [[s.name, s.trunk, selection(s.selector), s.repository] for s in services],
        )


def show(name: str, *, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Show one service and its newest deployments.

    For example: `fleetcast service show web`

    Parameters
    ----------
    name
        The service.
    json
        Print both as JSON.
    """
    from fleetcast.cli.deployments import SHOWN
    from fleetcast.cli.status import deployments_table
    from fleetcast.model.deployment import Deployment
    from fleetcast.model.ids import service_name

    wanted = service_name(name)

    async def look(control: ControlClient) -> tuple[ServiceSpec, tuple[Deployment, ...]]:
        return await control.service(wanted), (await control.deployment_page(service=wanted, limit=SHOWN)).items

    spec, deployments = connection.ask(look)
    if json:
        print_json({"service": spec, "deployments": deployments})
        return
    print(f"{spec.name}: {spec.repository}, commits on {spec.trunk or 'any branch'}, runs on {selection(spec.selector)}")
    print(f"  max-unavailable: {_facts(spec)['max-unavailable']}")
    if spec.plan.all_stages:
        print(f"  plan: {_facts(spec)['plan']}")
    if spec.on_push != "nothing":
        print(f"  on push: {_facts(spec)['on push']}, polled: {_facts(spec)['polled']}")
    for part, said in _overrides(spec.recipe).items():
        if said is not None:
            print(f"  {part}: {said}")
    if deployments:
        print(deployments_table(deployments))


def remove(name: str, *, yes: bool = False, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Stop a service on every machine and forget it. Its data and logs stay on the machines, its deployments on record.

    `fleetcast service add` brings it back, and the next deployment starts it. A machine that is away learns of the removal
    when it is back within 30 days.

    For example: `fleetcast service remove web`, and in a script `fleetcast service remove web --yes`

    Parameters
    ----------
    name
        The service.
    yes
        Do not ask; needed where there is no terminal.
    json
        Print what was done as JSON.
    """
    from fleetcast.model.ids import service_name
    from fleetcast.model.spans import span

    wanted = service_name(name)
    if not yes:
        connection.ask(lambda control: control.service(wanted))
        confirm(f"{wanted} on every machine", wanted)
    gone = connection.ask(lambda control: control.remove_service(wanted))
    if json:
        print_json(gone)
    elif gone.machines:
        machines = "1 machine stops it" if gone.machines == 1 else f"{gone.machines} machines stop it"
        away = f"one that is away does so when it is back within {span(gone.tombstone_s)}"
        print(f"service {name} is removed: {machines}; {away}")
    else:
        print(f"service {name} is removed: it runs nowhere")


def confirm(stopped: str, name: str) -> None:
    """Ask a person to type a name before something is stopped.

    Raises :class:`Invalid` where nobody is there, :class:`Refused`.
    """
    from fleetcast.model.errors import Invalid, Refused

    if not sys.stdin.isatty():
        raise Invalid("no_terminal", f"this stops {stopped}: say --yes")
    print(f"This stops {stopped}. To confirm, type its name: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != name:
        raise Refused("not_confirmed", f"that is not {name}: nothing was removed")


def changes_text(before: ServiceSpec, now: ServiceSpec) -> str:
    """What a service's new description has changed, in one line."""
    was = _facts(before)
    changed = [f"{what} {said} (was: {was[what]})" for what, said in _facts(now).items() if said != was[what]]
    return f"service {now.name} changed: {', '.join(changed)}" if changed else f"service {now.name} is as it was"


def _facts(spec: ServiceSpec) -> dict[str, str]:
    return {
        "repository": spec.repository,
        "trunk": spec.trunk or "any branch",
        "runs on": selection(spec.selector),
        "max-unavailable": at_once_text(spec.limits),
        "plan": spec.plan.name,
        "requires": spec.requires or "nothing",
        "on push": spec.on_push.value,
        "polled": "no" if spec.poll_every_s is None else f"every {spec.poll_every_s} s",
        **{part: "as the commit says" if said is None else said for part, said in _overrides(spec.recipe).items()},
    }


def _overrides(recipe: Recipe) -> dict[str, str | None]:
    """Each part of a recipe that can win over the commit's; ``None``: the commit's holds."""
    return {
        "build": recipe.build,
        "output": recipe.output,
        "activate": recipe.activate,
        "health": _health(recipe),
        "health timeout": None if recipe.health_timeout_s is None else seconds(recipe.health_timeout_s),
        "drain": None if recipe.drain_s is None else seconds(recipe.drain_s),
        "user": recipe.user,
        "sockets": " ".join(recipe.sockets) or None,
        "environment": " ".join(f"{key}={value}" for key, value in recipe.environment.items()) or None,
        "build environment": " ".join(f"{key}={value}" for key, value in recipe.build_environment.items()) or None,
        "network": None if recipe.network is None else "yes" if recipe.network else "no",
    }


def _health(recipe: Recipe) -> str | None:
    probe = recipe.probe
    return recipe.health if probe is None else probe.http or probe.tcp or probe.unit or recipe.health


def selector_of(regions: tuple[str, ...], zones: tuple[str, ...], labels: tuple[str, ...]) -> Selector:
    """Machines as options say. Raises :class:`Invalid`."""
    from fleetcast.model.ids import region_name
    from fleetcast.model.machine import Selector

    return Selector(tuple(map(region_name, regions)), zones, dict(map(_label, labels)))


def _label(text: str) -> tuple[str, str]:
    from fleetcast.model.errors import Invalid

    key, equals, value = text.partition("=")
    if not (key and equals):
        raise Invalid("bad_label", f"--label {text}: expected KEY=VALUE")
    return key, value


def selection(selector: Selector) -> str:
    """Which machines, in a few words."""
    labels = tuple(f"{key}={value}" for key, value in selector.labels.items())
    return " ".join((*selector.regions, *selector.zones, *labels)) or "every machine"
