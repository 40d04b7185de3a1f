"""``fleetcast artifact replicate``: copies that are attempted now, and not when their turn comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetcast.cli import commits
from fleetcast.cli.connection import NO_CONNECTION, Connection
from fleetcast.cli.output import print_json

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient
    from fleetcast.model.messages.artifacts import Replicating


def replicate(name: str, *, region: tuple[str, ...] = (), json: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Have regions attempt to copy an artifact now, also where that has FAILED. What is complete there is left alone.

    For example: `fleetcast artifact replicate web@main --region eu-west`

    Parameters
    ----------
    name
        SERVICE@REV or SERVICE/SHA; SHA.2 for the first rebuild.
    region
        Only there; repeatable. Default: every region that no person has drained.
    json
        Print what was asked for as JSON.
    """
    from fleetcast.model.ids import region_name

    async def ask(control: ControlClient) -> Replicating:
        wanted = tuple(map(region_name, region))
        artifact = await commits.artifact(control, commits.parse_artifact(name, "replicate"), quiet=json)
        return await control.replicate(artifact, wanted)

    asked = connection.ask(ask)
    if json:
        print_json(asked)
    else:
        print(f"{asked.name}: asked of {', '.join(asked.regions)}; what comes of it: fleetcast artifact show {name}")
