"""What happened, for people and programs that watch: one line each, in one order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    """Stable names. A later version may know more of them."""

    DEPLOYMENT_TRIGGERED = "deployment.triggered"
    DEPLOYMENT_CHANGED = "deployment.changed"
    """It entered another state."""
    DEPLOYMENT_ENDED = "deployment.ended"
    DEPLOYMENT_WAVE = "deployment.wave"
    """A wave was let in, or has passed; with the figures that decided it."""
    DEPLOYMENT_PAUSED = "deployment.paused"
    DEPLOYMENT_RESUMED = "deployment.resumed"
    DEPLOYMENT_PROMOTED = "deployment.promoted"
    """The rest of a wave's bake is skipped."""
    DEPLOYMENT_SKIPPED = "deployment.skipped"
    """It goes on without a region, or with it again."""
    DEPLOYMENT_RETRIED = "deployment.retried"
    """Machines that failed it try again."""
    DEPLOYMENT_HELD = "deployment.held"
    """A freeze, or approvals that are missing, hold back its next wave; or they do no more."""
    DEPLOYMENT_CHECKED = "deployment.checked"
    """An outside check has failed, or says something else than before."""
    DEPLOYMENT_APPROVED = "deployment.approved"
    DEPLOYMENT_REFUSED = "deployment.refused"
    FREEZE_PUT = "freeze.put"
    """One of the whole company was added or changed."""
    FREEZE_REMOVED = "freeze.removed"
    BUILD_QUEUED = "build.queued"
    BUILD_CLAIMED = "build.claimed"
    BUILD_REQUEUED = "build.requeued"
    BUILD_ENDED = "build.ended"
    SERVICE_PUT = "service.put"
    """It was created or changed."""
    SERVICE_REMOVED = "service.removed"
    ENVIRONMENT_PUT = "environment.put"
    """One of a service's was created or changed."""
    ENVIRONMENT_REMOVED = "environment.removed"
    REGION_JOINED = "region.joined"
    """Its first hello. Where there are releases it has to catch up first."""
    REGION_DRAINED = "region.drained"
    REGION_UNDRAINED = "region.undrained"
    REGION_SILENT = "region.silent"
    """It said nothing for too long, and is drained until it has caught up."""
    REGION_CAUGHT_UP = "region.caught_up"
    """It is back, or new, has every release, and counts."""
    REGION_ROLLED_BACK = "region.rolled_back"
    """Somebody took a service back there past control; told once control has heard of it."""
    REGION_FOLLOWS_AGAIN = "region.follows_again"
    """Such a rollback stands no more: the region takes control's goals for the service again."""
    MACHINES_JOINED = "machines.joined"
    """Of one region, counted: a large region joins in one event."""
    MACHINE_RETIRED = "machine.retired"
    ARTIFACT_COLLECTED = "artifact.collected"
    """From the regions' buckets, or from the main store: the text says which, and why."""
    ARTIFACT_PINNED = "artifact.pinned"
    ARTIFACT_UNPINNED = "artifact.unpinned"
    WEBHOOK_PUT = "webhook.put"
    """Who is told of events was added or changed."""
    WEBHOOK_REMOVED = "webhook.removed"


@dataclass(frozen=True, slots=True)
class Event:
    """Written in the transaction that made it happen."""

    id: int
    """Only grows, in the order of commits."""
    at_ms: int
    """The database's clock, UTC milliseconds."""
    kind: str
    """One of :class:`EventKind`, or what a newer version adds."""
    service: str
    """Empty: it is about no service."""
    subject: str
    """The id of the deployment, build or machine, the name of the service, region or artifact."""
    state: str
    """Of the deployment or build from now on; empty otherwise."""
    text: str
    """Why, or what else there is to say, for people."""
