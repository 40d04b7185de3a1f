"""Which goals select a machine, and the short name of that set by which a long poll knows it. Pure.

What a machine is told depends on where it is and how it is labelled, not on who it is; so answers are made once for all
machines of one :class:`Place`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from fleetcast.model.goal import Goal
from fleetcast.model.machine import Machine


@dataclass(frozen=True, slots=True)
class HeldGoal:
    """A goal, and the bytes it was read from: agents get those, with what only they understand still in them (law 13)."""

    key: str
    goal: Goal
    encoded: bytes


class Place(NamedTuple):
    """All of a machine that selectors look at, hashable."""

    region: str
    zone: str
    labels: frozenset[tuple[str, str]]


def place_of(machine: Machine) -> Place:
    """Machines of equal places are selected by the same goals."""
    return Place(machine.region, machine.zone, frozenset(machine.labels.items()))


def selecting(goals: Iterable[HeldGoal], machine: Machine) -> tuple[HeldGoal, ...]:
    """The goals that select ``machine``, in key order."""
    return tuple(sorted((held for held in goals if held.goal.selects(machine)), key=lambda held: held.key))


def etag_of(selected: Iterable[HeldGoal]) -> str:
    """16 hex digits that change when anything about a selection does; the same in every process that holds these goals."""
    digest = hashlib.sha256()
    for held in selected:
        digest.update(hashlib.sha256(held.encoded).digest())
    return digest.hexdigest()[:16]
