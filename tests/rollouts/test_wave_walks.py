"""Deployments that go in waves: what every machine runs at each step. Triggers, tables, goals and decisions are real, machines
and regions are played by their own pure halves."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from fleetcast.model.deployment import DeploymentState as State
from fleetcast.model.errors import NotFound, Refused, Unprocessable
from fleetcast.model.event import EventKind
from fleetcast.model.ids import DeploymentId, MachineId, RegionName
from fleetcast.model.limits import MACHINE_SILENCE_S_MAX, PAUSE_S_MAX
from fleetcast.model.messages.deployments import DeployRequest, RetryRequest
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.plan import Policy, Preset, Stage
from fleetcast.rollouts.controller import RolloutController
from fleetcast.rollouts.holding_back import pause, promote, resume
from fleetcast.rollouts.inventory import drain, drain_silent
from fleetcast.rollouts.services import put_service
from fleetcast.rollouts.skipping import skip, unskip
from fleetcast.rollouts.waves import wave_pictures
from fleetcast.schema.rollout_tables import rollouts
from fleetcast.schema.tables import events, machines, releases, rollups
from paper_company import WEB, Company, sha
from played_fleet import Fleet

ONE = pytest.mark.one_engine

CAREFUL = Policy(stages=(Stage("canary", count=2, bake_s=60), Stage("rest", by_region=True)), failed_percent=10)


@pytest.fixture
async def fleet(company: Company) -> Fleet:
    """Ten machines in ``eu`` and five in ``us``; ``web`` goes in waves from the second deployment on."""
    company.machines = {}
    fleet = Fleet(company)
    await fleet.join({"eu": 10, "us": 5})
    a = await company.deploy("a")
    await company.make("a")
    await _go_on(fleet, 3)
    assert await company.state(a) is State.SUCCEEDED
    async with company.database.transaction() as tx:
        await put_service(tx, ServiceSpec(WEB, "/repo", plan=CAREFUL))
    return fleet


async def _begin(fleet: Fleet, commit: str, policy: Policy | None = None) -> DeploymentId:
    company = fleet.company
    deployment = (await company.triggers.deploy(DeployRequest(WEB, sha(commit), plan=policy))).id
    await company.make(commit)
    await company.step()
    return deployment


async def _go_on(fleet: Fleet, turns: int) -> None:
    for _ in range(turns):
        await fleet.company.step()
        await fleet.turn()
    await fleet.company.step()


async def _later(fleet: Fleet, deployment: DeploymentId, seconds: int) -> None:
    """So much time goes by, and regions report again."""
    shifted = {name: rollouts.c[name] - seconds * 1000 for name in ("wave_at", "healthy_at", "paused_at")}
    async with fleet.company.database.transaction() as tx:
        await tx.execute(update(rollouts).where(rollouts.c.deployment == deployment).values(shifted))
        await tx.execute(update(rollups).values(reported_at=rollups.c.reported_at - seconds * 1000))
    await fleet.report(await fleet.company.goal())


async def _reason(fleet: Fleet, deployment: DeploymentId) -> str:
    return (await fleet.company.show(deployment)).reason


async def test_waves_go_one_after_the_other_and_everybody_fetches_from_the_first_on(fleet: Fleet) -> None:
    company = fleet.company
    b = await _begin(fleet, "b")
    written = await company.goal()
    assert written is not None
    assert len(written.cohorts) == 1
    await _go_on(fleet, 2)
    shown = await company.show(b)
    assert fleet.runs() == {"a": 13, "b": 2}
    assert (shown.state, shown.wave, shown.waves, shown.plan) == (State.DISTRIBUTING, 1, 3, "its own stages")
    assert shown.progress.fetched == 15
    assert "wave 1 of 3 (canary): 2 of 2 healthy; bakes until " in shown.reason
    await _go_on(fleet, 3)
    assert fleet.runs() == {"a": 13, "b": 2}, "it bakes"

    await _later(fleet, b, 61)
    await _go_on(fleet, 2)
    assert fleet.runs(fleet.of(RegionName("eu"))) == {"b": 10}
    await _go_on(fleet, 3)
    assert fleet.runs() == {"b": 15}
    shown = await company.show(b)
    assert (shown.state, shown.reason) == (State.SUCCEEDED, "wave 3 of 3 (rest us) passed: 15 of 15 healthy")
    done = await company.goal()
    assert done is not None
    assert done.baseline == done.target == shown.release
    assert done.generation.counter - written.generation.counter == 3, "a write a wave, and one to settle"


@ONE
async def test_a_sick_release_stays_on_its_canaries_and_goes_back_by_itself(fleet: Fleet) -> None:
    company = fleet.company
    fleet.sick = lambda _machine, release: release.artifact.startswith("web/b")
    b = await _begin(fleet, "b")
    await _go_on(fleet, 4)
    shown = await company.show(b)
    assert shown.state is State.ROLLED_BACK
    assert shown.reason.startswith("wave 1 of 3 (canary): 2 of 2 machines failed, none may: ")
    assert shown.reason.endswith(f"; rollback {shown.rolled_back_by} goes back to web/{sha('a')}")
    assert shown.rolled_back_by is not None
    back = await company.show(shown.rolled_back_by)
    assert (back.state, back.kind, back.commit_sha) == (State.SUCCEEDED, "rollback", sha("a"))
    assert (back.build_s, back.replicate_s) == (0, 0)
    assert fleet.runs() == {"a": 15}
    assert sum("b" in played.ever for played in fleet.machines.values()) == 2


@ONE
async def test_a_release_that_dies_again_and_again_after_its_health_check_is_sick(fleet: Fleet) -> None:
    b = await _begin(fleet, "b")
    await _go_on(fleet, 2)
    for played in fleet.machines.values():
        played.deaths = 3 if played.runs == "b" else 0
    await _go_on(fleet, 1)
    assert "it went down 3 times in a row" in await _reason(fleet, b)
    assert await fleet.company.state(b) is State.ROLLED_BACK


@ONE
async def test_with_nothing_to_go_back_to_it_stops_where_it_stands(company: Company) -> None:
    company.machines = {}
    fleet = Fleet(company)
    await fleet.join({"eu": 10})
    fleet.sick = lambda _machine, _release: True
    a = await _begin(fleet, "a", CAREFUL)
    await _go_on(fleet, 3)
    shown = await company.show(a)
    assert shown.state is State.FAILED
    assert shown.reason.endswith("; there is no other release to go back to, so machines keep what they run")
    fleet.sick = lambda _machine, _release: False
    await _go_on(fleet, 3)
    assert fleet.runs() == {"-": 10}, "nobody else tries it"


async def test_the_cure_that_was_triggered_meanwhile_keeps_its_turn(fleet: Fleet) -> None:
    company = fleet.company
    fleet.sick = lambda _machine, release: release.artifact.startswith("web/b")
    b = await _begin(fleet, "b")
    cure = await company.deploy("c")
    await _go_on(fleet, 4)
    shown = await company.show(b)
    assert shown.rolled_back_by is not None
    assert await company.state(b) is State.ROLLED_BACK
    assert await company.state(cure) is State.BUILDING, "a rollback that nobody asked for takes nobody's turn"
    assert fleet.runs() == {"a": 15}
    await company.make("c")
    await _go_on(fleet, 2)
    assert fleet.runs() == {"a": 13, "c": 2}
    assert await company.state(cure) is State.DISTRIBUTING


@ONE
async def test_a_region_that_does_not_report_is_waited_for(fleet: Fleet) -> None:
    b = await _begin(fleet, "b", Policy(stages=(Stage("half", percent=50), Stage("all"))))
    fleet.away = {RegionName("us")}
    await _go_on(fleet, 4)
    assert await _reason(fleet, b) == "wave 1 of 2 (half): waiting for a report of us"
    assert fleet.runs()["b"] == 8, "machines go on all the same"
    fleet.away = set()
    await _go_on(fleet, 3)
    assert await fleet.company.state(b) is State.SUCCEEDED


@ONE
async def test_a_region_of_an_older_version_is_named_and_upgraded_it_goes_on(fleet: Fleet) -> None:
    b = await _begin(fleet, "b", Policy(stages=(Stage("half", percent=50), Stage("all"))))
    fleet.old = {RegionName("us")}
    await _go_on(fleet, 3)
    said = "wave 1 of 2 (half): waiting for us to count by waves: the region process there is of an older version, upgrade it"
    assert await _reason(fleet, b) == said
    fleet.old = set()
    await _go_on(fleet, 4)
    assert await fleet.company.state(b) is State.SUCCEEDED


@ONE
async def test_what_a_region_reported_by_the_goal_before_decides_nothing(fleet: Fleet) -> None:
    """Its machines are all well: those of the wave before."""
    b = await _begin(fleet, "b", Policy(stages=(Stage("canary", count=2), Stage("all"))))
    await _go_on(fleet, 2)
    assert (await fleet.company.show(b)).wave == 2
    await fleet.company.step()
    await fleet.company.step()
    assert await _reason(fleet, b) in (
        "wave 2 of 2 (all): waiting for a report of eu, us",
        "wave 2 of 2 (all): waiting for a report of eu",
        "wave 2 of 2 (all): waiting for a report of us",
    )


@ONE
async def test_an_old_report_is_none(fleet: Fleet) -> None:
    b = await _begin(fleet, "b")
    await _go_on(fleet, 2)
    async with fleet.company.database.transaction() as tx:
        late = rollups.c.reported_at - (MACHINE_SILENCE_S_MAX + 1) * 1000
        await tx.execute(update(rollups).values(reported_at=late))
    await fleet.company.step()
    assert "waiting for a report of " in await _reason(fleet, b)


async def test_a_drained_region_is_left_out_of_what_its_wave_waits_for(fleet: Fleet) -> None:
    b = await _begin(fleet, "b", Policy(Preset.REGION_BY_REGION))
    fleet.away = {RegionName("eu")}
    await _go_on(fleet, 3)
    assert await _reason(fleet, b) == "wave 1 of 2 (eu): waiting for a report of eu"
    async with fleet.company.database.transaction() as tx:
        await drain(tx, RegionName("eu"), drained=True)
    await _go_on(fleet, 4)
    await _later(fleet, b, 121)
    await _go_on(fleet, 1)
    assert fleet.runs(fleet.of(RegionName("us"))) == {"b": 5}
    assert await fleet.company.state(b) is State.SUCCEEDED


@ONE
async def test_a_region_that_fell_silent_in_a_wave_is_waited_for_although_nothing_else_does(fleet: Fleet) -> None:
    b = await _begin(fleet, "b", Policy(Preset.REGION_BY_REGION))
    fleet.away = {RegionName("eu")}
    async with fleet.company.database.transaction() as tx:
        await drain_silent(tx, RegionName("eu"), 60)
    await _go_on(fleet, 4)
    assert await _reason(fleet, b) == "wave 1 of 2 (eu): waiting for a report of eu"
    assert fleet.runs(fleet.of(RegionName("us"))) == {"a": 5}, "it may be the release that has silenced it"
    async with fleet.company.database.transaction() as tx:
        await drain(tx, RegionName("eu"), drained=True)
    await _go_on(fleet, 3)
    assert fleet.runs(fleet.of(RegionName("us"))) == {"b": 5}, "a person has said so"


@ONE
async def test_a_machine_that_joins_in_the_middle_takes_the_baseline_first(fleet: Fleet) -> None:
    b = await _begin(fleet, "b")
    await _go_on(fleet, 2)
    await fleet.join({"us": 1})
    await _go_on(fleet, 3)
    newcomer = fleet.machines[MachineId("us-6")]
    assert newcomer.ever[0] == "a"
    await _later(fleet, b, 61)
    await _go_on(fleet, 6)
    if await fleet.company.state(b) is not State.SUCCEEDED:
        # Its place is among those let in, once in sixteen: then the canary has begun its bake anew, for it.
        await _later(fleet, b, 61)
        await _go_on(fleet, 6)
    assert newcomer.runs == "b"
    assert await fleet.company.state(b) is State.SUCCEEDED


@ONE
async def test_unreachable_machines_within_the_budget_hold_up_nothing_and_catch_up(fleet: Fleet) -> None:
    b = await _begin(fleet, "b", Policy(stages=(Stage("canary", count=1), Stage("all")), unreachable_percent=10))
    canary = await fleet.company.goal()
    assert canary is not None
    others = (played for played in fleet.machines.values() if not canary.activates(played.machine))
    asleep = next(played for played in others if played.machine.region == "eu")
    asleep.silent = True
    await _go_on(fleet, 6)
    shown = await fleet.company.show(b)
    assert (shown.state, shown.reason) == (
        State.SUCCEEDED,
        "wave 2 of 2 (all) passed: 14 of 15 healthy, 1 unreachable",
    )
    asleep.silent = False
    await _go_on(fleet, 2)
    assert asleep.runs == "b"
    assert asleep.ever == ["a", "b"]


@ONE
async def test_a_late_wave_stops_and_nobody_else_switches_over(fleet: Fleet) -> None:
    b = await _begin(fleet, "b")
    await _go_on(fleet, 1)
    for played in fleet.machines.values():
        if played.changing:
            played.silent = True
    await _later(fleet, b, 1861)
    await fleet.company.step()
    shown = await fleet.company.show(b)
    assert shown.state is State.FAILED
    assert "not healthy within 30 min and 1 min of bake: " in shown.reason
    for played in fleet.machines.values():
        played.silent = False
    await _go_on(fleet, 3)
    assert fleet.runs() == {"a": 15}


@ONE
async def test_another_controller_goes_on_with_the_waves_of_one_that_died(fleet: Fleet) -> None:
    company = fleet.company
    b = await _begin(fleet, "b")
    await _go_on(fleet, 2)
    await company.passed(b, 60)
    company.controller = RolloutController(company.database, company.kv, company.queue)
    await _later(fleet, b, 61)
    await _go_on(fleet, 6)
    assert await company.state(b) is State.SUCCEEDED


async def test_every_decision_is_on_record_with_its_figures(fleet: Fleet) -> None:
    b = await _begin(fleet, "b", Policy(stages=(Stage("canary", count=2), Stage("mars", zones=("mars",)), Stage("all"))))
    await _go_on(fleet, 6)
    async with fleet.company.database.reading() as reading:
        told = select(events.c.text).where(events.c.kind == EventKind.DEPLOYMENT_WAVE, events.c.subject == b)
        said = list((await reading.execute(told.order_by(events.c.id))).scalars())
        pictures = await wave_pictures(reading, b)
    assert said[0].startswith("wave 1 of 3 (canary) is let in: inside are now ")
    assert said[1:] == [
        "wave 1 of 3 (canary) passed: 2 of 2 healthy",
        "wave 2 of 3 (mars) skipped: it means no machine",
        "wave 3 of 3 (all) is let in: inside are now 10 of eu, 5 of us",
        "wave 3 of 3 (all) passed: 15 of 15 healthy",
    ]
    assert [(wave.name, wave.state, wave.machines) for wave in pictures] == [
        ("canary", "passed", 2),
        ("mars", "passed", 0),
        ("all", "under way", 13),
    ]


async def test_silent_machines_are_no_canaries(fleet: Fleet) -> None:
    async with fleet.company.database.transaction() as tx:
        long_ago = machines.c.last_seen_at - 3 * MACHINE_SILENCE_S_MAX * 1000
        await tx.execute(update(machines).where(machines.c.region == "eu").values(last_seen_at=long_ago))
    await _begin(fleet, "b", Policy(stages=(Stage("canary", count=5),)))
    goal = await fleet.company.goal()
    assert goal is not None
    inside = [played.machine.id for played in fleet.machines.values() if goal.activates(played.machine)]
    assert sum(id_.startswith("us") for id_ in inside) == 5


@ONE
async def test_a_plan_that_cannot_be_taken_triggers_nothing(fleet: Fleet) -> None:
    with pytest.raises(Unprocessable, match="regions_at_once is 0"):
        await fleet.company.triggers.deploy(DeployRequest(WEB, sha("b"), plan=Policy(regions_at_once=0)))


async def test_paused_it_lets_nobody_in_and_resumed_it_goes_on(fleet: Fleet) -> None:
    company = fleet.company
    b = await _begin(fleet, "b")
    await _go_on(fleet, 2)
    async with company.database.transaction() as tx:
        await pause(tx, b)
        await pause(tx, b)
    assert (await company.show(b)).paused
    await _later(fleet, b, 3600)
    await _go_on(fleet, 3)
    assert fleet.runs() == {"a": 13, "b": 2}
    assert (await _reason(fleet, b)).endswith("2 of 2 healthy, baked 1 min; paused")
    async with company.database.transaction() as tx:
        await resume(tx, b)
    with pytest.raises(Refused, match="not paused"):
        async with company.database.transaction() as tx:
            await resume(tx, b)
    await _go_on(fleet, 6)
    assert await company.state(b) is State.SUCCEEDED


@ONE
async def test_paused_before_its_first_machine_it_writes_no_goal(fleet: Fleet) -> None:
    company = fleet.company
    before = await company.goal()
    b = await company.deploy("b")
    async with company.database.transaction() as tx:
        await pause(tx, b)
    await company.make("b")
    await _go_on(fleet, 2)
    assert await _reason(fleet, b) == "complete in every region; paused before its first machine"
    assert await company.goal() == before
    async with company.database.transaction() as tx:
        await resume(tx, b)
    await _go_on(fleet, 2)
    assert fleet.runs() == {"a": 13, "b": 2}


@ONE
async def test_a_pause_that_nobody_ends_ends_by_itself(fleet: Fleet) -> None:
    b = await _begin(fleet, "b")
    await _go_on(fleet, 2)
    async with fleet.company.database.transaction() as tx:
        await pause(tx, b)
    await _later(fleet, b, PAUSE_S_MAX + 1)
    await _go_on(fleet, 1)
    shown = await fleet.company.show(b)
    assert (shown.state, shown.reason) == (
        State.FAILED,
        "wave 1 of 3 (canary): paused for 1 day, and nobody resumed it",
    )


@ONE
async def test_promoted_it_does_not_wait_for_its_bake(fleet: Fleet) -> None:
    b = await _begin(fleet, "b")
    await _go_on(fleet, 2)
    async with fleet.company.database.transaction() as tx:
        await promote(tx, b)
    await _go_on(fleet, 2)
    assert fleet.runs(fleet.of(RegionName("eu"))) == {"b": 10}
    with pytest.raises(Refused, match="no wave that bakes"):
        async with fleet.company.database.transaction() as tx:
            await promote(tx, b)


@ONE
async def test_where_everybody_is_let_in_there_is_nothing_to_pause(fleet: Fleet) -> None:
    b = await _begin(fleet, "b", Policy())
    with pytest.raises(Refused, match="has let everybody in already"):
        async with fleet.company.database.transaction() as tx:
            await pause(tx, b)
    await _go_on(fleet, 3)
    with pytest.raises(Refused, match="SUCCEEDED already"):
        async with fleet.company.database.transaction() as tx:
            await pause(tx, b)


async def test_a_skipped_region_is_out_for_good_and_the_next_deployment_means_it(fleet: Fleet) -> None:
    company = fleet.company
    us = RegionName("us")
    b = await _begin(fleet, "b", Policy())
    async with company.database.transaction() as tx:
        await skip(tx, b, us)
        await skip(tx, b, us)
    await _go_on(fleet, 3)
    shown = await company.show(b)
    assert (shown.state, shown.reason, shown.skipped) == (State.SUCCEEDED, "10 of 10 machines active", (us,))
    assert fleet.runs() == {"a": 5, "b": 10}
    again = (await company.triggers.deploy(DeployRequest(WEB, sha("b"), plan=Policy()))).id
    await _go_on(fleet, 3)
    assert (await company.state(again), fleet.runs()) == (State.SUCCEEDED, {"b": 15})


@ONE
async def test_what_cannot_be_skipped_is_refused(fleet: Fleet) -> None:
    company = fleet.company
    b = await _begin(fleet, "b")
    async with company.database.transaction() as tx:
        with pytest.raises(NotFound, match="there is no region"):
            await skip(tx, b, RegionName("mars"))
        with pytest.raises(Refused, match="does not skip us"):
            await unskip(tx, b, RegionName("us"))
        await skip(tx, b, RegionName("us"))
        with pytest.raises(Refused, match="means no machine: fleetcast abort ends it"):
            await skip(tx, b, RegionName("eu"))


@ONE
async def test_a_release_that_went_out_without_a_region_can_be_gone_back_to(fleet: Fleet) -> None:
    """Its bucket lacks it still, and nobody waits for that."""
    company = fleet.company
    b = await company.deploy("b")
    await company.claim()
    await company.finish("b")
    lacking = (RegionName("us"),)
    await company.replicate("b", deployable=False, waiting_for="us: FAILED (disk full)", lacking=lacking)
    async with company.database.transaction() as tx:
        await tx.execute(update(releases).where(releases.c.digest == "b" * 64).values(completed_at=None))
    await company.step()
    assert await _reason(fleet, b) == "waiting for us: FAILED (disk full)"
    async with company.database.transaction() as tx:
        await skip(tx, b, RegionName("us"))
    await _go_on(fleet, 3)
    await _later(fleet, b, 61)
    await _go_on(fleet, 6)
    assert await company.state(b) is State.SUCCEEDED
    c = await _begin(fleet, "c", Policy())
    await _go_on(fleet, 3)
    assert (await company.state(c), fleet.runs()) == (State.SUCCEEDED, {"c": 15})
    back = await company.rollback()
    await _go_on(fleet, 3)
    assert (await company.state(back), fleet.runs()) == (State.SUCCEEDED, {"b": 15})


async def test_machines_that_failed_try_again_when_somebody_says_so(fleet: Fleet) -> None:
    """While it is under way, in the same deployment."""
    company = fleet.company
    fleet.sick = lambda machine, release: release.artifact.startswith("web/b") and machine == "eu-1"
    slow = fleet.machines[MachineId("us-1")]
    slow.silent = True
    b = await _begin(fleet, "b", Policy(failed_percent=50))
    await _go_on(fleet, 3)
    assert fleet.machines[MachineId("eu-1")].runs == "a"
    fleet.sick = lambda _machine, _release: False
    assert (await company.triggers.retry(RetryRequest(WEB))).id == b
    await company.step()
    slow.silent = False
    await _go_on(fleet, 3)
    shown = await company.show(b)
    assert (shown.state, shown.reason, fleet.runs()) == (State.SUCCEEDED, "15 of 15 machines active", {"b": 15})


@ONE
async def test_what_has_ended_is_tried_again_by_a_new_deployment_that_moves_nobody_else(fleet: Fleet) -> None:
    company = fleet.company
    fleet.sick = lambda machine, release: release.artifact.startswith("web/b") and machine == "eu-1"
    b = await _begin(fleet, "b", Policy())
    await _go_on(fleet, 3)
    assert await company.state(b) is State.FAILED
    fleet.sick = lambda _machine, _release: False
    again = (await company.triggers.retry(RetryRequest(WEB))).id
    assert again != b
    await _go_on(fleet, 3)
    assert (await company.state(again), fleet.runs()) == (State.SUCCEEDED, {"b": 15})
    assert sorted(len(played.ever) for played in fleet.machines.values()) == [2] * 14 + [3], "only one of them did anything"
    with pytest.raises(Refused, match="no machine has failed deployment"):
        await company.triggers.retry(RetryRequest(WEB))


@ONE
async def test_what_stopped_in_its_waves_is_not_tried_again(fleet: Fleet) -> None:
    b = await _begin(fleet, "b")
    await fleet.company.triggers.abort(b)
    with pytest.raises(Refused, match="is ABORTED and stopped where it stood: fleetcast deploy web@"):
        await fleet.company.triggers.retry(RetryRequest(WEB))
