"""A deployment: one run of one release to one service's machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from fleetcast.model.generation import Generation
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, DeploymentId, RegionName, ServiceName
from fleetcast.model.plan import Preset
from fleetcast.model.spelling import Natural, stated


class DeploymentKind(StrEnum):
    DEPLOY = "deploy"
    ROLLBACK = "rollback"


class DeploymentState(StrEnum):
    BUILDING = "BUILDING"
    REPLICATING = "REPLICATING"
    DISTRIBUTING = "DISTRIBUTING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    SUPERSEDED = "SUPERSEDED"
    ABORTED = "ABORTED"
    ROLLED_BACK = "ROLLED_BACK"

    @property
    def ended(self) -> bool:
        return self not in DEPLOYMENT_TRANSITIONS


_ENDS: Final = frozenset(
    {DeploymentState.FAILED, DeploymentState.SUPERSEDED, DeploymentState.ABORTED, DeploymentState.ROLLED_BACK}
)

DEPLOYMENT_TRANSITIONS: Final[Mapping[DeploymentState, frozenset[DeploymentState]]] = {
    DeploymentState.BUILDING: _ENDS | {DeploymentState.REPLICATING},
    DeploymentState.REPLICATING: _ENDS | {DeploymentState.DISTRIBUTING},
    DeploymentState.DISTRIBUTING: _ENDS | {DeploymentState.SUCCEEDED},
}
"""From each unfinished state to what may follow. End states have no entry."""


@dataclass(frozen=True, slots=True)
class ByteCounts:
    """First verified copies of payload, by where they came from, in bytes. ``local`` includes what was there already."""

    origin: Natural = 0
    peer: Natural = 0
    local: Natural = 0

    def __add__(self, other: ByteCounts) -> ByteCounts:
        return ByteCounts(self.origin + other.origin, self.peer + other.peer, self.local + other.local)

    @property
    def total(self) -> int:
        return self.origin + self.peer + self.local


@dataclass(frozen=True, slots=True)
class Progress:
    """A deployment's machines, rolled up. ``total`` is the inventory's count; ``reporting`` have this goal or a later one."""

    total: int = 0
    reporting: int = 0
    fetched: int = 0
    active: int = 0
    failed: int = 0
    bytes: ByteCounts = ByteCounts()


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment as the API shows it. Times are the database's clock, UTC milliseconds; durations are seconds."""

    id: DeploymentId
    service: ServiceName
    environment: str
    kind: DeploymentKind
    sequence: int
    """Order of the triggers of one service and environment: an older one never overwrites a newer."""
    commit_sha: CommitSha
    state: DeploymentState
    reason: str
    """What it waits for, or why it ended as it did."""
    build: BuildId | None
    artifact: ArtifactName | None
    release: ReleaseRef | None
    generation: Generation | None
    created_at_ms: int
    finished_at_ms: int | None
    build_s: float | None
    """Trigger to SUCCEEDED, queueing included; 0 where nothing had to be built."""
    replicate_s: float | None
    """From there to COMPLETE everywhere; 0 for a rollback."""
    distribute_s: float | None
    """Goal write to the last machine's health check passed; only of a SUCCEEDED deployment."""
    artifact_bytes: int | None
    progress: Progress
    rolled_back_by: DeploymentId | None = None
    """The rollback that took this release back, if one did."""
    plan: str = Preset.ALL_AT_ONCE.value
    """The name of the policy by which it is rolled out."""
    wave: int = 0
    """Of ``waves``, the one that was let in last, from 1; 0: none yet, or all at once."""
    waves: int = 0
    paused: bool = False
    skipped: tuple[RegionName, ...] = ()
    """Regions that it goes on without: not in ``progress``."""
    by: str = ""
    """Who triggered it, by the name of a token; empty: a push did, or a release that proved sick."""
    override_freeze: str = ""
    """Why freezes do not hold it; empty: they do."""
    promoted_from: str | None = None
    """The environment whose release it takes over, where it was promoted."""
    override: str = ""
    """Why it came although what its environment requires did not hold."""
    bound_s: Annotated[float, stated(minimum=0)] | None = None
    """Only in the answer to what somebody does to it: from then on, and once it is built, it has ended within so long, whatever
    happens; pauses, freezes, approvals and its turn in line apart. ``None``: it has ended, or that is not said."""
