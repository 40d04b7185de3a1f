"""Deploying, going back, and looking at it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from fleetcast.cli import commits
from fleetcast.cli.connection import NO_CONNECTION, Connection
from fleetcast.cli.environments import must_be_understood
from fleetcast.cli.failures import tell_failed_build
from fleetcast.cli.output import print_json, seconds, short, size
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import Incompatible, Invalid
from fleetcast.model.spans import at_most

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient
    from fleetcast.model.build import Build
    from fleetcast.model.deployment import Deployment
    from fleetcast.model.ids import DeploymentId
    from fleetcast.model.messages.deployments import Preview

_BUILD: Final = "build:"
_USUAL: Final = "production"
"""The environment that goes without saying."""
SHOWN: Final = 20
"""Newest deployments of a service."""


def deploy(
    what: str,
    *,
    rebuild: bool = False,
    allow_unmerged: bool = False,
    urgent: bool = False,
    plan: str | None = None,
    override_freeze: str = "",
    environment: str | None = None,
    override: str = "",
    dry_run: bool = False,
    no_wait: bool = False,
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> int:
    """Take a commit to the service's machines. A commit that is built already is not built again.

    For example: `fleetcast deploy web@main`, `fleetcast deploy web@7e583c86`, or `fleetcast deploy web@main --plan canary`

    Parameters
    ----------
    what
        SERVICE@REV: a SHA, the beginning of one, a branch or a tag.
    rebuild
        Build again although there is an artifact.
    allow_unmerged
        Take a commit that is not on the service's trunk.
    urgent
        Let its build pass ordinary ones in line: a hotfix.
    plan
        How it is rolled out, instead of as the service says: all-at-once, canary, region-by-region, cautious, or the path of a
        TOML file.
    override_freeze
        Why freezes do not hold it: it is recorded, with your name.
    environment
        Of the service; default: its own.
    override
        Why it may come although the environment requires something that does not hold. It is recorded.
    dry_run
        Print what would happen wave by wave, and do nothing.
    no_wait
        Only trigger it.
    json
        Print the deployment as JSON, at the end.
    """
    from fleetcast.cli.plans import policy_of, preview_text
    from fleetcast.model.messages.deployments import DeployRequest, PreviewRequest

    wanted, policy = commits.parse(what), None if plan is None else policy_of(plan)
    if dry_run:

        async def look(control: ControlClient) -> Preview:
            await must_be_understood(control, wanted.service, environment)
            return await control.preview(PreviewRequest(wanted.service, policy, environment))

        preview = connection.ask(look)
        print_json(preview) if json else print(preview_text(preview))
        return 0

    async def trigger(control: ControlClient) -> Deployment:
        await must_be_understood(control, wanted.service, environment)
        commit = await commits.resolve(control, wanted, quiet=json)
        request = DeployRequest(
            wanted.service, commit, rebuild, allow_unmerged, urgent, policy, override_freeze, environment, override
        )
        triggered = await control.deploy(request)
        return triggered if no_wait else await to_the_end(control, triggered.id, json=json)

    return result(connection.ask(trigger), json=json, waited=not no_wait)


def retry(
    service: str,
    *,
    environment: str | None = None,
    no_wait: bool = False,
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> int:
    """Have the machines try again that failed a service's present deployment.

    While that is under way it is its own end that counts. When it has ended, a new deployment of the same release does it, all
    at once: machines that run the release do nothing. It prints within what time either has ended.

    For example: `fleetcast retry web`, or `fleetcast retry web --environment staging`

    Parameters
    ----------
    service
        The service.
    environment
        Of the service; default: its own.
    no_wait
        Only trigger it.
    json
        Print the deployment as JSON, at the end.
    """
    from fleetcast.model.ids import service_name
    from fleetcast.model.messages.deployments import RetryRequest

    wanted = service_name(service)

    async def trigger(control: ControlClient) -> Deployment:
        await must_be_understood(control, wanted, environment)
        triggered = await control.retry(RetryRequest(wanted, environment))
        must_be_in(triggered, environment)
        if not json:
            print("; ".join(["machines that failed try again", *ends_within(triggered)]), flush=True)
        return triggered if no_wait else await to_the_end(control, triggered.id, json=json)

    return result(connection.ask(trigger), json=json, waited=not no_wait)


def rollback(
    service: str,
    *,
    to: str | None = None,
    environment: str | None = None,
    no_wait: bool = False,
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> int:
    """Take the machines back to an earlier release: by default the newest whose deployment succeeded and was not rolled back.

    For example: `fleetcast rollback web`, or `fleetcast rollback web --to 7e583c86`

    Parameters
    ----------
    service
        The service.
    to
        The commit to go back to: a SHA, the beginning of one, a branch or a tag.
    environment
        Of the service; default: its own.
    no_wait
        Only trigger it.
    json
        Print the deployment as JSON, at the end.
    """
    from fleetcast.model.ids import service_name
    from fleetcast.model.messages.deployments import RollbackRequest

    wanted = service_name(service)

    async def trigger(control: ControlClient) -> Deployment:
        await must_be_understood(control, wanted, environment)
        commit = await commits.resolve(control, commits.Wanted(wanted, to), quiet=json) if to else None
        request = RollbackRequest(wanted, commit, environment)
        triggered = await control.rollback(request)
        return triggered if no_wait else await to_the_end(control, triggered.id, json=json)

    return result(connection.ask(trigger), json=json, waited=not no_wait)


def abort(what: str, *, environment: str | None = None, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """End an unfinished deployment, and its build where nobody else wants it. Machines keep what they run.

    For example: `fleetcast abort 5e1f0c2ab3d49a77`, `fleetcast abort web`, or `fleetcast abort build:12`

    Parameters
    ----------
    what
        A deployment's id or the beginning of it, or the name of a service: its unfinished deployment. Or build:NUMBER, to end
        a build: the deployments that wait for it fail.
    environment
        Of the service that is named; default: its own.
    json
        Print the deployment, or the build, as JSON.
    """
    from fleetcast.cli import builds
    from fleetcast.cli.naming import deployment_meant
    from fleetcast.model.ids import build_id
    from fleetcast.model.limits import BUILD_STOP_S_MAX

    async def end(control: ControlClient) -> tuple[Deployment | Build, str]:
        if what.startswith(_BUILD):
            aborted = await control.abort_build(build_id(_number(what)))
            bound = f"its processes end within {BUILD_STOP_S_MAX:g} s where its worker reaches control"
            return aborted, f"{builds.describe(aborted)}; {bound}"
        ended = await control.abort(await deployment_meant(control, what, environment))
        return ended, describe(ended)

    ended, text = connection.ask(end)
    if json:
        print_json(ended)
    else:
        print(text)


def watch(
    deployment: str, *, environment: str | None = None, json: bool = False, connection: Connection = NO_CONNECTION
) -> int:
    """Follow a deployment to its end; the exit code says whether it succeeded.

    For example: `fleetcast watch 5e1f0c2ab3d49a77`, or `fleetcast watch web`

    Parameters
    ----------
    deployment
        Its id or the beginning of it, or the name of a service: its unfinished deployment, else its newest.
    environment
        Of the service that is named; default: its own.
    json
        Print the deployment as JSON, at the end.
    """
    from fleetcast.cli.naming import deployment_meant

    async def look(control: ControlClient) -> Deployment:
        return await to_the_end(control, await deployment_meant(control, deployment, environment), json=json)

    return result(connection.ask(look), json=json, waited=True)


def describe(deployment: Deployment) -> str:
    """A deployment in one line: what it is, how far, what it waits for or why it ended."""
    where = "" if deployment.environment == _USUAL else f" in {deployment.environment}"
    return f"{deployment.kind} {deployment.service}@{short(deployment.commit_sha)}{where} {state_of(deployment)}"


def must_be_in(done: Deployment, environment: str | None) -> None:
    """A control of the version before may know environments, and not see that this request names one.

    Raises:
        Incompatible: something was done to a deployment in another one.
    """
    if environment is not None and done.environment != environment:
        raise Incompatible(
            "environment_not_seen",
            f"control is of an older version, and did it in {done.environment}: see fleetcast status {done.id}; upgrade it",
        )


def ends_within(deployment: Deployment) -> list[str]:
    """By when it has ended; nothing where control does not say so, being of the version before."""
    if deployment.bound_s is None:
        return []
    built = "once it is built " if deployment.state is DeploymentState.BUILDING else ""
    under_way = deployment.state is DeploymentState.DISTRIBUTING
    apart = "pauses and holds" if under_way else "pauses, holds and its turn in line"
    return [f"{built}it has ended within {at_most(deployment.bound_s)} whatever happens, {apart} apart"]


def state_of(deployment: Deployment) -> str:
    """How far it is, and what it waits for or why it ended."""
    progress, machines = deployment.progress, deployment.progress.total
    parts = []
    if deployment.state is DeploymentState.DISTRIBUTING:
        fetched = f"{size(progress.bytes.total)} of {size((deployment.artifact_bytes or 0) * machines)}"
        parts += [f"{progress.fetched} of {machines} machines have it ({fetched})"]
    if deployment.state is DeploymentState.SUCCEEDED:
        parts += [f"after {seconds(sum(filter(None, (deployment.build_s, deployment.replicate_s, deployment.distribute_s))))}"]
    if progress.failed:
        parts += [f"{progress.failed} failed"]
    if deployment.skipped:
        parts += [f"without {', '.join(deployment.skipped)}"]
    if deployment.reason:
        parts += [deployment.reason]
    return f"{deployment.state}: {'; '.join(parts)}" if parts else f"{deployment.state}"


async def to_the_end(control: ControlClient, deployment: DeploymentId, *, json: bool) -> Deployment:
    """Follow a deployment, showing how it goes; returns how it ended."""
    from fleetcast.cli.picture.watching import watch_to_the_end

    ended = (await watch_to_the_end(control, deployment, json=json)).deployment
    if not json:
        await tell_failed_build(control, ended)
    return ended


def _number(what: str) -> int:
    number = what.removeprefix(_BUILD)
    if not (number.isascii() and number.isdigit()):
        raise Invalid("illegal_build", f"{what!r} names no build: write {_BUILD}NUMBER")
    return int(number)


def result(deployment: Deployment, *, json: bool, waited: bool) -> int:
    """Say how a deployment stands; returns the command's exit code."""
    if json:
        print_json(deployment)
    elif not waited:
        print(f"{describe(deployment)}; to follow it: fleetcast watch {deployment.id}")
    elif deployment.state is DeploymentState.FAILED:
        log = "" if deployment.build is None else f", fleetcast logs {deployment.build}"
        print(f"to look into it: fleetcast status {deployment.id}{log}", file=sys.stderr)
    return 0 if not waited or deployment.state is DeploymentState.SUCCEEDED else 1
