"""``fleetcast pause``, ``resume``, ``promote`` and ``skip``: a deployment on its way through its waves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fleetcast.cli.connection import NO_CONNECTION, Connection
from fleetcast.cli.deployments import describe, ends_within
from fleetcast.cli.output import print_json

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient
    from fleetcast.model.deployment import Deployment
    from fleetcast.model.ids import DeploymentId


def pause(what: str, *, environment: str | None = None, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Let in no further wave of a deployment for now. What runs stays; a wave that proves sick goes back all the same.

    For example: `fleetcast pause web`, or `fleetcast pause 5e1f0c2ab3d49a77`

    Parameters
    ----------
    what
        A deployment's id or the beginning of it, or the name of a service: its unfinished deployment.
    environment
        Of the service that is named; default: its own.
    json
        Print the deployment as JSON.
    """
    from fleetcast.model.limits import PAUSE_S_MAX
    from fleetcast.model.spans import span

    bound = f"it has FAILED, and machines keep what they run, unless it is resumed within {span(PAUSE_S_MAX)}"
    do(
        lambda control, deployment: control.pause(deployment),
        what,
        bound,
        environment,
        bounded=False,
        json=json,
        connection=connection,
    )


def resume(what: str, *, environment: str | None = None, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Go on with a deployment that is paused.

    For example: `fleetcast resume web`

    Parameters
    ----------
    what
        A deployment's id or the beginning of it, or the name of a service: its unfinished deployment.
    environment
        Of the service that is named; default: its own.
    json
        Print the deployment as JSON.
    """
    said = "it goes on"
    do(lambda control, deployment: control.resume(deployment), what, said, environment, json=json, connection=connection)


def promote(what: str, *, environment: str | None = None, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Skip what is left of the bake of a deployment's present wave. Its machines have to be healthy all the same.

    For example: `fleetcast promote web`

    Parameters
    ----------
    what
        A deployment's id or the beginning of it, or the name of a service: its unfinished deployment.
    environment
        Of the service that is named; default: its own.
    json
        Print the deployment as JSON.
    """
    said = "the next wave is let in as soon as this one is healthy"
    do(lambda control, deployment: control.promote(deployment), what, said, environment, json=json, connection=connection)


def skip(
    what: str,
    *,
    region: str,
    undo: bool = False,
    environment: str | None = None,
    json: bool = False,
    connection: Connection = NO_CONNECTION,
) -> None:
    """Have a deployment go on without a region: this one only. Machines there keep what they run until the next deployment.

    For example: `fleetcast skip web --region eu-west`, or `fleetcast skip web --region eu-west --undo`

    Parameters
    ----------
    what
        A deployment's id or the beginning of it, or the name of a service: its unfinished deployment.
    region
        Nobody there switches over from now on, and nothing there is waited for: neither machines nor the copy in its bucket.
    undo
        Mean its machines again, while the deployment is under way.
    environment
        Of the service that is named; default: its own.
    json
        Print the deployment as JSON.
    """
    from fleetcast.model.ids import region_name

    where = region_name(region)
    said = f"it means {where} again" if undo else f"machines of {where} keep what they run"
    do(
        lambda control, deployment: control.skip(deployment, where, undo=undo),
        what,
        said,
        environment,
        json=json,
        connection=connection,
    )


def do(
    call: Callable[[ControlClient, DeploymentId], Awaitable[Deployment]],
    what: str,
    said: str,
    environment: str | None = None,
    *,
    bounded: bool = True,
    json: bool,
    connection: Connection,
) -> None:
    """Have control do something to the deployment that is meant, and say what came of it; and, unless that has a bound of its
    own (not ``bounded``), by when the deployment has ended."""
    from fleetcast.cli.naming import deployment_meant

    async def told(control: ControlClient) -> Deployment:
        return await call(control, await deployment_meant(control, what, environment))

    shown = connection.ask(told)
    if json:
        print_json(shown)
    else:
        print("; ".join([describe(shown), said, *(ends_within(shown) if bounded else [])]))
