"""Where a deployment stands, and whether it may go on (pure). Every step carries its reason (law 8)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from fleetcast.model.build import ABORTED, BuildStatus
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.ids import BuildId, MachineId, RegionName
from fleetcast.model.limits import MACHINE_SILENCE_S_MAX, PAUSE_S_MAX, REASON_NAMES_MAX
from fleetcast.model.plan import Policy
from fleetcast.model.region_rollback import RegionRollback
from fleetcast.model.report import CohortCounts, NamedFailure
from fleetcast.model.spans import span
from fleetcast.rollouts.budgets import figures, standings, too_many_sick, too_many_unreachable
from fleetcast.rollouts.holds import Holds, held
from fleetcast.rollouts.outside_checks import CheckFacts, heed
from fleetcast.rollouts.reasons import and_more, named
from fleetcast.rollouts.wave_gate import Verdict, WaveFacts, judge

_WELL: Final = "machines active"


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Seconds from one step to the next; past it the deployment has FAILED. A build's bounds are the queue's."""

    replicate_s_max: float
    distribute_s_max: float


@dataclass(frozen=True, slots=True)
class BuildFacts:
    id: BuildId
    status: BuildStatus
    reason: str
    attempt: int
    worker: str


@dataclass(frozen=True, slots=True)
class RegionFacts:
    """One region's part: what the inventory expects and what the region reported. Counts of machines."""

    region: RegionName
    expected: int
    active: int = 0
    failed: int = 0
    failures: tuple[NamedFailure, ...] = ()
    waiting: tuple[NamedFailure, ...] = ()
    cohort: CohortCounts | None = None
    """Of those that its waves have let in so far."""
    silent: int = 0
    """Of those expected, by the inventory: heard of by no region for a good while."""
    report_age_s: float = 0.0

    @property
    def total(self) -> int:
        return self.expected

    @property
    def healthy(self) -> int:
        return min(self.active, self.expected)

    @property
    def sick(self) -> int:
        return self.failed

    @property
    def gathering(self) -> bool:
        return self.cohort is not None and self.cohort.gathering

    @property
    def unreachable(self) -> int:
        """Neither active nor failed, and silent: by what the region knows, or by the inventory, which does so too when the
        region was started anew. None where the region itself says nothing, or has only begun to listen: that is waited for."""
        if self.gathering or self.report_age_s > MACHINE_SILENCE_S_MAX:
            return 0
        silent = max(self.silent, 0 if self.cohort is None else self.cohort.silent)
        return min(silent, max(0, self.expected - self.active - self.failed))

    @property
    def settled(self) -> bool:
        """Whether nobody is on the way any more."""
        return self.active + self.failed + self.unreachable >= self.expected


@dataclass(frozen=True, slots=True)
class Facts:
    """All that decides about one deployment. Times in UTC milliseconds by the database's clock."""

    state: DeploymentState
    sequence: int
    goal_sequence: int
    """Of the newest trigger whose goal was written, for this service and environment; 0: none."""
    build: BuildFacts | None
    built: bool
    """The artifact exists."""
    built_at_ms: int | None
    deployable: bool
    replicas_waiting_for: str
    goal_at_ms: int | None
    regions: tuple[RegionFacts, ...] = ()
    """Those that hold machines that are meant, drained ones left out."""
    skipped: tuple[RegionName, ...] = ()
    """Regions that it goes on without; in no other of these facts."""
    going_back: bool = False
    """To what was a release once."""
    rollback: bool = False
    policy: Policy = field(default_factory=Policy)
    silent: tuple[MachineId, ...] = ()
    """Meant machines that have not been heard of for a while."""
    wave: WaveFacts | None = None
    """While it is DISTRIBUTING in several waves; ``None``: everybody is let in at once."""
    paused_at_ms: int | None = None
    ahead: str = ""
    """The first of those that it waits for in line, as people are told of it; empty: none."""
    holds: Holds = field(default_factory=Holds)
    gone_back: tuple[RegionRollback, ...] = ()
    """Regions in which somebody has taken the service back past control since it was triggered."""
    checks: tuple[CheckFacts, ...] = ()
    """Outside ones, of the wave."""


