"""What a machine reports of one service: how far it is with the newest goal."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleetcast.agent.state import ServiceState
from fleetcast.model.deployment import ByteCounts
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.report import Phase, ServiceReport


@dataclass(frozen=True, slots=True)
class FetchStanding:
    """A fetch under way, or why none gets under way."""

    release: ReleaseRef
    bytes: ByteCounts = field(default_factory=ByteCounts)
    bytes_total: int = 0
    waiting_for: str = ""
    error: str = ""
    output: tuple[str, ...] = ()
    """The last lines of the hook that failed, if it is a hook that failed."""


@dataclass(frozen=True, slots=True)
class Clock:
    """This boot and its monotonic clock."""

    boot: str
    uptime_ms: int


def service_report(
    goal: Goal,
    state: ServiceState,
    *,
    whole: bool,
    content_size: int,
    up: bool,
    fetch: FetchStanding | None,
    waiting_for: str,
    error: str,
    clock: Clock,
    deaths: int = 0,
    drift: tuple[str, ...] = (),
    serving: bool = False,
) -> ServiceReport:
    """``whole``: the target is on disk, verified. ``content_size``: of the target, 0 until its root is known.
    ``up``: what is active is not down at the moment; ``deaths``: how often in a row its process has died lately.
    ``serving``: it serves on while another one comes up beside it.

    ``waiting_for`` and ``error`` are about the change-over; the fetch brings its own.
    """
    target = goal.target
    phase = _phase(goal, state, whole)
    fetching = fetch if fetch is not None and fetch.release.root == target.root else None
    total = content_size or (fetching.bytes_total if fetching else 0)
    if phase is Phase.FETCHING and fetching is not None:
        waiting_for, error = fetching.waiting_for, fetching.error or error
    failure = state.failure(goal.deployment, target.root)
    output = failure.output if failure else fetching.output if fetching and phase is Phase.FETCHING else ()
    return ServiceReport(
        service=goal.service,
        environment=goal.environment,
        generation=goal.generation,
        deployment=goal.deployment,
        target=target,
        phase=phase,
        running=_running(state, serving) if up else None,
        bytes=_bytes(goal, state, whole=whole, content_size=total, fetch=fetching),
        target_bytes=total,
        active_age_ms=_age_ms(state, clock) if phase is Phase.ACTIVE else 0,
        waiting_for=waiting_for if _waits(phase, state) else "",
        error=failure.error if failure else error,
        output=output,
        deaths=deaths,
        drift=drift,
    )


def removal_report(goal: Goal, *, gone: bool, error: str) -> ServiceReport:
    """Of a service whose goal is a tombstone. ``gone``: nothing of it is left here but its data and logs."""
    return ServiceReport(
        service=goal.service,
        environment=goal.environment,
        generation=goal.generation,
        deployment=goal.deployment,
        target=goal.target,
        phase=Phase.ACTIVE if gone else Phase.ACTIVATING,
        running=None,
        bytes=ByteCounts(),
        target_bytes=0,
        active_age_ms=0,
        waiting_for="" if gone else "the service to end and its releases to go",
        error="" if gone else error,
        removed=True,
    )


def _phase(goal: Goal, state: ServiceState, whole: bool) -> Phase:
    target = goal.target.root
    if state.failure(goal.deployment, target) is not None:
        return Phase.FAILED
    if state.activation is not None:
        if state.activation.release.root == target:
            return Phase.ACTIVATING
    elif state.active is not None and state.active.release.root == target and state.active.passed:
        return Phase.ACTIVE
    return Phase.FETCHED if whole else Phase.FETCHING


def _waits(phase: Phase, state: ServiceState) -> bool:
    """Where it failed, a machine still waits for the release before to come up again."""
    return state.activation is not None if phase is Phase.FAILED else phase is not Phase.ACTIVE


def _running(state: ServiceState, serving: bool) -> ReleaseRef | None:
    """Nothing while a change-over is going on that stops what runs: ``current`` is not what passed, or about to be."""
    if (state.activation is not None and not serving) or state.active is None or not state.active.passed:
        return None
    return state.active.release


def _bytes(goal: Goal, state: ServiceState, *, whole: bool, content_size: int, fetch: FetchStanding | None) -> ByteCounts:
    fetched = state.fetched
    if fetched is not None and (fetched.deployment, fetched.root) == (goal.deployment, goal.target.root):
        return fetched.bytes
    if whole:
        return ByteCounts(local=content_size)
    return fetch.bytes if fetch is not None else ByteCounts()


def _age_ms(state: ServiceState, clock: Clock) -> int:
    """At least as long as this boot for what passed in an earlier one."""
    active = state.active
    if active is None or active.boot != clock.boot:
        return clock.uptime_ms
    return max(0, clock.uptime_ms - active.since_ms)
