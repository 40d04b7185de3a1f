"""Why a deployment failed, as far as its build can say: the last lines of the log, below the deployment's own line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.limits import BUILD_LOG_TAIL_BYTES
from fleetcast.model.lines import showable

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient
    from fleetcast.model.deployment import Deployment
    from fleetcast.model.ids import BuildId

LINES_MAX: Final = 20
LINE_CHARS_MAX: Final = 200


async def tell_failed_build(control: ControlClient, deployment: Deployment) -> None:
    """Print the end of the log of the build that a deployment failed by, to standard error; of any other, nothing."""
    if deployment.state is DeploymentState.FAILED and deployment.build is not None and deployment.artifact is None:
        await tell_end_of_log(control, deployment.build)


async def tell_end_of_log(control: ControlClient, build: BuildId) -> None:
    """Print the last lines of a build's log to standard error, and where the rest is.

    It only helps: where the log cannot be had now, where to find it is all that is said.
    """
    if lines := await end_of_log(control, build):
        print(f"the last lines of build {build}, all of them with: fleetcast logs {build}", file=sys.stderr)
        print("\n".join(f"  {line}" for line in lines), file=sys.stderr)
    else:
        print(f"the build's log: fleetcast logs {build}", file=sys.stderr)


async def end_of_log(control: ControlClient, build: BuildId) -> list[str]:
    """The last lines of a build's log, fit for a terminal; none where there is none, or it cannot be had now."""
    from fleetcast.model.errors import FleetcastError

    try:
        return last_lines((await control.build_log(build, -BUILD_LOG_TAIL_BYTES)).text)
    except FleetcastError:
        return []


def last_lines(text: str) -> list[str]:
    """At most ``LINES_MAX`` lines that say something, long ones cut, without anything that a terminal would obey.

    The first line of ``text`` may begin in its middle.
    """
    lines = [line.rstrip() for line in showable(text).split("\n")]
    return [_cut(line) for line in lines if line.strip()][-LINES_MAX:]


def _cut(line: str) -> str:
    return line if len(line) <= LINE_CHARS_MAX else f"{line[:LINE_CHARS_MAX]}..."