@dataclass(frozen=True, slots=True)
class Step:
    """The state the deployment should be in now, and why. The same state: it waits."""

    state: DeploymentState
    reason: str
    next_wave: bool = False
    """Let in the next wave."""
    halt: bool = False
    """It ends with machines outside its waves: they stay outside."""
    healthy_at_ms: int | None = None
    """Of :class:`~fleetcast.rollouts.wave_gate.Judgement`."""
    held_at_ms: int | None = None
    """Since when a freeze or a missing approval has held it; ``None``: none does."""
    past_control: bool = False
    """Regions have decided it by themselves: no goal is written for it any more, not even to go back."""


def next_step(facts: Facts, limits: GateLimits, now_ms: int) -> Step:
    """One step at most: a deployment walks through every state in between. An ended one stays as it is."""
    if facts.state.ended:
        raise ValueError(f"a deployment that is {facts.state} takes no step")
    if facts.goal_sequence > facts.sequence:
        return Step(DeploymentState.SUPERSEDED, f"trigger {facts.goal_sequence} is newer than {facts.sequence} and came first")
    if facts.gone_back:
        return _past_control(facts)
    if facts.state is DeploymentState.BUILDING:
        return _building(facts)
    if facts.state is DeploymentState.REPLICATING:
        return _held_back(facts, _replicating(facts, limits, now_ms), now_ms)
    if facts.wave is not None:
        return _held_back(facts, _in_waves(_in_time(facts.wave, facts.holds, now_ms), facts.checks, limits, now_ms), now_ms)
    return _distributing(facts, limits, now_ms)


def _past_control(facts: Facts) -> Step:
    """Somebody knew better than whoever triggered it: it reaches nobody any more who has not been let in."""
    acted = sorted({rollback.region: rollback for rollback in facts.gone_back}.items())
    texts = [f"{region} was rolled back to {each.target.artifact} past control by {each.by}" for region, each in acted]
    said = "; ".join(texts[:REASON_NAMES_MAX]) + and_more(len(texts) - REASON_NAMES_MAX)
    if facts.state is not DeploymentState.DISTRIBUTING:
        return Step(DeploymentState.ABORTED, f"{said}: deploy again to go on", past_control=True)
    others = sorted({region.region for region in facts.regions} - {region for region, _ in acted})
    if not others:
        return Step(DeploymentState.ROLLED_BACK, said, past_control=True)
    where = ", ".join(others[:REASON_NAMES_MAX]) + and_more(len(others) - REASON_NAMES_MAX)
    return Step(DeploymentState.FAILED, f"{said}; machines in {where} keep to its goal as it stands", past_control=True)


def _building(facts: Facts) -> Step:
    if facts.built:
        return Step(DeploymentState.REPLICATING, "waiting for the regions to copy it")
    build = facts.build
    if build is None:
        return Step(DeploymentState.FAILED, "it has neither a build nor an artifact")
    if build.status is BuildStatus.FAILED and build.reason == ABORTED:
        return Step(DeploymentState.FAILED, f"build {build.id} was aborted")
    if build.status is BuildStatus.FAILED:
        return Step(DeploymentState.FAILED, f"build {build.id} failed: {build.reason}")
    if build.status is BuildStatus.RUNNING:
        return Step(facts.state, f"waiting for build {build.id}: attempt {build.attempt} on {build.worker}")
    detail = f" ({build.reason})" if build.reason else ""
    return Step(facts.state, f"waiting for build {build.id}: in the queue{detail}")


def _replicating(facts: Facts, limits: GateLimits, now_ms: int) -> Step:
    if (facts.deployable or facts.going_back) and facts.paused_at_ms is not None:
        if _past(facts.paused_at_ms, PAUSE_S_MAX, now_ms):
            return Step(DeploymentState.FAILED, f"paused for {span(PAUSE_S_MAX)}, and nobody resumed it")
        return Step(facts.state, "complete in every region; paused before its first machine")
    if facts.ahead:
        return Step(facts.state, f"in line behind {facts.ahead}")
    if facts.deployable:
        skipped = f", or skipped: {', '.join(facts.skipped)}" if facts.skipped else ""
        return Step(DeploymentState.DISTRIBUTING, f"complete in every region{skipped}")
    if facts.going_back:
        return Step(DeploymentState.DISTRIBUTING, "it was complete in every region when it was deployed")
    waiting_for = facts.replicas_waiting_for or "the first look into the regions' buckets"
    if _past(facts.built_at_ms, limits.replicate_s_max, now_ms):
        return Step(DeploymentState.FAILED, f"not in every region within {limits.replicate_s_max:g} s: {waiting_for}")
    return Step(facts.state, f"waiting for {waiting_for}")


