"""What is to be done next for one service, given its goal, its disk and its process. Decided anew at every change.

The answer names what *should* be under way, not steps: the same answer twice changes nothing, another answer replaces what
is under way. So the newest goal wins at any moment, and an agent that was killed asks the same question again.

A change-over has two halves. Until it has *begun* (it waits for its permit) it is dropped as soon as it is no longer wanted.
Once begun, the old process may be down, so it is finished unless something else that is whole on disk is wanted instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from fleetcast.agent import retention
from fleetcast.agent.retention import NOTHING_MORE, Spare, Surplus
from fleetcast.agent.state import ServiceState
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.ids import DeploymentId, Digest
from fleetcast.model.limits import RESTART_BACKOFF_S_MAX
from fleetcast.model.machine import Machine


class ProcessStatus(StrEnum):
    """The process of what was activated last."""

    IDLE = "IDLE"
    """There is none to supervise: the release has nothing to start."""
    UP = "UP"
    DONE = "DONE"
    """It exited 0: its work is done."""
    STARTING = "STARTING"
    """It was started again, and its health check has not passed since."""
    DOWN = "DOWN"
    """It died, or is not healthy any more, or this machine was started anew since."""


@dataclass(frozen=True, slots=True)
class Disk:
    """What is whole and verified on this machine."""

    releases: frozenset[Digest] = frozenset()
    incoming: frozenset[Digest] = frozenset()
    roots: frozenset[Digest] = frozenset()

    def has(self, release: ReleaseRef) -> bool:
        return release.digest in self.releases and release.root in self.roots


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything the decision depends on. Uptimes are milliseconds of the machine's monotonic clock."""

    machine: Machine
    goal: Goal | None
    state: ServiceState
    disk: Disk
    fetching: ReleaseRef | None
    """What a fetch is under way for."""
    process: ProcessStatus
    started: bool
    """Whether a process was started and never stopped, running or not: its own, or the one that keeps its sockets."""
    deaths: int
    """How often in a row the process has died, or was not healthy any more."""
    down_since_ms: int
    damaged: bool = False
    """Files of what is active are not as released, and are to be put right."""
    waits_for_room: bool = False
    """The fetch that is under way has not begun for want of room."""
    spare: Spare = NOTHING_MORE


@dataclass(frozen=True, slots=True)
class Activate:
    release: ReleaseRef
    deployment: DeploymentId
    generation: Generation
    fallback: bool
    begun: bool
    needs_permit: bool
    reason: str

    def continues(self, earlier: Activate) -> bool:
        """Whether a change-over under way for ``earlier`` is what this one asks for, and should just go on."""
        if (self.release.root, self.deployment, self.fallback) != (earlier.release.root, earlier.deployment, earlier.fallback):
            return False
        # One that waits for a permit which is no longer needed should not wait on.
        return self.begun or self.needs_permit or not earlier.needs_permit


@dataclass(frozen=True, slots=True)
class Fetch:
    release: ReleaseRef
    deployment: DeploymentId | None
    """For which the bytes are counted; ``None``: for none."""
    reason: str
    repair: bool = False
    """It is on disk already, and not all of it is as it was."""


@dataclass(frozen=True, slots=True)
class Restart:
    at_ms: int
    """Uptime at which the backoff is over."""
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What should be under way; ``None``: nothing of that kind."""

    activate: Activate | None = None
    fetch: Fetch | None = None
    restart: Restart | None = None
    stop: bool = False
    """Something runs that no release accounts for: what failed with nothing to go back to."""
    forget: bool = False
    """The service is removed here: its state is to be that of a service that never was."""
    collect: Surplus = field(default_factory=Surplus)


def reconcile(seen: Observed, now_ms: int) -> Decision:
    """``now_ms`` is UTC, for the goal's expiry."""
    goal = seen.goal if seen.goal is not None and seen.goal.selects(seen.machine) else None
    if goal is not None and goal.expired(now_ms):
        # It starts and stops nothing: what is under way stays so.
        fetch = None if seen.fetching is None else Fetch(seen.fetching, None, "begun before the goal expired")
        return Decision(activate=_begun(seen), fetch=fetch, restart=_restart(seen), stop=_astray(seen))
    if goal is not None and goal.removed:
        return _removal(seen)
    wanted = None if goal is None else _wanted(seen, goal)
    activate = _activate(seen, goal, wanted)
    fetch = None if goal is None else _fetch(seen, goal, wanted)
    return Decision(
        activate=activate,
        fetch=fetch,
        restart=_restart(seen) if activate is None else None,
        stop=activate is None and _astray(seen),
        collect=_abandoned(seen) if goal is None else _collect(seen, goal, fetch),
    )


