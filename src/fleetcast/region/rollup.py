"""One region's sum of its machines' reports on one goal. Pure."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fleetcast.model.deployment import ByteCounts
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.ids import MachineId
from fleetcast.model.limits import FLAPS_MAX, ROLLUP_FAILURES_MAX, ROLLUP_MACHINES_MAX, ROLLUP_SETTLED_S
from fleetcast.model.machine import Machine
from fleetcast.model.report import CohortCounts, DeploymentRollup, MachineProgress, NamedFailure, Phase, ServiceReport

_UNHEARD: Final = 1
_WORTH_A_LOOK: Final = {Phase.FAILED: 0, Phase.ACTIVATING: 1, Phase.FETCHED: 1, Phase.FETCHING: 2, Phase.ACTIVE: 3}
"""Whom a person wants to see first where not all fit; the machines that have not answered are ``_UNHEARD``."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a machine that the goal selects last said about the goal's service."""

    machine: Machine
    report: ServiceReport | None
    """``None``: nothing about this service, or it has been silent for too long."""
    age_ms: int
    """How long ago it said so."""
    silent: bool = False
    """It has said nothing at all for too long."""


def roll_up(goal: Goal, told: Iterable[Told], *, gathering: bool = False) -> DeploymentRollup:
    """Sum up. Whoever reports another deployment is ``selected`` and not ``reporting``: it has not heard of this goal.

    ``gathering``: of :class:`~fleetcast.model.report.CohortCounts`.
    """
    everybody = tuple(told)
    current: list[tuple[Told, ServiceReport]] = []
    waiting: list[NamedFailure] = []
    for each in everybody:
        if each.report is not None and _answers(goal, each.report):
            current.append((each, each.report))
        else:
            waiting.append(NamedFailure(each.machine.id, _unheard(each)))
    active = [(each, report) for each, report in current if report.phase is Phase.ACTIVE]
    failed = [NamedFailure(each.machine.id, report.error) for each, report in current if report.phase is Phase.FAILED]
    flapping = [NamedFailure(each.machine.id, _died(report)) for each, report in active if _flaps(report)]
    waiting += [
        NamedFailure(each.machine.id, report.waiting_for or report.phase.lower())
        for each, report in current
        if report.phase not in (Phase.ACTIVE, Phase.FAILED)
    ]
    last_active_age_ms = min((report.active_age_ms + each.age_ms for each, report in active), default=0)
    settled = len(active) == len(everybody) and last_active_age_ms > ROLLUP_SETTLED_S * 1000
    return DeploymentRollup(
        deployment=goal.deployment,
        service=goal.service,
        environment=goal.environment,
        generation=min((report.generation for _, report in current), default=goal.generation),
        selected=len(everybody),
        reporting=len(current),
        fetched=sum(_has_target(report) for _, report in current),
        active=len(active),
        failed=len(failed),
        bytes=_sum(report.bytes for _, report in current),
        last_active_age_ms=last_active_age_ms,
        failures=_some(failed + flapping),
        waiting=_some(waiting),
        phases=dict(Counter(str(report.phase) for _, report in current)),
        machines=() if settled else _sample(goal, everybody),
        cohort=_cohort(goal, everybody, gathering),
    )


def _cohort(goal: Goal, everybody: Sequence[Told], gathering: bool) -> CohortCounts:
    inside = [each for each in everybody if goal.activates(each.machine)]
    reports = [each.report for each in inside if each.report is not None and _answers(goal, each.report)]
    active = [report for report in reports if report.phase is Phase.ACTIVE]
    return CohortCounts(
        generation=goal.generation,
        inside=len(inside),
        active=sum(report.running is not None and not _flaps(report) for report in active),
        failed=sum(report.phase is Phase.FAILED for report in reports),
        flapping=sum(map(_flaps, active)),
        silent=sum(each.silent for each in inside),
        gathering=gathering,
    )


def _answers(goal: Goal, report: ServiceReport) -> bool:
    """Whether it is about this deployment; and, where it says FAILED, not about the time before somebody had it tried again."""
    stale = report.phase is Phase.FAILED and goal.again is not None and report.generation < goal.again
    return report.deployment == goal.deployment and not stale


def _flaps(report: ServiceReport) -> bool:
    return report.deaths >= FLAPS_MAX


def _died(report: ServiceReport) -> str:
    return f"it went down {report.deaths} times in a row" + (f": {report.error}" if report.error else "")


def _sample(goal: Goal, everybody: Sequence[Told]) -> tuple[MachineProgress, ...]:
    def rank(each: Told) -> tuple[int, MachineId]:
        report = each.report
        answered = report is not None and _answers(goal, report)
        return _WORTH_A_LOOK[report.phase] if report is not None and answered else _UNHEARD, each.machine.id

    return tuple(_progress(goal, each) for each in heapq.nsmallest(ROLLUP_MACHINES_MAX, everybody, key=rank))


def _progress(goal: Goal, each: Told) -> MachineProgress:
    report = each.report
    if report is None or not _answers(goal, report):
        return MachineProgress(each.machine.id, None, note=_unheard(each))
    if report.phase is Phase.FAILED:
        going_back = report.running is None and bool(report.waiting_for)
        return _machine(each, report, _after_failure(report), going_back=going_back)
    return _machine(each, report, report.waiting_for or report.error)


def _machine(each: Told, report: ServiceReport, note: str, *, going_back: bool = False) -> MachineProgress:
    return MachineProgress(each.machine.id, report.phase, report.bytes, report.target_bytes, note, going_back)


def _unheard(each: Told) -> str:
    return "no report" if each.report is None else "has not answered to this goal yet"


def _after_failure(report: ServiceReport) -> str:
    """What went wrong, and what the machine runs now: the release before, as soon as it is up again."""
    if report.running is not None:
        return f"{report.error}; runs {_commit(report.running)} again"
    return f"{report.error}; {'goes back' if report.waiting_for else 'nothing healthy runs'}"


def _commit(release: ReleaseRef) -> str:
    return release.artifact.partition("/")[2][:12]


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
