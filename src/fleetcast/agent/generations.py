"""Which goals a machine takes from its region: generations only grow (law 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from fleetcast.model import ids
from fleetcast.model.errors import Invalid
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal


@dataclass(frozen=True, slots=True)
class KnownGoal:
    """The newest goal ever taken under one name; its generation is the floor."""

    goal: Goal
    withdrawn: bool = False
    """The region no longer names it for this machine: nothing is started or stopped for it, and what runs stays."""


@dataclass(frozen=True, slots=True)
class Judged:
    known: dict[str, KnownGoal]
    refused: tuple[str, ...]
    """Goals of a lower generation, one line each: a region that lags behind."""
    alarms: tuple[str, ...]
    """Goals that contradict the one of the same generation, or have a name that none may have, one line each."""


def goal_name(goal: Goal) -> str:
    """``<environment>/<service>``: what makes goals successors of each other."""
    return f"{goal.environment}/{goal.service}"


def judge(known: Mapping[str, KnownGoal], offered: Iterable[Goal]) -> Judged:
    """What is known after a region has named all of this machine's goals. A refused goal leaves the one before in force."""
    after = {name: replace(old, withdrawn=True) for name, old in known.items()}
    refused: list[str] = []
    alarms: list[str] = []
    for goal in offered:
        name = goal_name(goal)
        if not _legal(goal):
            alarms.append(f"goal {name!r} was refused: no service or environment has such a name")
            continue
        old = known.get(name)
        if old is None or goal.generation > old.goal.generation or goal == old.goal:
            after[name] = KnownGoal(goal)
            continue
        after[name] = old
        stated = f"goal {name} of generation {_text(goal.generation)}"
        if goal.generation == old.goal.generation:
            alarms.append(f"{stated} came with other content than before and was refused: write it again with a raised epoch")
        else:
            refused.append(f"{stated} was refused: {_text(old.goal.generation)} is known here")
    return Judged(after, tuple(refused), tuple(alarms))


def _legal(goal: Goal) -> bool:
    """The names become directories here, and a region may say anything."""
    try:
        ids.service_name(goal.service)
        ids.service_name(goal.environment)
    except Invalid:
        return False
    return True


def _text(generation: Generation) -> str:
    return f"{generation.epoch}.{generation.counter}"
