"""What keeps a deployment from letting in its next wave although it could: a freeze, approvals that are missing (pure).

Its machines are watched all the same, and a release that proves sick meanwhile goes back. A rollback is never held: it is how
outages end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fleetcast.model.limits import HOLD_S_MAX
from fleetcast.model.plan import Policy
from fleetcast.model.spans import span
from fleetcast.rollouts.freezes import Zoned, frozen


@dataclass(frozen=True, slots=True)
class Holds:
    """All that may hold the next wave of one deployment. Times in UTC milliseconds by the database's clock."""

    freezes: tuple[Zoned, ...] = ()
    """The plan's and the company's; none where somebody has overridden them."""
    approvals: int = 0
    """That the next wave needs."""
    approved: int = 0
    since_ms: int | None = None
    """Since when it has been held; ``None``: it is not."""


@dataclass(frozen=True, slots=True)
class Hold:
    """That it is held."""

    reason: str
    since_ms: int
    too_long: bool


def held(holds: Holds, ready: bool, now_ms: int) -> Hold | None:
    """``ready``: but for this, it would let in a wave now.

    One that is held stays so until what holds it is over, whether its machines are well at the moment or not: else a machine
    that flaps could begin the bound anew for ever.
    """
    if not ready and holds.since_ms is None:
        return None
    reason = obstacle(holds, now_ms)
    if not reason:
        return None
    since_ms = now_ms if holds.since_ms is None else min(now_ms, holds.since_ms)
    too_long = now_ms - since_ms > HOLD_S_MAX * 1000
    return Hold(f"held back for {span(HOLD_S_MAX)}: {reason}" if too_long else reason, since_ms, too_long)


def obstacle(holds: Holds, now_ms: int) -> str:
    """What holds the next wave; empty: nothing."""
    parts = []
    if (missing := holds.approvals - holds.approved) > 0:
        parts.append(f"waiting for approval by {missing} more")
    if (freeze := frozen(holds.freezes, now_ms)) is not None:
        parts.append(freeze.words)
    return "; ".join(parts)


def first_approvals(policy: Policy) -> int:
    """That are needed before the first machine."""
    return max(policy.approvals, policy.all_stages[0].approvals if policy.all_stages else 0)


def bound_by(own: Policy, services: Policy) -> Policy:
    """A deployment's own plan, which is held by what holds the service's: else another plan would be the way round it."""
    needed = max(services.approvals, *(stage.approvals for stage in services.all_stages), 0)
    return replace(
        own,
        approvals=max(own.approvals, needed),
        self_approval=own.self_approval and (services.self_approval or not needed),
        freezes=tuple(dict.fromkeys((*own.freezes, *services.freezes))),
    )