def _removal(seen: Observed) -> Decision:
    """Nothing of it stays but its data and its logs. It is forgotten first: from then on what runs is astray, and is stopped
    even if the tombstone expires in between. No permit: it is not coming back.
    """
    if seen.state != ServiceState():
        return Decision(forget=True)
    if seen.started:
        return Decision(stop=True)
    return Decision(collect=Surplus(seen.disk.releases, seen.disk.incoming, seen.disk.roots))


def _wanted(seen: Observed, goal: Goal) -> ReleaseRef | None:
    """What should run, as far as that is not given up for this deployment."""
    state = seen.state
    running = state.active.release if state.active else None
    if state.activation is not None:
        running = state.activation.release
    release = goal.release_for(seen.machine, running)
    if release is None or state.failure(goal.deployment, release.root) is not None:
        return None
    return release


def _activate(seen: Observed, goal: Goal | None, wanted: ReleaseRef | None) -> Activate | None:
    begun = _begun(seen)
    if goal is None or wanted is None or not seen.disk.has(wanted):
        return begun
    if begun is not None and begun.release.root == wanted.root:
        return begun
    active = seen.state.active
    if begun is None and active is not None and active.release.root == wanted.root and active.passed:
        return None
    return Activate(
        release=wanted,
        deployment=goal.deployment,
        generation=goal.generation,
        fallback=False,
        begun=False,
        needs_permit=available(seen.state, seen.process),
        reason=f"{wanted.artifact} is wanted by deployment {goal.deployment}"
        + (f" instead of {begun.release.artifact}" if begun else ""),
    )


def available(state: ServiceState, process: ProcessStatus) -> bool:
    """Whether the service is up here, so that taking it down needs a permit."""
    serving = process not in (ProcessStatus.DOWN, ProcessStatus.STARTING)
    return state.activation is None and state.active is not None and state.active.passed and serving


def _begun(seen: Observed) -> Activate | None:
    activation = seen.state.activation
    if activation is None:
        return None
    return Activate(
        release=activation.release,
        deployment=activation.deployment,
        generation=activation.generation,
        fallback=activation.fallback,
        begun=True,
        needs_permit=False,
        reason="going back after a failure" if activation.fallback else "begun and not finished",
    )


def _fetch(seen: Observed, goal: Goal, wanted: ReleaseRef | None) -> Fetch | None:
    """One at a time; what an empty machine shall run comes before what it shall only have, and that before repairs."""
    for release in (wanted, goal.target):
        if release is None or seen.disk.has(release) or seen.state.failure(goal.deployment, release.root):
            continue
        if release.root == goal.target.root:
            return Fetch(release, goal.deployment, f"target of deployment {goal.deployment}")
        return Fetch(release, None, f"baseline of deployment {goal.deployment}, and nothing runs here")
    active = seen.state.active
    if seen.damaged and active is not None and seen.state.activation is None and seen.disk.has(active.release):
        return Fetch(active.release, None, "files of what runs were changed", repair=True)
    return None


def _restart(seen: Observed) -> Restart | None:
    if seen.state.activation is not None or seen.state.active is None or seen.process is not ProcessStatus.DOWN:
        return None
    wait_ms = backoff_ms(seen.deaths)
    return Restart(seen.down_since_ms + wait_ms, f"went down {seen.deaths} times in a row, {wait_ms} ms between starts")


def _astray(seen: Observed) -> bool:
    return seen.started and seen.state.activation is None and seen.state.active is None


def _collect(seen: Observed, goal: Goal, fetch: Fetch | None) -> Surplus:
    """Not while a fetch may be cloning from an old release, unless it is not wanted any more itself."""
    copying = seen.fetching is not None and fetch is not None and not seen.waits_for_room
    if seen.state.activation is not None or copying:
        return Surplus()
    return retention.surplus(goal, seen.state, seen.disk.releases, seen.disk.incoming, seen.disk.roots, seen.spare)


def _abandoned(seen: Observed) -> Surplus:
    """Without a goal everything stays as it is, for it may come back; what was never whole goes where room is short."""
    if seen.fetching is not None or seen.spare.short_bytes <= 0:
        return Surplus()
    return Surplus(incoming=seen.disk.incoming)


def backoff_ms(deaths: int) -> int:
    """How long to wait before starting again what has died ``deaths`` times in a row; 0 after none."""
    if deaths <= 0:
        return 0
    return min(1000 << min(deaths - 1, 16), RESTART_BACKOFF_S_MAX * 1000)
