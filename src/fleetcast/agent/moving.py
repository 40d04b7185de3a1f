"""A machine that another environment of a service means now: the one before lets go of it first (pure).

A machine whose labels no longer match a goal keeps what it runs. Not where it would then run one service twice: it is in one
environment of it at most. So what is left of the former is ended as a removal is, and only then does the other begin: the two
may want the same port.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Protocol, TypeVar

from fleetcast.model.goal import Goal
from fleetcast.model.machine import Selector


class Key(Protocol):
    """One service in one environment."""

    @property
    def environment(self) -> str: ...

    @property
    def service(self) -> str: ...


K = TypeVar("K", bound=Key)


def left(goals: Mapping[K, Goal], here: Set[K]) -> Set[K]:
    """Of what is ``here``, that for which there is no goal, while another environment of the service has one."""
    meant = {key.service for key, goal in goals.items() if not goal.removed}
    return {key for key in here if key not in goals and key.service in meant}


def pursued(goals: Mapping[K, Goal], here: Set[K]) -> Mapping[K, Goal]:
    """What each service is to pursue by now. ``here``: of which something is on this machine beside data and logs.

    What is left pursues a tombstone, good for as long as the goal that takes its place; that one waits.
    """
    leaving = left(goals, here)
    services = {key.service for key in leaving}
    going = {key: goal for key, goal in goals.items() if goal.removed or key.service not in services}
    for key in leaving:
        coming = next(goal for other, goal in goals.items() if other.service == key.service and not goal.removed)
        going[key] = replace(coming, environment=key.environment, selector=Selector(), removed=True)
    return going
