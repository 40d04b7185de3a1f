"""Who starts the services of a machine and has them end: the agent itself, or systemd.

What is written down of a start says who that was, so that an agent which is told otherwise the next time ends, and waits for,
what the one before it had started.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Final, Literal, Protocol

import structlog

from fleetcast.agent import ending, units
from fleetcast.agent.gate import Instance, Start, start_at_gate
from fleetcast.agent.units import Units
from fleetcast.model.errors import Refused

log = structlog.get_logger(__name__)

Choice = Literal["auto", "systemd", "children"]


class Supervisor(Protocol):
    """Of services, and of what keeps their sockets. What it started goes on when this process ends."""

    @property
    def by_units(self) -> bool:
        """Whether what it starts are units of systemd."""

    async def start(self, start: Start) -> Instance:
        """Start a command as the leader of a session of its own, on record before it begins.

        Raises:
            OSError, Refused: this machine is in the way.
        """


class Children:
    """They are children of the agent."""

    by_units = False

    async def start(self, start: Start) -> Instance:
        """Raises :class:`OSError`: the machine is out of something."""
        return start_at_gate(start)


CHILDREN: Final = Children()


def chosen(choice: Choice, stop_s: float) -> Supervisor:
    """By the settings. ``stop_s``: between asking a service to end and killing it.

    Raises:
        Refused: it shall be systemd, and there are no units for this process.
    """
    if choice == "children":
        return CHILDREN
    hindrance = units.hindrance()
    if hindrance and choice == "systemd":
        raise Refused("no_systemd", f"services cannot be units here, {hindrance}: set supervisor of [[agent]] to auto")
    if hindrance:
        log.info("services_are_children", because=hindrance)
    return CHILDREN if hindrance else Units(stop_s)


async def end(instance: Instance, grace_s: float) -> None:
    """End all processes of an instance: SIGTERM, after ``grace_s`` seconds SIGKILL. Returns when none is left.

    Raises:
        Refused: something survives SIGKILL for ``KILL_S_MAX`` seconds, or systemd does not do what it is told.
    """
    await (units.end if instance.unit else ending.end)(instance, grace_s)


class FoundUnits:
    """What systemd has of the services of a machine, asked once for all of those that an agent finds there."""

    def __init__(self) -> None:
        self._names: frozenset[str] | None = None
        self._silent = False
        self._turn = asyncio.Lock()

    async def tidy(self, run: Path, known: Collection[str]) -> None:
        """As :func:`tidy`, before anything of the service is started. That it cannot be done holds up nothing: what it would
        have ended does nothing, and the service's next start says what is wrong with systemd. A systemd that does not answer
        is asked no more, since it takes its time to do that for each service."""
        async with self._turn:
            if self._silent or not units.has_files(run):
                return
            try:
                if self._names is None:
                    self._names = await units.remembered()
                await units.tidy(run, known, self._names)
            except Refused as error:
                self._silent = error.code == "systemd_silent"
                log.warning("units_not_tidied", service=str(run.parent), error=error.message)


async def tidy(run: Path, known: Collection[str]) -> None:
    """See :func:`fleetcast.agent.units.tidy`; nothing happens where a service has no units."""
    await units.tidy(run, known)
