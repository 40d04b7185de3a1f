"""``fleetcast approve`` and ``refuse``: what somebody else wants to deploy."""

from __future__ import annotations

from fleetcast.cli.connection import NO_CONNECTION, Connection
from fleetcast.cli.holding import do


def approve(what: str, *, environment: str | None = None, json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Approve the next wave of a deployment whose plan asks for that; before its first machine, the deployment.

    Whoever the token is of has approved it. Nobody approves a deployment of their own, unless its plan allows that.

    For example: `fleetcast approve web`, or `fleetcast approve 5e1f0c2ab3d49a77`

    Parameters
    ----------
    what
        A deployment's id or the beginning of it, or the name of a service: its unfinished deployment.
    environment
        Of the service that is named; default: its own.
    json
        Print the deployment as JSON.
    """
    said = "approved: it goes on once enough have"
    do(lambda control, deployment: control.approve(deployment), what, said, environment, json=json, connection=connection)


def refuse(
    what: str, *, reason: str, environment: str | None = None, json: bool = False, connection: Connection = NO_CONNECTION
) -> None:
    """Do not approve a deployment: it ends ABORTED. Machines keep what they run, nobody else switches over.

    For example: `fleetcast refuse web --reason "not before the migration is through"`

    Parameters
    ----------
    what
        A deployment's id or the beginning of it, or the name of a service: its unfinished deployment.
    reason
        Why; it is recorded, with your name.
    environment
        Of the service that is named; default: its own.
    json
        Print the deployment as JSON.
    """
    said = "what has switched over stays so: fleetcast rollback undoes it"
    do(
        lambda control, deployment: control.refuse(deployment, reason),
        what,
        said,
        environment,
        json=json,
        connection=connection,
    )
