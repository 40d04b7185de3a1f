"""``fleetcast region rollback``: going back at one region while control cannot be asked."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from fleetcast.cli.output import counted, print_json, when
from fleetcast.model.lines import showable

if TYPE_CHECKING:
    from fleetcast.client.one_region import RegionControls
    from fleetcast.model.messages.region_rollbacks import RegionRollbackStatus
    from fleetcast.model.region_rollback import RecordedRollback

LOOK_S: Final = 0.5
WAIT_S_MAX: Final = 900
"""For machines that do not come back. What is under way goes on without anybody who looks."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class RegionConnection:
    """Where the region's process is. By default as the settings file on its host says."""

    region: str | None = None
    """Which [[region]] of the settings; not needed where there is one."""
    region_url: str | None = None
    """Address of the region, for instance http://127.0.0.1:7411."""
    token_file: Path | None = None
    """File with the region's token."""
    settings: Annotated[Path | None, Parameter(env_var="FLEETCAST_SETTINGS")] = None
    """Settings file that says both, or its directory."""

    def address(self) -> tuple[str, str]:
        """URL and token. Raises :class:`Invalid` and :class:`NotFound` where settings or files say too little."""
        from fleetcast.http.tokens import load
        from fleetcast.launch import sources

        if self.region_url and self.token_file:
            return self.region_url, load(self.token_file)
        known = sources.load(sources.settings_file(self.settings, os.environ), environ=os.environ).region(self.region)
        return self.region_url or known.public_url, load(self.token_file or known.token_file)


HERE: Final = RegionConnection()


def rollback(
    service: str,
    *,
    to: str = "",
    environment: str = "",
    why: str = "",
    by: str | None = None,
    no_wait: bool = False,
    json: bool = False,
    connection: RegionConnection = HERE,
) -> int:
    """Take a region's machines back to an earlier release although control is dead. Where control answers, use
    `fleetcast rollback`: it goes everywhere.

    The region itself decides on it, in this region alone, and fetches nothing for it. From then on it takes no goal of
    control's for the service. Control hears of it when it is back, puts it on record, and writes nothing new for the service
    until somebody deploys it or rolls it back there: that goes to all regions, this one included.

    For example: `fleetcast region rollback web --why "checkout is down"`, or
    `fleetcast region rollback web --region eu-west --to 7e583c86`

    Parameters
    ----------
    service
        The service.
    to
        The release to go back to: an artifact's name, its commit or the beginning of that. By default the newest other one
        whose deployment succeeded.
    environment
        In which; not needed where the service has one here.
    why
        What is the matter, for those who read about it later.
    by
        Who does it; by default the user and the host.
    no_wait
        Do not wait until the machines are back.
    json
        Print how far it is as JSON, at the end.
    """
    import asyncio

    from fleetcast.client.one_region import RegionControls
    from fleetcast.model.ids import environment_name, service_name
    from fleetcast.model.messages.region_rollbacks import RegionRollbackRequest

    wanted = service_name(service)
    if environment:
        environment_name(environment)
    request = RegionRollbackRequest(wanted, by or _who(), environment, to, why)
    url, token = connection.address()

    async def act() -> RegionRollbackStatus:
        async with RegionControls(url, token) as region:
            begun = await region.roll_back(request)
            if not json:
                made = begun.rollback
                print(f"{made.region}: {wanted} goes back from {made.left.artifact} to {made.target.artifact}", flush=True)
            return begun if no_wait else await _to_the_end(region, begun, quiet=json)

    ended = asyncio.run(act())
    if json:
        print_json(ended)
    else:
        print(
            f"until somebody deploys {wanted} or rolls it back at control, {ended.rollback.region} takes no goal of control's"
        )
    return 0 if no_wait or ended.active >= ended.selected else 1


def rollbacks_text(found: Sequence[RecordedRollback]) -> list[str]:
    """What was done at regions past control, a line each."""
    return [_line(each) for each in found]


async def _to_the_end(region: RegionControls, status: RegionRollbackStatus, *, quiet: bool) -> RegionRollbackStatus:
    """Until every machine is back or has failed. What has not come back by then is named."""
    import asyncio

    from fleetcast.model.errors import Unavailable

    clock = asyncio.get_running_loop().time
    until, told = clock() + WAIT_S_MAX, ""
    while True:
        line = _how_far(status)
        if line != told and not quiet:
            print(line, flush=True)
        told = line
        if status.active + status.failed + status.silent >= status.selected or clock() > until:
            break
        await asyncio.sleep(LOOK_S)
        try:
            status = await region.rollback(status.rollback.environment, status.rollback.service)
        except Unavailable:
            if clock() > until:
                raise
    if not quiet:
        for each in (*status.failures, *status.waiting):
            print(f"{each.machine}: {showable(each.error)}")
    return status


def _how_far(status: RegionRollbackStatus) -> str:
    rest = "".join(f", {count} {what}" for count, what in ((status.failed, "failed"), (status.silent, "silent")) if count)
    return f"{status.active} of {counted(status.selected, 'machine')} back{rest}"


def _line(each: RecordedRollback) -> str:
    made = each.rollback
    why = f" ({showable(made.why)})" if made.why else ""
    done = f"{made.service} was rolled back from {made.left.artifact} to {made.target.artifact} past control"
    standing = f"nothing new is written for {made.service} until somebody deploys it or rolls it back"
    ended = "" if each.over_at_ms is None else f"over since {when(each.over_at_ms)}: {each.over_why}"
    return f"region {made.region}: {done} at {when(each.made_at_ms)} UTC by {showable(made.by)}{why}; {ended or standing}"


def _who() -> str:
    """Behind sudo, too."""
    from fleetcast.model.limits import REGION_ROLLBACK_CHARS_MAX

    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"[:REGION_ROLLBACK_CHARS_MAX]
