"""Following a deployment through control's long poll."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from fleetcast.cli.connection import RETRY_S
from fleetcast.model.errors import FleetcastError, Unavailable
from fleetcast.model.limits import CONTROL_AWAY_S_MAX

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient
    from fleetcast.model.ids import DeploymentId
    from fleetcast.model.messages.deployments import DeploymentDetail

WAIT_S: Final = 20.0
GOING_BACK_S_MAX: Final = 15.0
"""How long is waited, after a failed deployment's end, for its machines to run the release before again."""


def has_ended(detail: DeploymentDetail) -> bool:
    return detail.deployment.state.ended


async def follow(
    control: ControlClient,
    deployment: DeploymentId,
    tell: Callable[[DeploymentDetail], None],
    until: Callable[[DeploymentDetail], bool] = has_ended,
    *,
    wait_s: float = WAIT_S,
    pause_s: float = 0.0,
    away: Callable[[str], None] = lambda _trouble: None,
) -> DeploymentDetail:
    """Wait until a deployment is as asked for, by default at its end, telling every answer on the way.

    An answer comes with each change, though not sooner than ``pause_s`` after the one before, and after ``wait_s`` without
    one. ``away`` is told while control cannot be reached.

    Raises:
        Unavailable: control was away for longer than ``CONTROL_AWAY_S_MAX``. A restart of it is not worth a word.
    """
    seen = ""
    heard_at = time.monotonic()
    while True:
        try:
            detail = await control.deployment(deployment, wait_s=wait_s, seen=seen)
        except Unavailable as error:
            if time.monotonic() - heard_at > CONTROL_AWAY_S_MAX:
                raise
            away(error.message)
            await asyncio.sleep(RETRY_S)
            continue
        heard_at = time.monotonic()
        seen = detail.version
        tell(detail)
        if until(detail):
            return detail
        await asyncio.sleep(pause_s)


async def until_back(
    control: ControlClient, detail: DeploymentDetail, tell: Callable[[DeploymentDetail], None]
) -> DeploymentDetail:
    """After a failed deployment: once its machines run the release before again, or ``GOING_BACK_S_MAX`` later."""
    end = time.monotonic() + GOING_BACK_S_MAX
    while _going_back(detail) and (left := end - time.monotonic()) > 0:
        try:
            detail = await control.deployment(detail.deployment.id, wait_s=left, seen=detail.version)
        except FleetcastError:
            return detail  # how it ended is known
        tell(detail)
    return detail


def _going_back(detail: DeploymentDetail) -> bool:
    return any(machine.going_back for region in detail.regions for machine in region.machines)
