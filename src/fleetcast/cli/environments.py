"""``fleetcast environment`` and ``fleetcast release promote``: where a service runs, and what goes from there to where."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from fleetcast.cli.at_once import UNBOUNDED, AtOnce
from fleetcast.cli.connection import NO_CONNECTION, Connection
from fleetcast.cli.output import print_json, short
from fleetcast.cli.terminal import print_table

if TYPE_CHECKING:
    from fleetcast.cli.commit_log import Between
    from fleetcast.client.control import ControlClient
    from fleetcast.model.deployment import Deployment
    from fleetcast.model.ids import ServiceName
    from fleetcast.model.messages.environments import Promotion


def add(
    service: str,
    name: str,
    *,
    region: tuple[str, ...] = (),
    zone: tuple[str, ...] = (),
    label: tuple[str, ...] = (),
    plan: str = "all-at-once",
    at_once: AtOnce = UNBOUNDED,
    requires: str | None = None,
    takes_pushes: bool = False,
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> None:
    """Create an environment of a service beside its own, or describe one anew: what is left out has its default again.

    No machine may be meant by two environments of a service.

    For example: `fleetcast environment add web staging --label env=staging`

    Parameters
    ----------
    service
        The service.
    name
        1 to 63 of a-z, 0-9 and '-'.
    region
        Only machines of this region; repeatable.
    zone
        Only machines of this zone; repeatable.
    label
        Only machines with this label, KEY=VALUE; repeatable, all must hold.
    plan
        How deployments to it are rolled out: all-at-once, canary, region-by-region, cautious, or the path of a TOML file.
    requires
        The environment in which what comes here has to have succeeded before.
    takes_pushes
        What a push deploys comes here, not to the service's own environment.
    json
        Print the environment as JSON.
    """
    from fleetcast.cli.plans import policy_of
    from fleetcast.cli.services import selection, selector_of
    from fleetcast.model.ids import environment_name, service_name
    from fleetcast.model.messages.environments import EnvironmentSpec

    spec = EnvironmentSpec(
        service_name(service),
        environment_name(name),
        selector_of(region, zone, label),
        plan=policy_of(plan),
        requires=requires,
        takes_pushes=takes_pushes,
    )
    stored = connection.ask(lambda control: control.put_environment(at_once.of(spec)))
    if json:
        print_json(stored)
        return
    machines = "no machine matches yet" if not stored.machines else f"machines: {stored.machines}"
    following = f"next: fleetcast deploy {service}@SHA --environment {name}"
    print(f"environment {name} of {service} runs on {selection(stored.selector)} ({machines}); {following}")


def list_environments(service: str, *, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """List the environments of a service, and what each runs. The first is its own, which is meant where none is named.

    For example: `fleetcast environment list web`

    Parameters
    ----------
    service
        The service.
    json
        Print them as JSON.
    """
    from fleetcast.cli.services import selection
    from fleetcast.model.ids import service_name

    found = connection.ask(lambda control: control.environments(service_name(service)))
    if json:
        print_json(found)
        return
    rows = [
        [
            one.name,
            selection(one.selector),
            str(one.machines),
            one.plan.name,
            one.requires or "-",
            "yes" if one.takes_pushes else "-",
            "-" if one.runs is None else f"{short(one.runs.commit_sha)} ({one.runs.state})",
        ]
        for one in found
    ]
    print_table(["ENVIRONMENT", "RUNS ON", "MACHINES", "PLAN", "REQUIRES", "PUSHES", "RUNS"], rows)


def remove(service: str, name: str, *, yes: bool = False, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Stop a service on the machines of an environment, and forget that. Its data and logs stay on the machines.

    For example: `fleetcast environment remove web staging`, and in a script `fleetcast environment remove web staging --yes`

    Parameters
    ----------
    service
        The service.
    name
        The environment.
    yes
        Do not ask; needed where there is no terminal.
    json
        Print what was done as JSON.
    """
    from fleetcast.cli.services import confirm
    from fleetcast.model.ids import environment_name, service_name
    from fleetcast.model.spans import span

    wanted, environment = service_name(service), environment_name(name)
    if not yes:
        confirm(f"{wanted} on every machine of {environment}", environment)
    gone = connection.ask(lambda control: control.remove_environment(wanted, environment))
    if json:
        print_json(gone)
    elif gone.machines:
        machines = "1 machine stops it" if gone.machines == 1 else f"{gone.machines} machines stop it"
        away = f"one that is away does so when it is back within {span(gone.tombstone_s)}"
        print(f"environment {name} of {service} is removed: {machines}; {away}")
    else:
        print(f"environment {name} of {service} is removed: nothing ran there")


