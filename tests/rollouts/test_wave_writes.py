"""What a deployment in waves costs: a write a wave, however many machines there are, and no fetch but the first (law 4)."""

from __future__ import annotations

import pytest

from fleetcast.agent.reconcile import Disk, Fetch, Observed, ProcessStatus, reconcile
from fleetcast.agent.state import Active, ServiceState
from fleetcast.model.deployment import DeploymentState as State
from fleetcast.model.goal import Goal
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.plan import Policy, Stage
from paper_company import WEB, Company, sha
from played_fleet import Fleet, Played

SIX = Policy(
    stages=(
        Stage("canary", count=1),
        Stage("a quarter", percent=25),
        Stage("half", percent=50),
        Stage(by_region=True),
    )
)


async def _writes(company: Company) -> int:
    """How many the global KV has ever taken."""
    return (await company.kv.range("")).revision


def _would_fetch(played: Played, goal: Goal, *releases: str) -> Fetch | None:
    """What an agent would that has these releases, and runs what the machine runs."""
    assert played.running is not None
    active = Active(played.running, "1", passed=True, boot="b", since_ms=0)
    whole = [release for release in (goal.target, played.running) if release.artifact[4] in releases]
    disk = Disk(releases=frozenset(release.digest for release in whole), roots=frozenset(release.root for release in whole))
    seen = Observed(
        played.machine,
        goal,
        ServiceState(active=active),
        disk,
        fetching=None,
        process=ProcessStatus.UP,
        started=True,
        deaths=0,
        down_since_ms=0,
    )
    return reconcile(seen, 0).fetch


@pytest.mark.one_engine
@pytest.mark.parametrize("in_each_region", [4, 20])
async def test_six_waves_are_six_writes_and_everybody_fetches_in_the_first(company: Company, in_each_region: int) -> None:
    company.machines = {}
    fleet = Fleet(company)
    await fleet.join(dict.fromkeys(("ap", "eu", "us"), in_each_region))
    await company.deploy("a")
    await company.make("a")
    for _ in range(3):
        await company.step()
        await fleet.turn()
    await company.step()
    before = await _writes(company)

    b = (await company.triggers.deploy(DeployRequest(WEB, sha("b"), plan=SIX))).id
    await company.make("b")
    await company.step()
    goals = [await company.goal()]
    for _ in range(30):
        await fleet.turn()
        await company.step()
        goal = await company.goal()
        if goal != goals[-1]:
            goals.append(goal)
        if (await company.state(b)).ended:
            break
        for played in fleet.machines.values():
            assert goal is not None
            assert _would_fetch(played, goal, "a", "b") is None, "it has the release since the first wave"
    shown = await company.show(b)
    assert (shown.state, shown.waves, fleet.runs()) == (State.SUCCEEDED, 6, {"b": 3 * in_each_region})
    assert len(goals) == 7, "a goal a wave, and one that settles"
    assert await _writes(company) - before == 8, "those, and the artifact's record"

    first = goals[0]
    assert first is not None
    outside = [played for played in fleet.machines.values() if not first.activates(played.machine)]
    assert len(outside) == 3 * in_each_region - 1
    for played in outside:
        played.running = first.baseline
        fetch = _would_fetch(played, first, "a")
        assert fetch is not None, "outside, and it fetches all the same"
        assert fetch.release == first.target
