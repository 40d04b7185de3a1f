"""The goals of this machine, on disk: with the region away or the agent started anew they stay in force."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import structlog

from fleetcast.agent import records
from fleetcast.agent.generations import Judged, KnownGoal, goal_name, judge
from fleetcast.agent.layout import ServiceKey
from fleetcast.model.goal import Goal

log = structlog.get_logger(__name__)


class GoalBook:
    """One task at a time may call :meth:`take`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, KnownGoal] = records.read(path, dict[str, KnownGoal]) or {}

    def goals(self) -> dict[ServiceKey, Goal]:
        """Those in force."""
        return {_key(known.goal): known.goal for known in self._known.values() if not known.withdrawn}

    async def take(self, offered: Iterable[Goal]) -> Judged:
        """Take what a region names, as far as law 3 allows; on disk when this returns.

        Raises:
            OSError: it cannot be written; nothing was taken.
        """
        judged = judge(self._known, offered)
        for line in judged.refused:
            log.info("goal_refused", reason=line)
        for line in judged.alarms:
            log.error("goal_alarming", reason=line)
        if judged.known != self._known:
            await asyncio.to_thread(records.write, self._path, judged.known)
            for name, known in judged.known.items():
                if known != self._known.get(name):
                    log.info("goal_withdrawn" if known.withdrawn else "goal_taken", goal=name, deployment=known.goal.deployment)
            self._known = judged.known
        return judged


def _key(goal: Goal) -> ServiceKey:
    environment, service = goal_name(goal).split("/")
    return ServiceKey(environment, service)