def promote(
    service: str,
    source: str,
    target: str,
    *,
    plan: str | None = None,
    override_freeze: str = "",
    override: str = "",
    dry_run: bool = False,
    no_wait: bool = False,
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> int:
    """Deploy to one environment of a service exactly what runs in another: the same artifact, nothing is built.

    Prints the commits between what runs there now and what will.

    For example: `fleetcast release promote web staging production`

    Parameters
    ----------
    service
        The service.
    source
        The environment whose release it is.
    target
        The environment that it goes to.
    plan
        How it is rolled out, instead of as the environment says: all-at-once, canary, region-by-region, cautious, or the
        path of a TOML file.
    override_freeze
        Why freezes do not hold it: it is recorded, with your name.
    override
        Why it may go although the environment requires something that does not hold. It is recorded.
    dry_run
        Print what would be deployed, and do nothing.
    no_wait
        Only trigger it.
    json
        Print the deployment as JSON, at the end; with --dry-run what would be deployed.
    """
    from fleetcast.cli.deployments import result, to_the_end
    from fleetcast.cli.plans import policy_of
    from fleetcast.model.ids import environment_name, service_name
    from fleetcast.model.messages.environments import PromoteRequest

    wanted, policy = service_name(service), None if plan is None else policy_of(plan)
    ends = environment_name(source), environment_name(target)

    async def trigger(control: ControlClient) -> Deployment | None:
        found = await control.promotion(wanted, *ends)
        commits, why = await asyncio.to_thread(_commits, found)
        if dry_run and json:
            print_json({"promotion": found, "commits": commits})
        else:
            print(_promotion_text(found, commits, why), file=sys.stderr if json else None, flush=True)
        if dry_run:
            return None
        request = PromoteRequest(wanted, *ends, found.release.digest, policy, override_freeze, override)
        triggered = await control.promote_release(request)
        return triggered if no_wait else await to_the_end(control, triggered.id, json=json)

    deployment = connection.ask(trigger)
    return 0 if deployment is None else result(deployment, json=json, waited=not no_wait)


async def must_be_understood(control: ControlClient, service: ServiceName, environment: str | None) -> None:
    """A control of the version before would not see which environment a request names, and act on the service's own.

    Raises:
        NotFound: it is of that version; or there is no such service.
    """
    if environment is not None:
        await control.environments(service)


def _commits(found: Promotion) -> tuple[Between | None, str]:
    """The commits between; or why they are not known, which holds up nothing."""
    from fleetcast.cli.commit_log import between
    from fleetcast.model.errors import FleetcastError

    if found.replaces is None:
        return None, ""
    try:
        return between(found.repository, found.replaces.commit_sha, found.commit_sha), ""
    except FleetcastError as error:
        return None, error.message


def _promotion_text(found: Promotion, commits: Between | None, why: str) -> str:
    from fleetcast.cli.commit_log import between_text

    now = "nothing" if found.replaces is None else f"{short(found.replaces.commit_sha)} ({found.replaces.state})"
    lines = [
        f"{found.source} runs {found.release.artifact} (digest {short(found.release.digest)}), {found.target} {now}",
    ]
    if commits is not None:
        lines.append(between_text(commits))
    elif why:
        lines.append(f"the commits between are not known here: {why}")
    if found.there_already:
        lines.append(f"note: {found.target} runs it already")
    if found.refused:
        lines.append(f"note: {found.refused}")
    return "\n".join(lines)
