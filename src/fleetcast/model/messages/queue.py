"""People, and whoever scales workers, to control: the queue and its history."""

from __future__ import annotations

from dataclasses import dataclass

from fleetcast.model.build import Build
from fleetcast.model.ids import ServiceName
from fleetcast.model.protocol import PROTOCOL, Protocol
from fleetcast.model.spelling import Natural


@dataclass(frozen=True, slots=True)
class WaitingBuild:
    """A build that is QUEUED."""

    build: Build
    position: Natural
    """In line, from 1."""
    waits_for: str
    """``worker``: claimed as soon as one asks; ``service``: its service runs as many as it may; ``backoff``: an attempt was
    lost, and the next comes after a while."""
    text: str
    """The same for people."""
    waited_s: float
    """Since it was ordered."""
    lands_in: tuple[str, ...]
    """Environments whose deployments wait for it; none: it is built only."""


@dataclass(frozen=True, slots=True)
class RunningBuild:
    """A build that is RUNNING."""

    build: Build
    running_s: float
    silent_s: float
    """Since its worker's last heartbeat."""
    lands_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """``GET /v1/queue``: what waits, what runs, and how many workers that wants."""

    queued: Natural
    ready: Natural
    """Of those: wait for nothing but a worker."""
    urgent: Natural
    """Of those that are queued."""
    running: Natural
    idle: Natural
    """Slots of workers that ask this control process for a build and have none. Where several processes serve workers, each
    knows its own."""
    oldest_wait_s: float
    """Age of the order that waited longest; 0: nothing waits."""
    oldest_ready_s: float
    """The same among those that are ready."""
    wanted_workers: Natural
    """Slots: builds that should be able to run at a time, all workers together."""
    why: str
    """In a sentence."""
    service_running_max: Natural
    waiting: tuple[WaitingBuild, ...]
    """The first in line."""
    under_way: tuple[RunningBuild, ...]
    """The oldest first."""
    more: Natural = 0
    """Builds that are counted above and not listed."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class BuildDay:
    """Builds of one service that ended on one day, UTC. Times in seconds, of those that were claimed."""

    service: ServiceName
    day: str
    """``2026-01-05``."""
    builds: Natural
    succeeded: Natural
    failed: Natural
    attempts: Natural
    """Claims of them all: as many as builds, unless workers were lost."""
    wait_s: float
    """From the order to the claim of the last attempt, on average."""
    wait_s_max: float
    build_s: float
    """From that claim to the end, on average."""
    build_s_max: float


@dataclass(frozen=True, slots=True)
class BuildHistory:
    """``GET /v1/history?service=&days=``: the newest day first, its services by name."""

    days: Natural
    items: tuple[BuildDay, ...]
    protocol: Protocol = PROTOCOL