def _distributing(facts: Facts, limits: GateLimits, now_ms: int) -> Step:
    """Everybody was let in at once: whom it has reached when nobody is on the way any more decides, and nothing goes back by
    itself. A rollback has no budget for the unreachable: it is over when everybody who can be reached is back."""
    total = sum(region.expected for region in facts.regions)
    late = _past(facts.goal_at_ms, limits.distribute_s_max, now_ms)
    if total == 0:
        if late:
            return Step(DeploymentState.FAILED, f"no machine was there to run it within {limits.distribute_s_max:g} s")
        return Step(facts.state, "waiting for a machine that the service selects")
    waiting_for = _behind(facts)
    if all(region.settled for region in facts.regions):
        if (sick := too_many_sick(facts.regions, facts.policy.failed_percent)) is not None:
            return Step(DeploymentState.FAILED, sick)
        obstacle = _unreached(facts, total)
        if obstacle is None:
            return Step(DeploymentState.SUCCEEDED, figures(facts.regions, _WELL))
        waiting_for = obstacle
    if late:
        return Step(DeploymentState.FAILED, _too_late(facts, limits))
    return Step(facts.state, f"waiting for {waiting_for}")


def _unreached(facts: Facts, total: int) -> str | None:
    """What keeps a deployment from its end where nobody is on the way any more; ``None``: nothing."""
    if not any(region.active for region in facts.regions):
        return "a machine that answers"
    unreachable = sum(region.unreachable for region in facts.regions)
    return None if facts.rollback else too_many_unreachable(unreachable, total, facts.policy.unreachable_percent)


def _in_waves(wave: WaveFacts, checks: tuple[CheckFacts, ...], limits: GateLimits, now_ms: int) -> Step:
    judged = heed(judge(wave, limits.distribute_s_max, now_ms), wave, checks, now_ms)
    if judged.verdict is Verdict.ROLL_BACK:
        return Step(DeploymentState.ROLLED_BACK, judged.reason, halt=True)
    if judged.verdict is Verdict.STOP:
        return Step(DeploymentState.FAILED, judged.reason, halt=True)
    if judged.verdict is Verdict.ADVANCE and wave.last:
        return Step(DeploymentState.SUCCEEDED, judged.reason)
    advance = judged.verdict is Verdict.ADVANCE
    return Step(DeploymentState.DISTRIBUTING, judged.reason, next_wave=advance, healthy_at_ms=judged.healthy_at_ms)


def _held_back(facts: Facts, step: Step, now_ms: int) -> Step:
    """``step``, unless it lets in a wave that something holds."""
    ready = step.next_wave or step.state is not facts.state
    hold = None if step.state.ended else held(facts.holds, ready, now_ms)
    if hold is None:
        return step
    reason = f"{step.reason}; {hold.reason}" if ready or hold.too_long else step.reason
    if hold.too_long:
        return Step(DeploymentState.FAILED, reason, halt=facts.wave is not None)
    return replace(step, state=facts.state, reason=reason, next_wave=False, held_at_ms=hold.since_ms)


def _in_time(wave: WaveFacts, holds: Holds, now_ms: int) -> WaveFacts:
    """The time that it has been held is not taken off what the wave may take."""
    held_ms = 0 if holds.since_ms is None else max(0, now_ms - holds.since_ms)
    return replace(wave, wave_at_ms=wave.wave_at_ms + held_ms)


def _past(since_ms: int | None, bound_s: float, now_ms: int) -> bool:
    return since_ms is not None and now_ms - since_ms > bound_s * 1000


def _behind(facts: Facts) -> str:
    return standings([region for region in facts.regions if region.active < region.expected], _WELL)


def _too_late(facts: Facts, limits: GateLimits) -> str:
    """Names who is missing: those that say what they wait for, those that failed, those that say nothing."""
    missed: dict[MachineId, NamedFailure] = {machine: NamedFailure(machine, "silent") for machine in facts.silent}
    for region in facts.regions:
        for entry in (*region.waiting, *region.failures):
            missed.setdefault(entry.machine, entry)
    missing = sum(max(0, region.expected - region.active) for region in facts.regions)
    text = f"not on every machine within {limits.distribute_s_max:g} s: {_behind(facts)}"
    return f"{text}: {named(list(missed.values()), missing)}" if missed else text
