"""One region's sum of its machines' reports on one goal. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fleetcast.model.deployment import ByteCounts
from fleetcast.model.goal import Goal
from fleetcast.model.limits import ROLLUP_FAILURES_MAX
from fleetcast.model.machine import Machine
from fleetcast.model.report import DeploymentRollup, NamedFailure, Phase, ServiceReport


@dataclass(frozen=True, slots=True)
class Told:
    """What a machine that the goal selects last said about the goal's service."""

    machine: Machine
    report: ServiceReport | None
    """``None``: nothing about this service, or it has been silent for too long."""
    age_ms: int
    """How long ago it said so."""


def roll_up(goal: Goal, told: Iterable[Told]) -> DeploymentRollup:
    """Sum up. Whoever reports another deployment is ``selected`` and not ``reporting``: it has not heard of this goal."""
    selected = 0
    current: list[tuple[Told, ServiceReport]] = []
    waiting: list[NamedFailure] = []
    for each in told:
        selected += 1
        if each.report is not None and each.report.deployment == goal.deployment:
            current.append((each, each.report))
        else:
            reason = "no report" if each.report is None else "has not answered to this goal yet"
            waiting.append(NamedFailure(each.machine.id, reason))
    active = [(each, report) for each, report in current if report.phase is Phase.ACTIVE]
    failed = [NamedFailure(each.machine.id, report.error) for each, report in current if report.phase is Phase.FAILED]
    waiting += [
        NamedFailure(each.machine.id, report.waiting_for or report.phase.lower())
        for each, report in current
        if report.phase not in (Phase.ACTIVE, Phase.FAILED)
    ]
    return DeploymentRollup(
        deployment=goal.deployment,
        service=goal.service,
        environment=goal.environment,
        generation=min((report.generation for _, report in current), default=goal.generation),
        selected=selected,
        reporting=len(current),
        fetched=sum(_has_target(report) for _, report in current),
        active=len(active),
        failed=len(failed),
        bytes=_sum(report.bytes for _, report in current),
        last_active_age_ms=min((report.active_age_ms + each.age_ms for each, report in active), default=0),
        failures=_some(failed),
        waiting=_some(waiting),
    )


def _has_target(report: ServiceReport) -> bool:
    if report.phase is Phase.FAILED:
        return report.bytes.total >= report.target_bytes > 0
    return report.phase is not Phase.FETCHING


def _sum(counts: Iterable[ByteCounts]) -> ByteCounts:
    origin = peer = local = 0
    for count in counts:
        origin += count.origin
        peer += count.peer
        local += count.local
    return ByteCounts(origin, peer, local)


def _some(named: list[NamedFailure]) -> tuple[NamedFailure, ...]:
    return tuple(sorted(named, key=lambda each: each.machine)[:ROLLUP_FAILURES_MAX])
