"""Which goals select a machine, and the short name of that set by which a long poll knows it. Pure.

What a machine is told depends on where it is and how it is labelled, not on who it is; so answers are made once for all
machines of one :class:`Place`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
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
    given: frozenset[tuple[str, str]] | None = None
    """Labels that people gave it, which it is told with its goals; ``None``: nothing is known of any."""


def place_of(machine: Machine, given: Mapping[str, str] | None = None) -> Place:
    """Machines of equal places are told the same."""
    told = None if given is None else frozenset(given.items())
    return Place(machine.region, machine.zone, frozenset(machine.labels.items()), told)


def selecting(goals: Iterable[HeldGoal], machine: Machine) -> tuple[HeldGoal, ...]:
    """The goals that select ``machine``, in key order."""
    return tuple(sorted((held for held in goals if held.goal.selects(machine)), key=lambda held: held.key))


def etag_of(selected: Iterable[HeldGoal], given: frozenset[tuple[str, str]] | None = None) -> str:
    """16 hex digits that change when anything about a selection or the given labels does; the same in every process that
    holds these.
    """
    digest = hashlib.sha256()
    for held in selected:
        digest.update(hashlib.sha256(held.encoded).digest())
    if given is not None:
        digest.update(repr(sorted(given)).encode())
    return digest.hexdigest()[:16]


def alive(goals: Iterable[HeldGoal], now_ms: int) -> tuple[HeldGoal, ...]:
    """Without tombstones that have expired: they do nothing any more, and there would be ever more of them to hand out."""
    return tuple(held for held in goals if not (held.goal.removed and held.goal.expired(now_ms)))
