"""Following one deployment for whoever started a command: a picture on a terminal, plain lines elsewhere, nothing for JSON."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fleetcast.cli.picture.following import follow, until_back
from fleetcast.cli.picture.plain import PlainLines
from fleetcast.cli.picture.terminal import can_show

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient
    from fleetcast.model.ids import DeploymentId
    from fleetcast.model.messages.deployments import DeploymentDetail


async def watch_to_the_end(control: ControlClient, deployment: DeploymentId, *, json: bool) -> DeploymentDetail:
    """Its end. Whoever is interrupted is told how to go on."""
    latest: list[DeploymentDetail] = []
    try:
        if json:
            return await follow(control, deployment, latest.append)
        if can_show(sys.stdout):
            return await _on_a_terminal(control, deployment)
        return await _in_lines(control, deployment)
    except asyncio.CancelledError:
        advice = f"to follow it: fleetcast watch {deployment}; to end it: fleetcast abort {deployment}"
        print(f"the deployment goes on; {advice}", file=sys.stderr)
        raise


async def _on_a_terminal(control: ControlClient, deployment: DeploymentId) -> DeploymentDetail:
    from fleetcast.cli.picture.live import LivePicture

    with _terminated_gently():
        async with LivePicture(sys.stdout) as picture:
            ended = await picture.follow(control, deployment)
    print(f"  deployment {deployment}", flush=True)
    return ended


async def _in_lines(control: ControlClient, deployment: DeploymentId) -> DeploymentDetail:
    lines = PlainLines(sys.stdout)
    ended = await until_back(control, await follow(control, deployment, lines.heard), lambda _detail: None)
    lines.ended(ended)
    return ended


@contextlib.contextmanager
def _terminated_gently() -> Iterator[None]:
    """SIGTERM gives the cursor back before it ends us."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    terminated = False

    def terminate() -> None:
        nonlocal terminated
        terminated = True
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        yield
    except asyncio.CancelledError:
        if terminated:
            raise SystemExit(128 + signal.SIGTERM) from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
