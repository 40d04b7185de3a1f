"""What a demo says while it runs: plain lines, each with the seconds since the start."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TextIO

from fleetcast.cli.demo import company
from fleetcast.cli.deployments import state_of
from fleetcast.launch.child import ChildEvent
from fleetcast.model.deployment import Deployment, DeploymentState
from fleetcast.model.limits import HEARTBEAT_INTERVAL_S, HEARTBEAT_SILENCE_S_MAX, KV_POLL_INTERVAL_S

PAUSE_S: Final = 1.0
"""Least time between two lines about one deployment in one state."""


class Narrator:
    """Writes to one stream, a line at a time."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = time.monotonic()

    def say(self, text: str) -> None:
        """One line."""
        print(f"{time.monotonic() - self._started:6.1f} s  {text}", file=self._stream, flush=True)

    def show(self, text: str) -> None:
        """Lines as they are, set off by empty ones."""
        print(f"\n{text}\n", file=self._stream, flush=True)

    def introduce(self, directory: Path, regions: Sequence[str], machines: int) -> None:
        """What there will be, and how its pace differs from a real installation's."""
        self.say(f"a company in {directory}:")
        self.say(f"  control, {company.WORKERS} workers, {len(regions)} regions ({', '.join(regions)}), {machines} machines")
        usual = f"{HEARTBEAT_INTERVAL_S}, {HEARTBEAT_SILENCE_S_MAX} and {KV_POLL_INTERVAL_S} s"
        ours = f"heartbeat {company.HEARTBEAT_S:g} s, silence {company.SILENCE_S:g} s, KV poll {company.KV_POLL_S:g} s"
        self.say(f"  intervals: {ours} (usually {usual})")

    def child(self, event: ChildEvent) -> None:
        """Something happened to a process; that it was started is not worth a line."""
        if event.what == "ready":
            self.say(f"  {event.child} is up{f' at {event.detail}' if event.detail else ''}")
        elif event.what != "started":
            self.say(f"  {event.child} {event.detail}")

    def deployment(self, label: str) -> Callable[[Deployment], None]:
        """For following a deployment under a short name: a line at each new state, and now and then in between."""
        said_state: DeploymentState | None = None
        said_at = 0.0

        def tell(deployment: Deployment) -> None:
            nonlocal said_state, said_at
            if deployment.state is not said_state or time.monotonic() - said_at >= PAUSE_S:
                said_state, said_at = deployment.state, time.monotonic()
                self.say(f"  {label} {state_of(deployment)}")

        return tell
