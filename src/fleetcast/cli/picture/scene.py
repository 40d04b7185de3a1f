"""What is known of one deployment at a moment: all that its picture is drawn from (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleetcast.cli.picture.rates import History, left_s, rate
from fleetcast.cli.picture.text import UNICODE, Symbols
from fleetcast.model.messages.deployments import DeploymentDetail
from fleetcast.model.picture import RegionPicture
from fleetcast.model.replication import ReplicaStatus


@dataclass(frozen=True, slots=True)
class Scene:
    """Times are monotonic seconds of whoever looks on."""

    detail: DeploymentDetail
    heard_at: float
    label: str = ""
    """What the story calls it; empty: it has no other name."""
    history: History = field(default_factory=History)
    log: tuple[str, ...] = ()
    """The last lines of the build's log."""
    trouble: str = ""
    """Why there is no news."""

    def age_s(self, now: float) -> float:
        """Since the trigger."""
        ended = self.detail.deployment.state.ended
        return self.detail.age_s + (0.0 if ended else max(0.0, now - self.heard_at))


@dataclass(frozen=True, slots=True)
class Paper:
    """What is drawn on. Sizes in terminal cells."""

    width: int
    height: int
    symbols: Symbols = UNICODE


@dataclass(frozen=True, slots=True)
class Flow:
    """How far and how fast one region gets something. Bytes; ``left_s`` is ``None`` where nobody can say."""

    done: int
    total: int
    bytes_per_s: float
    left_s: float | None

    @property
    def share(self) -> float:
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0


def copy_flow(scene: Scene, region: RegionPicture, now: float) -> Flow:
    """The bucket's copy."""
    complete = region.copy == ReplicaStatus.COMPLETE
    speed = 0.0 if complete else rate(scene.history.copied.get(region.name, ()), now)
    total = region.copy_bytes_total
    return Flow(total if complete else region.copy_bytes, total, speed, left_s(total - region.copy_bytes, speed))


def fetch_flow(scene: Scene, region: RegionPicture, now: float) -> Flow:
    """The machines' fetches, together. What they had already counts as done and not as fast.

    Of what is left the same part will be there already as of what is done: otherwise a small change would seem to take hours
    until the last machine has looked at what it has.
    """
    total = (scene.detail.deployment.artifact_bytes or 0) * region.expected
    left = max(0, total - region.bytes.total) if region.fetched < region.expected else 0
    speed = rate(scene.history.fetched.get(region.name, ()), now) if left > 0 else 0.0
    travelled = (region.bytes.origin + region.bytes.peer) / region.bytes.total if region.bytes.total else 1.0
    return Flow(total - left, total, speed, left_s(round(left * travelled), speed))


def together(flows: list[Flow]) -> Flow:
    """The fleet's: as long as the slowest takes, unless one of them says nothing."""
    unfinished = [flow for flow in flows if flow.done < flow.total]
    lefts = [flow.left_s for flow in unfinished]
    known = [left for left in lefts if left is not None]
    return Flow(
        sum(flow.done for flow in flows),
        sum(flow.total for flow in flows),
        sum(flow.bytes_per_s for flow in flows),
        max(known) if known and len(known) == len(lefts) else None,
    )
