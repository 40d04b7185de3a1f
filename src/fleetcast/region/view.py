"""What the regional key-value store holds, decoded and kept up to date by watching it.

The mirror writes the store and everybody else reads this view, so that a region served by several processes, one of which
mirrors, works the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import structlog

from fleetcast.http import messages
from fleetcast.model.artifact import ArtifactRecord, goal_key, rollback_key
from fleetcast.model.errors import Compacted, Incompatible, Invalid, Unavailable
from fleetcast.model.goal import Goal
from fleetcast.model.ids import Digest, MachineId, ServiceName
from fleetcast.model.limits import KV_WAIT_S_MAX
from fleetcast.model.machine import GivenLabels
from fleetcast.model.region_rollback import RegionRollback
from fleetcast.region.breaking_glass import stands
from fleetcast.region.goals import HeldGoal
from fleetcast.stores.kv import Change, KeyValueStore

log = structlog.get_logger(__name__)

T = TypeVar("T")

Given: TypeAlias = Mapping[MachineId, Mapping[str, str]]
"""Labels that people gave, by machine."""

ARTIFACTS: Final = "artifacts/"
"""Prefix of all keys of :func:`~fleetcast.model.artifact.artifact_record_key`."""
GOALS: Final = "goals/"
"""Prefix of all keys of :func:`~fleetcast.model.artifact.goal_key`."""
LABELS: Final = "labels/"
"""Prefix of all keys of :func:`~fleetcast.model.artifact.labels_key`."""
ROLLBACKS: Final = "rollbacks/"
"""Prefix of all keys of :func:`~fleetcast.model.artifact.rollback_key`."""

_RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class HeldRecord:
    record: ArtifactRecord
    revision: int
    """At which it was written here: the order in which records came."""


class RegionView:
    """Artifact records, goals and given labels. Who wants to know of changes adds itself to ``on_records``, ``on_goals`` or
    ``on_labels``; these are called in the event loop and must not block.
    """

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store
        self._revision = 0
        self._records: dict[str, HeldRecord] = {}
        self._goals: dict[str, HeldGoal] = {}
        self._labels: dict[MachineId, Mapping[str, str]] = {}
        self._rollbacks: dict[str, RegionRollback] = {}
        self.on_records: list[Callable[[], None]] = []
        self.on_goals: list[Callable[[], None]] = []
        self.on_labels: list[Callable[[Given], None]] = []
        """Called with the machines whose labels changed."""

    @property
    def goals(self) -> tuple[HeldGoal, ...]:
        """All goals held."""
        return tuple(self._goals.values())

    @property
    def labels(self) -> Given:
        """Those given by people, of every machine that ever was given some."""
        return self._labels

    def goal(self, environment: str, service: ServiceName) -> Goal | None:
        """The goal of a service, if there is one."""
        held = self._goals.get(goal_key(environment, service))
        return None if held is None else held.goal

    @property
    def rollbacks(self) -> tuple[tuple[RegionRollback, Goal], ...]:
        """Made at this region past control, those that stand, each with the goal that it has now."""
        found = ((each, self.goal(each.environment, each.service)) for each in self._rollbacks.values())
        return tuple((each, goal) for each, goal in found if goal is not None and stands(each, goal))

    def rollback(self, environment: str, service: ServiceName) -> RegionRollback | None:
        """The one of a service that stands, if one does."""
        found = self._rollbacks.get(rollback_key(environment, service))
        return found if stands(found, self.goal(environment, service)) else None

    def record(self, root: Digest) -> ArtifactRecord | None:
        """The record of a root, if there is one."""
        held = self._records.get(f"{ARTIFACTS}{root}")
        return None if held is None else held.record

    def artifacts(self) -> dict[Digest, tuple[ArtifactRecord, ...]]:
        """The records of each artifact, both oldest first. More than one: several commits gave equal files."""
        found: dict[Digest, tuple[ArtifactRecord, ...]] = {}
        for held in sorted(self._records.values(), key=lambda held: held.revision):
            digest = held.record.release.digest
            found[digest] = (*found.get(digest, ()), held.record)
        return found

    async def load(self) -> None:
        """Read everything anew."""
        snapshot = await self._store.range("")
        self._records.clear()
        self._goals.clear()
        self._labels.clear()
        self._rollbacks.clear()
        self._take(Change(entry.key, entry.value, entry.mod_revision) for entry in snapshot.entries)
        self._revision = snapshot.revision
        self._tell({ARTIFACTS, GOALS}, self._labels)

    async def follow(self) -> None:
        """Keep up with the store until cancelled."""
        while True:
            try:
                await self._follow_once()
            except Unavailable as error:
                log.warning("store_unavailable", error=error.message)
                await asyncio.sleep(_RETRY_S)

    async def _follow_once(self) -> None:
        try:
            seen = await self._store.changes("", self._revision, wait_s=KV_WAIT_S_MAX)
        except Compacted:
            await self.load()
            return
        self._take(seen.changes)
        self._revision = seen.revision
        self._tell(
            {f"{change.key.partition('/')[0]}/" for change in seen.changes},
            {machine: self._labels[machine] for machine in _machines(seen.changes) if machine in self._labels},
        )

    def _take(self, changes: Iterable[Change]) -> None:
        for change in changes:
            if change.key.startswith(ARTIFACTS):
                record = _decoded(change, ArtifactRecord)
                if record is None:
                    self._records.pop(change.key, None)
                else:
                    self._records[change.key] = HeldRecord(record, change.mod_revision)
            elif change.key.startswith(GOALS):
                goal = _decoded(change, Goal)
                if goal is None or change.value is None:
                    self._goals.pop(change.key, None)
                else:
                    self._goals[change.key] = HeldGoal(change.key, goal, change.value)
            elif change.key.startswith(ROLLBACKS):
                rollback = _decoded(change, RegionRollback)
                if rollback is None:
                    self._rollbacks.pop(change.key, None)
                else:
                    self._rollbacks[change.key] = rollback
            elif change.key.startswith(LABELS):
                given = _decoded(change, GivenLabels)
                if given is not None:  # what vanishes takes no label away: to take all away is said in so many words
                    self._labels[given.machine] = given.labels

    def _tell(self, prefixes: set[str], relabelled: Given) -> None:
        for prefix, listeners in ((GOALS, self.on_goals), (ARTIFACTS, self.on_records)):
            for listener in listeners if prefix in prefixes else ():
                listener()
        for taker in self.on_labels if relabelled else ():
            taker(relabelled)


def _machines(changes: Iterable[Change]) -> set[MachineId]:
    return {MachineId(change.key.removeprefix(LABELS)) for change in changes if change.key.startswith(LABELS)}


def _decoded(change: Change, into: type[T]) -> T | None:
    """``None`` for what was deleted, and for what this program cannot read: the mirror lets none of that in."""
    if change.value is None:
        return None
    try:
        return messages.decode(change.value, into)
    except (Invalid, Incompatible) as error:
        log.error("unreadable_value", key=change.key, error=error.message)
        return None
