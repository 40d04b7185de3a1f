"""Who may take a service down now (law 5). Pure: ``now`` is an argument."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from fleetcast.model.goal import Goal, Limits
from fleetcast.model.ids import MachineId
from fleetcast.model.limits import PERMIT_ASKS_PER_S
from fleetcast.model.permit import PermitDecision, PermitRequest
from fleetcast.region.places import Counted, Spot, Tally

ASK_AGAIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class PermitTerms:
    """``lifetime_s``: how long a permit holds. ``settled_at``: monotonic second before which none that is limited is given,
    because those of the process before may still hold, and not every machine that is down has said so yet."""

    lifetime_s: float
    settled_at: float


@dataclass(slots=True)
class _Service:
    """Permits of one service."""

    held: Tally = field(default_factory=Tally)
    expires: dict[MachineId, float] = field(default_factory=dict)
    """The first to expire comes first: all live equally long."""
    waiting: set[MachineId] = field(default_factory=set)
    """Were refused, and have asked in this turn of a lifetime or the last one."""
    waited: set[MachineId] = field(default_factory=set)
    turned_at: float = 0.0


class PermitBook:
    """The permits of one region. Counts a machine once, whether it is down, holds a permit, or both."""

    def __init__(self, terms: PermitTerms) -> None:
        self._terms = terms
        self._services: dict[tuple[str, str], _Service] = {}

    def ask(
        self, request: PermitRequest, goal: Goal | None, spot: Spot | None, down: Tally, now: float, now_ms: int
    ) -> PermitDecision:
        """Grant, renew or refuse.

        ``goal`` is the one held for the service, ``spot`` where the machine is, if that is known; ``down`` the machines that
        last reported the service down, ``now`` monotonic seconds, ``now_ms`` UTC.
        """
        service = self._live(request, now)
        if request.machine in service.held:
            # It was told that it may go down: refusing now would bring nothing back.
            return self._grant(request, service, spot, now)
        if goal is None:
            reason = f"this region holds no goal for {request.service} in {request.environment}"
            return PermitDecision(False, ASK_AGAIN_S, reason)
        obstacle = self._obstacle(request, goal, spot, service.held, down, now, now_ms) if request.available else ""
        return self._refuse(request, service, obstacle, now) if obstacle else self._grant(request, service, spot, now)

    def release(self, request: PermitRequest) -> PermitDecision:
        """The machine is done; nothing happens when it held no permit. The answer is that it holds none now."""
        service = self._services.get((request.environment, request.service))
        if service is not None:
            service.held.discard(request.machine)
            service.expires.pop(request.machine, None)
        return PermitDecision(False, 0.0, "released")

    def forget(self, machines: Iterable[MachineId]) -> None:
        """These are gone for good: what they held is free, and nobody waits in their name."""
        for machine in machines:
            for service in self._services.values():
                service.held.discard(machine)
                service.expires.pop(machine, None)
                service.waiting.discard(machine)
                service.waited.discard(machine)

    def _live(self, request: PermitRequest, now: float) -> _Service:
        service = self._services.get((request.environment, request.service)) or _Service(turned_at=now)
        while service.expires:
            machine, expires = next(iter(service.expires.items()))
            if expires > now:
                break
            service.held.discard(machine)
            del service.expires[machine]
        return service

    def _grant(self, request: PermitRequest, service: _Service, spot: Spot | None, now: float) -> PermitDecision:
        self._services[request.environment, request.service] = service
        service.held.add(request.machine, spot or Spot())
        service.expires.pop(request.machine, None)
        service.expires[request.machine] = now + self._terms.lifetime_s
        service.waiting.discard(request.machine)
        service.waited.discard(request.machine)
        return PermitDecision(True, self._terms.lifetime_s, "")

    def _refuse(self, request: PermitRequest, service: _Service, reason: str, now: float) -> PermitDecision:
        """The more wait, the less often each asks: together they ask ``PERMIT_ASKS_PER_S`` times a second, so that whatever
        becomes free is soon taken all the same."""
        self._services[request.environment, request.service] = service
        if now - service.turned_at > self._terms.lifetime_s:
            service.waiting, service.waited, service.turned_at = set(), service.waiting, now
        service.waited.discard(request.machine)
        service.waiting.add(request.machine)
        waiting = len(service.waiting) + len(service.waited)
        again_s = min(max(ASK_AGAIN_S, waiting / PERMIT_ASKS_PER_S), self._terms.lifetime_s)
        return PermitDecision(False, again_s, reason)

    def _obstacle(
        self, request: PermitRequest, goal: Goal, spot: Spot | None, held: Tally, down: Tally, now: float, now_ms: int
    ) -> str:
        if goal.expired(now_ms):
            return f"the goal of {goal.service} has expired: control has not renewed it"
        if request.generation != goal.generation:
            return f"the goal of {goal.service} has another generation here: read goals again"
        limits = Limits(goal.limits.max_unavailable_rollback) if goal.rollback else goal.limits
        if not limits.stated():
            return ""
        if now < self._terms.settled_at:
            left = self._terms.settled_at - now
            return f"this region has just started: what is down, and may go down, is known in another {left:.0f} s"
        if spot is None and limits.of_places:
            return f"this region does not know yet where {request.machine} is"
        return _shortage(request, limits, spot or Spot(), held, down)


def _shortage(request: PermitRequest, limits: Limits, spot: Spot, held: Tally, down: Tally) -> str:
    others = _others(request.machine, spot, held, down)
    bounds = (
        (others.region, limits.max_unavailable, ""),
        (others.zone, limits.max_unavailable_zone, f" in zone {spot.zone}" if spot.zone else " in no known zone"),
        (others.rack, limits.max_unavailable_rack, f" in rack {spot.rack}" if spot.rack else " in no known rack"),
    )
    for count, most, where in bounds:
        if most is not None and count >= most:
            return f"{count} of at most {most} machines of {request.service}{where} are down"
    return ""


def _others(machine: MachineId, spot: Spot, held: Tally, down: Tally) -> Counted:
    """Who holds a permit, is down, or both, but for that machine; whoever is both counts where it is down."""
    counted = down.counted(spot, but=machine)
    more = [where for other, where in held.spots() if other != machine and other not in down]
    return Counted(
        counted.region + len(more),
        counted.zone + sum(where.zone == spot.zone for where in more),
        counted.rack + sum(where == spot for where in more),
    )
