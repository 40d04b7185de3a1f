"""What the handlers work with: the process's parts, opened once and handed to each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from litestar.di import NamedDependency
from litestar.params import SkipValidation

from fleetcast.builds.logs import BuildLogs
from fleetcast.builds.queue import BuildQueue
from fleetcast.builds.uploads import BuildUploads
from fleetcast.control.buckets import RegionalBuckets
from fleetcast.control.config import ControlConfig
from fleetcast.http.holding import Bell, Bells
from fleetcast.http.sse import Streams
from fleetcast.model.ids import BuildId
from fleetcast.rollouts.controller import RolloutController
from fleetcast.rollouts.triggers import Triggers
from fleetcast.stores.blobs import BlobStore
from fleetcast.stores.database import Database
from fleetcast.stores.kv import KeyValueStore


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
    controller: RolloutController
    queued: Bell
    """Rings when a build can be claimed."""
    news: Bell
    """Rings when something that deployments or events show may have changed."""
    logged: Bells[BuildId]
    """Rings when a build's log grew, or the build ended or was stopped."""
    streams: Streams


PartsHere: TypeAlias = NamedDependency[SkipValidation[Parts]]
"""The type of a handler's ``parts`` parameter."""
