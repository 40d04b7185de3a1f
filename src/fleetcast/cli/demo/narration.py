"""What a demo says while it runs: lines, each with the seconds since the start, and on a terminal a live picture below them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from fleetcast.cli.demo import company
from fleetcast.cli.deployments import state_of
from fleetcast.cli.output import counted
from fleetcast.cli.picture.following import follow, has_ended
from fleetcast.cli.picture.terminal import can_show
from fleetcast.cli.picture.text import wrap
from fleetcast.launch.child import ChildEvent
from fleetcast.model.limits import HEARTBEAT_INTERVAL_S, HEARTBEAT_SILENCE_S_MAX, KV_POLL_INTERVAL_S

if TYPE_CHECKING:
    from fleetcast.cli.picture.live import LivePicture
    from fleetcast.client.control import ControlClient
    from fleetcast.model.deployment import DeploymentState
    from fleetcast.model.ids import DeploymentId
    from fleetcast.model.messages.deployments import DeploymentDetail

PAUSE_S: Final = 1.0
"""Least time between two lines about one deployment in one state."""
_INDENT: Final = 10
"""Columns that the time takes."""


class Narrator:
    """Writes to one stream. Use as an async context manager around the time in which deployments are followed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = time.monotonic()
        self._picture: LivePicture | None = None
        self._ended: set[str] = set()

    async def __aenter__(self) -> Narrator:
        if can_show(self._stream):
            from fleetcast.cli.picture.live import LivePicture

            self._picture = await LivePicture(self._stream).__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._picture is not None:
            await self._picture.__aexit__(*exc)
            self._picture = None

    @property
    def width(self) -> int | None:
        """Of the terminal, in columns; ``None``: lines may be as long as they are."""
        return None if self._picture is None else self._picture.width

    def say(self, text: str) -> None:
        """One line; on a terminal as many as it takes."""
        indent = " " * (len(text) - len(text.lstrip()))
        lines = [text] if self.width is None else wrap(text.strip(), max(1, self.width - _INDENT - len(indent)), "")
        begin = f"{time.monotonic() - self._started:6.1f} s  "
        more = f"\n{'':{_INDENT}}{indent}".join(lines)
        self._print(begin + (more if self.width is None else indent + more))

    def show(self, text: str) -> None:
        """Lines as they are, set off by empty ones."""
        self._print(f"\n{text}\n")

    def introduce(self, directory: Path, regions: Sequence[str], machines: int) -> None:
        """What there will be, and how its pace differs from a real installation's."""
        self.say(f"a company in {directory}:")
        places = f"{counted(len(regions), 'region')} ({', '.join(regions)})"
        self.say(f"  control, {company.WORKERS} workers, {places}, {counted(machines, 'machine')}")
        usual = f"{HEARTBEAT_INTERVAL_S}, {HEARTBEAT_SILENCE_S_MAX} and {KV_POLL_INTERVAL_S} s"
        ours = f"heartbeat {company.HEARTBEAT_S:g} s, silence {company.SILENCE_S:g} s, KV poll {company.KV_POLL_S:g} s"
        self.say(f"  intervals: {ours} (usually {usual})")

    def child(self, event: ChildEvent) -> None:
        """Something happened to a process. That one of many without an address came up is worth a line only after it ended."""
        if event.what == "ready":
            if event.detail or event.child in self._ended:
                self.say(f"  {event.child} is up{f' at {event.detail}' if event.detail else ''}")
        elif event.what != "started":
            self._ended.add(event.child)
            self.say(f"  {event.child} {event.detail}")

    async def follow(
        self,
        control: ControlClient,
        deployment: DeploymentId,
        label: str,
        until: Callable[[DeploymentDetail], bool] = has_ended,
    ) -> DeploymentDetail:
        """Follow a deployment under a short name: in the picture, or with a line at each new state and now and then between."""
        if self._picture is not None:
            return await self._picture.follow(control, deployment, label, until)
        return await follow(control, deployment, self._teller(label), until)

    def _teller(self, label: str) -> Callable[[DeploymentDetail], None]:
        said = ""
        said_state: DeploymentState | None = None
        said_at = 0.0

        def tell(detail: DeploymentDetail) -> None:
            nonlocal said, said_state, said_at
            text, state = state_of(detail.deployment), detail.deployment.state
            if text != said and (state is not said_state or time.monotonic() - said_at >= PAUSE_S):
                said, said_state, said_at = text, state, time.monotonic()
                self.say(f"  {label} {text}")

        return tell

    def _print(self, text: str) -> None:
        if self._picture is not None:
            self._picture.say(text)
        else:
            print(text, file=self._stream, flush=True)
