"""A deployment in plain lines, for logs and for terminals that cannot do more."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TextIO

from fleetcast.cli.deployments import describe
from fleetcast.cli.picture.summary import failure_lines, reason

if TYPE_CHECKING:
    from fleetcast.model.deployment import DeploymentState
    from fleetcast.model.messages.deployments import DeploymentDetail

PAUSE_S_MIN: Final = 1.0
PAUSE_S_MAX: Final = 30.0


class PlainLines:
    """A line at each new state, and in between at changes, ever more seldom: an hour of waiting is two pages."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._state: DeploymentState | None = None
        self._said = ""
        self._said_at = 0.0
        self._pause_s = PAUSE_S_MIN

    def heard(self, detail: DeploymentDetail) -> None:
        """Say it, if it is worth a line."""
        deployment, now = detail.deployment, time.monotonic()
        if deployment.state.ended:
            deployment = replace(deployment, reason=reason(detail))
        text = describe(deployment)
        if text == self._said:
            return
        if deployment.state is not self._state:
            self._state, self._pause_s = deployment.state, PAUSE_S_MIN
        elif now - self._said_at < self._pause_s:
            return
        else:
            self._pause_s = min(PAUSE_S_MAX, 2 * self._pause_s)
        self._said, self._said_at = text, now
        print(f"{text} [{deployment.id}]", file=self._stream, flush=True)

    def ended(self, detail: DeploymentDetail) -> None:
        """What is to be said when all is over: who failed, and what runs there now."""
        for line in failure_lines(detail):
            print(f"  {line}", file=self._stream, flush=True)
