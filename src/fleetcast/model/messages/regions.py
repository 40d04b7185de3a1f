"""Region to control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from fleetcast.model.ids import DeploymentId, Digest, MachineId, RegionName
from fleetcast.model.limits import REGION_ROLLBACKS_MAX, SURPLUS_ASKED_MAX
from fleetcast.model.machine import Machine
from fleetcast.model.messages.grants import Grant
from fleetcast.model.protocol import PROTOCOL, Protocol
from fleetcast.model.region_rollback import StandingRollback
from fleetcast.model.replication import CopyDemand, CopyProgress
from fleetcast.model.report import DeploymentRollup, MachineAnswer
from fleetcast.model.spelling import Natural, Spelling

DATA_URL: Final = Spelling(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[!-~]*)?")
DATA_KEY: Final = Spelling(r"([0-9a-f]{2})+")


@dataclass(frozen=True, slots=True)
class RegionHello:
    """``POST /v1/regions/{region}/hello`` at every start of a region process."""

    region: RegionName
    data_url: Annotated[str, DATA_URL.meta]
    """Base URL of the data port in front of the region's bucket."""
    data_key: Annotated[str, DATA_KEY.meta]
    """Hex: the key with which that port's grants are signed, so that control can look into the bucket."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class KvEntry:
    key: str
    value: str
    """UTF-8 JSON."""
    mod_revision: Natural


@dataclass(frozen=True, slots=True)
class KvPage:
    """``GET /v1/kv?prefix=&after=&wait_s=``: what changed in the global KV after a revision.

    ``snapshot`` true: ``entries`` is everything under the prefix and what is missing from it is gone (``after`` was 0, or
    compacted away). False: ``entries`` and ``deleted`` are the changes.
    """

    revision: Natural
    snapshot: bool
    entries: tuple[KvEntry, ...]
    deleted: tuple[str, ...] = ()
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class SourceGrants:
    """``POST /v1/artifacts/{digest}/source``: read grants on the main store's blobs of an artifact."""

    digest: Digest
    manifest: Grant
    content: Grant
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class Surplus:
    """``POST /v1/regions/{region}/surplus``: copies in the bucket of which the region has no record. It has deleted what it was
    told to before."""

    region: RegionName
    digests: Annotated[tuple[Digest, ...], Meta(max_length=SURPLUS_ASKED_MAX)]
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class SurplusJudged:
    delete: tuple[Digest, ...]
    """Those that were collected: delete them, unless their record has come back, and ask again."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class RegionReport:
    """``POST /v1/regions/{region}/report`` every few seconds. Repeats all it knows: nothing is lost with one of them."""

    region: RegionName
    machines: tuple[Machine, ...]
    """All that report."""
    rollups: tuple[DeploymentRollup, ...]
    copies: tuple[CopyProgress, ...]
    alarms: tuple[str, ...] = ()
    """What a person should know: a goal refused, a peer that lied."""
    demands: tuple[CopyDemand, ...] = ()
    """Those of the answer before, which were followed."""
    rollbacks: Annotated[tuple[StandingRollback, ...], Meta(max_length=REGION_ROLLBACKS_MAX)] = ()
    """Made at the region, past control: all that stand."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class ReportAccepted:
    wanted: tuple[MachineId, ...] = ()
    """Machines somebody asks about: answer at once, each with a :class:`MachineAnswered`."""
    now_ms: int = 0
    """The database's clock, UTC; 0: a control too old to say."""
    demands: tuple[CopyDemand, ...] = ()
    """Copies to attempt now; repeated until a report says that they were followed."""
    rollbacks_over: tuple[DeploymentId, ...] = ()
    """Of those that the report names, by their ids: the ones after which somebody has deployed. They stand no more."""
    retired: tuple[MachineId, ...] = ()
    """Machines of the region that nothing waits for any more; one that reports again is back, and not named."""
    protocol: Protocol = PROTOCOL


@dataclass(frozen=True, slots=True)
class MachineAnswered:
    """``POST /v1/regions/{region}/answers``: about a machine that control asked for. Apart from the report, which carries
    every machine of the region: nobody's curiosity makes that come more often."""

    region: RegionName
    answer: MachineAnswer
    protocol: Protocol = PROTOCOL
