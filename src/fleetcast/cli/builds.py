"""``fleetcast logs``: what a build said."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from fleetcast.cli.connection import NO_CONNECTION, Connection

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient

POLL_S: Final = 1.0


def logs(build: int, *, follow: bool = False, connection: Connection = NO_CONNECTION) -> None:
    """Show a build's log.

    Parameters
    ----------
    build
        The build's number, as deployments show it.
    follow
        Go on until the build has ended.
    """
    connection.ask(lambda control: _copy(control, build, follow=follow))


async def _copy(control: ControlClient, build: int, *, follow: bool) -> None:
    import asyncio

    from fleetcast.model.ids import build_id

    offset = 0
    while True:
        page = await control.build_log(build_id(build), offset)
        sys.stdout.write(page.text)
        sys.stdout.flush()
        if page.next_offset == offset:
            if page.finished or not follow:
                return
            await asyncio.sleep(POLL_S)
        offset = page.next_offset
