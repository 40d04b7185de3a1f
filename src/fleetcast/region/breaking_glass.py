"""What a region does when somebody goes back there past control, and what it takes of control's goals after that. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from fleetcast.model.errors import NotFound, Refused
from fleetcast.model.goal import EVERYONE, Cohort, Goal, ReleaseRef
from fleetcast.model.ids import DeploymentId, RegionName
from fleetcast.model.limits import REASON_NAMES_MAX
from fleetcast.model.machine import Machine, Selector
from fleetcast.model.region_rollback import RegionRollback
from fleetcast.region.past import Past, before
from fleetcast.rollouts.reasons import and_more


@dataclass(frozen=True, slots=True)
class Known:
    """What the region knows of one service in one environment."""

    goal: Goal
    past: Past
    releases: tuple[ReleaseRef, ...]
    """Whole in the region's bucket, the newest last."""


def chosen(known: Known, to: str) -> ReleaseRef:
    """The release to go back to. ``to``: an artifact's name, its commit or the beginning of that; empty: the one before.

    Raises:
        Refused: there is nothing to go back to; or that release is what is wanted already; or ``to`` means several.
        NotFound: the region has no such release.
    """
    goal = known.goal
    if goal.removed:
        raise Refused("nothing_deployed", f"{goal.service} was removed: there is nothing to roll back")
    if to:
        release = _named(known, to)
        if release.root == goal.target.root:
            raise Refused("already_there", f"the goal of {goal.service} is {release.artifact} already")
        return release
    previous = before(known.past, goal)
    if previous is None:
        others = [release for release in known.releases if release.root != goal.target.root]
        advice = f"name one with --to: {_some(others)}" if others else "and no other release of it is here"
        raise Refused("nothing_earlier", f"this region knows no earlier release of {goal.service} that succeeded: {advice}")
    return previous


def gone_back(goal: Goal, to: ReleaseRef, deployment: DeploymentId, now_ms: int, lifetime_ms: int) -> Goal:
    """The region's own goal in place of ``goal``: a rollback of everybody, in an epoch above all that control has written.

    Agents take it as any other (law 3), and its limits are those of a rollback (law 5).
    """
    return replace(
        goal,
        generation=goal.generation.raised(now_ms),
        deployment=deployment,
        rollback=True,
        target=to,
        baseline=to,
        cohorts=(Cohort(Selector(), EVERYONE),),
        expires_at_ms=now_ms + lifetime_ms,
    )


def stands(rollback: RegionRollback | None, held: Goal | None) -> bool:
    """Whether the goal that the region holds is the one of this rollback. Then whatever control offers is not taken, higher or
    lower: it was decided by somebody who did not know. A restored backup's goals are higher than everything."""
    return rollback is not None and held is not None and held.deployment == rollback.deployment


def renewed(goal: Goal, now_ms: int, lifetime_ms: int) -> Goal | None:
    """The region's own goal, good for longer; ``None``: it is good for more than half of its life. Control does not do it."""
    if goal.expires_at_ms - now_ms > lifetime_ms // 2:
        return None
    return replace(goal, generation=goal.generation.next(), expires_at_ms=now_ms + lifetime_ms)


def only(goals: Iterable[Goal], service: str, region: RegionName, machines: Collection[Machine]) -> Goal:
    """The goal of a service of which nobody said in which environment: the one that means some of ``machines``. A region has
    the goals of all environments, and those of removed ones for a while.

    ``machines``: all that ``region`` knows; none where that may not be all of them yet. Where no goal means any of them it is
    the one that may mean a machine of the region.

    Raises:
        NotFound: the region has none.
        Refused: it has several.
    """
    found = [goal for goal in goals if goal.service == service]
    if not found:
        raise NotFound("unknown_service", f"this region has no goal for a service {service}: check the name")
    might = [goal for goal in found if not goal.removed and (not goal.selector.regions or region in goal.selector.regions)]
    does = [goal for goal in might if any(map(goal.selects, machines))]
    found = does or might or found
    if len(found) > 1:
        where = ", ".join(sorted(goal.environment for goal in found))
        raise Refused("several_environments", f"{service} runs here in {where}: say which with --environment")
    return found[0]


def _named(known: Known, to: str) -> ReleaseRef:
    wanted = to.replace("@", "/", 1).removeprefix(f"{known.goal.service}/")
    found = [release for release in known.releases if wanted and _commit(release).startswith(wanted)]
    found = [release for release in found if _commit(release) == wanted] or found
    if not found:
        raise NotFound(
            "not_in_region", f"no release {to} of {known.goal.service} is whole here: there is {_some(known.releases)}"
        )
    if len(found) > 1:
        raise Refused("several_releases", f"{to} may be {_some(found)}: say which")
    return found[0]


def _commit(release: ReleaseRef) -> str:
    """With the number of the build, if it is not the first."""
    return release.artifact.partition("/")[2]


def _some(releases: Sequence[ReleaseRef]) -> str:
    """The newest by name."""
    newest = [release.artifact for release in reversed(releases)][:REASON_NAMES_MAX]
    return ", ".join(newest) + and_more(len(releases) - len(newest)) if newest else "none"
