"""``fleetcast build`` and ``fleetcast logs``: having a commit built, and what the build said."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from functools import partial
from typing import TYPE_CHECKING, Final

from fleetcast.cli.commits import Wanted, parse, parse_artifact, resolve
from fleetcast.cli.connection import NO_CONNECTION, Connection, patiently
from fleetcast.cli.failures import tell_end_of_log
from fleetcast.cli.output import print_json, seconds, short
from fleetcast.model.build import BuildStatus
from fleetcast.model.errors import NotFound
from fleetcast.model.limits import DEPLOYMENT_WAIT_S_MAX
from fleetcast.model.lines import showable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from fleetcast.client.control import ControlClient
    from fleetcast.model.build import Build
    from fleetcast.model.ids import BuildId, ServiceName
    from fleetcast.model.messages.artifacts import BuildDetail, BuildLog

WAIT_S: Final = DEPLOYMENT_WAIT_S_MAX / 3


def build(
    what: str,
    *,
    rebuild: bool = False,
    allow_unmerged: bool = False,
    urgent: bool = False,
    no_wait: bool = False,
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> int:
    """Build a commit without deploying it. A deploy of it later on does not build again.

    For example: `fleetcast build web@main`, or `fleetcast build web@7e583c86 --no-wait`

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
    no_wait
        Only order it.
    json
        Print the build as JSON, at the end.
    """
    from fleetcast.model.messages.artifacts import BuildRequest

    wanted = parse(what, "build")

    async def order(control: ControlClient) -> int:
        commit = await resolve(control, wanted, quiet=json)
        ordered = await control.order_build(BuildRequest(wanted.service, commit, rebuild, allow_unmerged, urgent))
        if not ordered.status.ended and not no_wait:
            ordered = await _to_the_end(control, ordered, quiet=json)
        elif not json:
            print(describe(ordered))
        if json:
            print_json(ordered)
        elif ordered.status is BuildStatus.FAILED:
            await tell_end_of_log(control, ordered.id)
        elif no_wait and not ordered.status.ended:
            print(f"to follow it: fleetcast logs {ordered.id} --follow")
        return 1 if ordered.status is BuildStatus.FAILED else 0

    return connection.ask(order)


def logs(what: str, *, follow: bool = False, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Show what a build said.

    For example: `fleetcast logs 12 --follow`, `fleetcast logs web@main`, or `fleetcast logs web`

    Parameters
    ----------
    what
        A build's number, a deployment's id or the beginning of it, SERVICE@REV for the newest build of a commit, or SERVICE for
        the newest of all.
    follow
        Go on until the build has ended.
    json
        Print pieces of it as JSON, one a line.
    """
    connection.ask(lambda control: _copy(control, what, follow=follow, json=json))


def describe(build: Build, ahead: int = 0) -> str:
    """A build in one line: what it is, how far, what it waits for or why it ended."""
    parts: list[str] = []
    match build.status:
        case BuildStatus.QUEUED if ahead:
            parts = [f"{ahead} build{'s are' if ahead > 1 else ' is'} before it"]
        case BuildStatus.RUNNING:
            parts = [f"on {build.worker}", *([f"attempt {build.attempt}"] if build.attempt > 1 else [])]
        case BuildStatus.SUCCEEDED if build.finished_at_ms is not None:
            took_s = max(0, build.finished_at_ms - build.created_at_ms) / 1000
            parts = [f"in {seconds(took_s)}, artifact {build.name}"]
    if build.reason:
        parts.append(build.reason)
    said = f": {', '.join(parts)}" if parts else ""
    return f"build {build.id} of {build.service}@{short(build.commit_sha)} {build.status}{said}"


async def _to_the_end(control: ControlClient, ordered: Build, *, quiet: bool) -> Build:
    said = seen = ""
    try:
        while True:
            detail: BuildDetail = await patiently(lambda: control.build(ordered.id, wait_s=WAIT_S, seen=seen))  # noqa: B023 -- awaited in this turn
            seen = detail.version
            if (text := describe(detail.build, detail.ahead)) != said and not quiet:
                print(text, flush=True)
            said = text
            if detail.build.status.ended:
                return detail.build
    except asyncio.CancelledError:
        print(f"the build goes on; to follow it: fleetcast logs {ordered.id} --follow", file=sys.stderr)
        raise


async def _copy(control: ControlClient, what: str, *, follow: bool, json: bool) -> None:
    build = await _meant(control, what, quiet=json)
    pieces = control.follow_build_log(build) if follow else _as_it_is(control, build)
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            if json and (piece.text or piece.finished):
                print_json(piece)
            elif not json:
                sys.stdout.write(showable(piece.text))
                sys.stdout.flush()


async def _as_it_is(control: ControlClient, build: BuildId) -> AsyncGenerator[BuildLog, None]:
    """What there is of the log by now."""
    offset = 0
    while True:
        piece = await patiently(partial(control.build_log, build, offset))
        yield piece
        if piece.finished or piece.next_offset == offset:
            return
        offset = piece.next_offset


async def _meant(control: ControlClient, what: str, *, quiet: bool) -> BuildId:
    from fleetcast.cli.naming import DEPLOYMENT_ID_CHARS, deployable_meant
    from fleetcast.model.ids import DeploymentId, build_id, service_name
    from fleetcast.model.messages.fleet import Kind

    if "@" in what or "/" in what:
        return await _of_commit(control, parse_artifact(what, "show the log of"), quiet=quiet)
    if what.isascii() and what.isdigit() and len(what) < DEPLOYMENT_ID_CHARS:
        with contextlib.suppress(NotFound):  # an id may begin with digits alone
            return (await control.build(build_id(int(what)))).build.id
    named = await deployable_meant(control, what)
    if named.kind is Kind.SERVICE:
        return await _newest(control, service_name(named.name))
    deployment = (await control.deployment(DeploymentId(named.name))).deployment
    if deployment.build is not None:
        return deployment.build
    made_by = None if deployment.artifact is None else (await control.artifact(deployment.artifact)).build
    if made_by is None:
        raise NotFound("no_build", f"deployment {deployment.id} built nothing: its release is older")
    return made_by


async def _newest(control: ControlClient, service: ServiceName) -> BuildId:
    for build in (await control.build_page(service=service, limit=1)).items:
        return build.id
    raise NotFound("unknown_build", f"{service} was never built: fleetcast build {service}@SHA does it")


async def _of_commit(control: ControlClient, wanted: Wanted, *, quiet: bool) -> BuildId:
    commit = await resolve(control, wanted, quiet=quiet)
    async for build in control.builds(service=wanted.service, commit=commit):
        if wanted.build_number == 1 or build.name.endswith(f".{wanted.build_number}"):
            return build.id
    raise NotFound("unknown_build", f"{wanted} was never built: fleetcast build {wanted} does it")
