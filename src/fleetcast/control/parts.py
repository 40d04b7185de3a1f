"""What the handlers work with: the process's parts, opened once and handed to each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from fleetcast.builds.logs import BuildLogs
from fleetcast.builds.queue import BuildQueue
from fleetcast.builds.uploads import BuildUploads
from fleetcast.control.buckets import RegionalBuckets
from fleetcast.control.config import ControlConfig
from fleetcast.http.holding import Bell, Bells, Line, Places, held_s, hold
from fleetcast.http.sse import Streams
from fleetcast.model.ids import BuildId
from fleetcast.model.limits import DEPLOYMENT_LOOK_INTERVAL_S, DEPLOYMENT_WAIT_S_MAX
from fleetcast.model.messages.artifacts import BuildDetail
from fleetcast.model.messages.deployments import DeploymentDetail
from fleetcast.retention.collector import Collector
from fleetcast.rollouts.controller import RolloutController
from fleetcast.rollouts.pushes import Pushes
from fleetcast.rollouts.triggers import Triggers
from fleetcast.stores.blobs import BlobStore
from fleetcast.stores.database import Database
from fleetcast.stores.kv import KeyValueStore

Shown = TypeVar("Shown", BuildDetail, DeploymentDetail)


@dataclass(frozen=True, slots=True)
class Parts:
    config: ControlConfig
    database: Database
    replication_database: Database
    """Of the rows of replicas; often the same."""
    kv: KeyValueStore
    main: BlobStore
    buckets: RegionalBuckets
    queue: BuildQueue
    logs: BuildLogs
    uploads: BuildUploads
    triggers: Triggers
    pushes: Pushes
    controller: RolloutController
    collector: Collector
    queued: Line
    """Rings when a build can be claimed."""
    news: Bell
    """Rings when something that deployments or events show may have changed."""
    logged: Bells[BuildId]
    """Rings when a build's log grew, or the build ended or was stopped."""
    streams: Streams
    kv_places: Places
    """For regions' questions about the key-value store, each of which may hold a connection to it."""
    hooks_receiving: asyncio.Semaphore
    """Held while the body of a webhook arrives."""

    def stir(self, ended: BuildId | None = None) -> None:
        """What deployments depend on has changed: whoever carries them out or looks on, look. ``ended``: the build that has."""
        self.controller.wake()
        self.news.ring()
        if ended is not None:
            self.logged.ring(ended)

    async def unseen(self, read: Callable[[], Awaitable[Shown]], seen: str, wait_s: float) -> Shown:
        """What ``read`` shows, held until that is of another version than ``seen``; unchanged when the wait is over."""

        async def look() -> Shown | None:
            shown = await read()
            return shown if shown.version != seen else None

        held = held_s(wait_s, DEPLOYMENT_WAIT_S_MAX)
        return await hold(self.news, look, wait_s=held, poll_s=DEPLOYMENT_LOOK_INTERVAL_S) or await read()


PartsHere: TypeAlias = NamedDependency[SkipValidation[Parts]]
"""The type of a handler's ``parts`` parameter."""
