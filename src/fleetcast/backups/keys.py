"""The key-value store beside a restored database. It is derived from the tables: control writes goals, records and labels
again when it starts, so a restore only adds what is missing, and looks at what others have seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from fleetcast.backups.taking import every_entry
from fleetcast.model.artifact import goal_key, labels_key
from fleetcast.model.errors import Conflict
from fleetcast.model.goal import Goal
from fleetcast.model.ids import MachineId, ServiceName
from fleetcast.stores.kv import KeyValueStore

GOALS: Final = goal_key("", ServiceName("")).partition("/")[0] + "/"
_LABELS: Final = labels_key(MachineId(""))


@dataclass(frozen=True, slots=True)
class Held:
    """What a store holds before a database is restored beside it."""

    epoch: int
    """The highest of its goals; 0: it has none."""
    goals: frozenset[tuple[str, str]]
    """Service and environment of each."""
    labels: bool
    """Whether it has any machine's."""


async def held_by(kv: KeyValueStore) -> Held:
    epoch, named = 0, set()
    async for entry in every_entry(kv, GOALS):
        with contextlib.suppress(msgspec.MsgspecError):  # not ours to read: a newer program's
            goal = msgspec.json.decode(entry.value, type=Goal)
            epoch = max(epoch, goal.generation.epoch)
            if not goal.removed:
                named.add((str(goal.service), goal.environment))
    return Held(epoch, frozenset(named), bool((await kv.page(_LABELS)).entries))


async def add_missing(kv: KeyValueStore, entries: Iterable[tuple[str, bytes]]) -> int:
    """Keys of a backup that the store has not got, goals left out: theirs is another generation now. How many it were."""
    added = 0
    for key, value in entries:
        if not key.startswith(GOALS):
            with contextlib.suppress(Conflict):
                await kv.put(key, value, expected=0)
                added += 1
    return added
