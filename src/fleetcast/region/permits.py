"""Who may take a service down now (law 5). Pure: ``now`` is an argument."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from fleetcast.model.goal import Goal
from fleetcast.model.ids import MachineId
from fleetcast.model.permit import PermitDecision, PermitRequest

ASK_AGAIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class PermitTerms:
    """``lifetime_s``: how long a permit holds. ``settled_at``: monotonic second before which none that is limited is given,
    because those of the process before may still hold."""

    lifetime_s: float
    settled_at: float


class PermitBook:
    """The permits of one region. Counts a machine once, whether it is down, holds a permit, or both."""

    def __init__(self, terms: PermitTerms) -> None:
        self._terms = terms
        self._held: dict[tuple[str, str], dict[MachineId, float]] = {}

    def ask(self, request: PermitRequest, goal: Goal | None, down: Set[MachineId], now: float, now_ms: int) -> PermitDecision:
        """Grant, renew or refuse.

        ``goal`` is the one held for the service, ``down`` the machines that last reported the service down, ``now``
        monotonic seconds, ``now_ms`` UTC.
        """
        held = self._live(request, now)
        if request.machine in held:
            # It was told that it may go down: refusing now would bring nothing back.
            return self._grant(request, held, now)
        if goal is None:
            reason = f"this region holds no goal for {request.service} in {request.environment}"
            return PermitDecision(False, ASK_AGAIN_S, reason)
        obstacle = self._obstacle(request, goal, held.keys() | down, now, now_ms) if request.available else ""
        return PermitDecision(False, ASK_AGAIN_S, obstacle) if obstacle else self._grant(request, held, now)

    def release(self, request: PermitRequest) -> PermitDecision:
        """The machine is done; nothing happens when it held no permit. The answer is that it holds none now."""
        self._held.get((request.environment, request.service), {}).pop(request.machine, None)
        return PermitDecision(False, 0.0, "released")

    def _live(self, request: PermitRequest, now: float) -> dict[MachineId, float]:
        held = self._held.get((request.environment, request.service), {})
        return {machine: expires for machine, expires in held.items() if expires > now}

    def _grant(self, request: PermitRequest, held: dict[MachineId, float], now: float) -> PermitDecision:
        held[request.machine] = now + self._terms.lifetime_s
        self._held[request.environment, request.service] = held
        return PermitDecision(True, self._terms.lifetime_s, "")

    def _obstacle(self, request: PermitRequest, goal: Goal, unavailable: Set[MachineId], now: float, now_ms: int) -> str:
        if goal.expired(now_ms):
            return f"the goal of {goal.service} has expired: control has not renewed it"
        if request.generation != goal.generation:
            return f"the goal of {goal.service} has another generation here: read goals again"
        return self._shortage(request, goal, unavailable, now)

    def _shortage(self, request: PermitRequest, goal: Goal, unavailable: Set[MachineId], now: float) -> str:
        most = goal.limits.max_unavailable_rollback if goal.rollback else goal.limits.max_unavailable
        if most is None:
            return ""
        if now < self._terms.settled_at:
            left = self._terms.settled_at - now
            return f"this region has just started: permits from before may hold for another {left:.0f} s"
        others = len(unavailable - {request.machine})
        if others < most:
            return ""
        return f"{others} of at most {most} machines of {request.service} are down"
