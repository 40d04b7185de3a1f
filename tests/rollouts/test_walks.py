"""Golden walks: deployments through the states, as a person would follow them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from fleetcast.model.deployment import DeploymentState as State
from fleetcast.model.errors import NotFound, Refused
from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.limits import MACHINE_SILENCE_S_MAX
from fleetcast.model.machine import Machine
from fleetcast.schema.tables import machines

if TYPE_CHECKING:
    from conftest import Company

pytestmark = pytest.mark.one_engine


async def test_one_commit_from_trigger_to_success(company: Company) -> None:
    a = await company.deploy("a")
    story = []

    async def look() -> None:
        await company.step()
        shown = await company.show(a)
        story.append(f"{shown.state} {shown.reason} {shown.progress.active}/{shown.progress.total}")

    await look()
    await company.claim()
    await look()
    await company.finish("a")
    await look()
    await company.replicate("a", deployable=False, waiting_for="us: PENDING (being copied)")
    await look()
    await company.replicate("a")
    await look()
    await company.active(a, {"eu": 1})
    await look()
    await company.active(a, {"eu": 2, "us": 1})
    await look()
    await look()

    assert story == [
        "BUILDING waiting for build 1: in the queue 0/3",
        "BUILDING waiting for build 1: attempt 1 on w1 0/3",
        "REPLICATING waiting for the first look into the regions' buckets 0/3",
        "REPLICATING waiting for us: PENDING (being copied) 0/3",
        "DISTRIBUTING waiting for eu: 0 of 2 machines active; us: 0 of 1 machines active 0/3",
        "DISTRIBUTING waiting for eu: 1 of 2 machines active; us: 0 of 1 machines active 1/3",
        "SUCCEEDED 3 of 3 machines active 3/3",
        "SUCCEEDED 3 of 3 machines active 3/3",
    ]
    shown = await company.show(a)
    assert shown.artifact_bytes is not None
    assert shown.progress.bytes.total == shown.artifact_bytes * shown.progress.total
    assert None not in (shown.build_s, shown.replicate_s, shown.distribute_s)


async def test_success_makes_the_release_the_baseline(company: Company) -> None:
    a = await company.succeed("a")
    first = await company.goal()
    b = await company.deploy("b")
    await company.make("b")
    await company.step()
    going = await company.goal()
    await company.everywhere(b)
    await company.step()
    done = await company.goal()

    assert first is not None
    assert going is not None
    assert done is not None
    assert (first.deployment, first.baseline) == (a, first.target)
    assert (going.deployment, going.baseline) == (b, first.target)
    assert (done.deployment, done.baseline) == (b, done.target)
    assert first.generation < going.generation < done.generation


async def test_a_build_that_finishes_late_does_not_overwrite_a_newer_one(company: Company) -> None:
    b = await company.deploy("b")
    c = await company.deploy("c")
    await company.build("b")
    await company.claim()
    await company.make("c")
    await company.step()
    assert await company.state(c) is State.DISTRIBUTING
    assert await company.state(b) is State.SUPERSEDED
    await company.everywhere(c)
    await company.step()
    written = await company.goal()
    await company.finish("b")
    await company.replicate("b")
    await company.step()

    assert await company.goal() == written
    assert [await company.state(one) for one in (b, c)] == [State.SUPERSEDED, State.SUCCEEDED]
    shown = await company.show(b)
    assert shown.reason == f"deployment {c} took its place while it was BUILDING"
    assert shown.distribute_s is None


async def test_of_two_that_are_ready_at_once_only_the_newer_is_distributed(company: Company) -> None:
    b, c = await company.deploy("b"), await company.deploy("c")
    await company.make("b")
    await company.make("c")
    await company.step()
    assert [await company.state(one) for one in (b, c)] == [State.SUPERSEDED, State.DISTRIBUTING]
    assert (await company.show(b)).generation is None


async def test_c_takes_the_place_of_b_while_b_is_being_distributed(company: Company) -> None:
    a = await company.succeed("a")
    b = await company.deploy("b")
    await company.make("b")
    await company.step()
    await company.active(b, {"eu": 1})
    c = await company.deploy("c")
    await company.make("c")
    await company.step()
    frozen = await company.show(b)
    await company.everywhere(b)  # a late report about b
    await company.everywhere(c)
    await company.step()

    assert (frozen.state, frozen.progress.active) == (State.SUPERSEDED, 1)
    assert await company.show(b) == frozen
    assert await company.state(c) is State.SUCCEEDED
    goal = await company.goal()
    assert goal is not None
    assert (goal.deployment, goal.target) == (c, (await company.show(c)).release)
    assert (await company.show(a)).rolled_back_by is None


async def test_a_rollback_ends_what_is_being_distributed_and_supersedes_what_is_not_yet(company: Company) -> None:
    a = await company.succeed("a")
    b = await company.deploy("b")
    await company.make("b")
    await company.step()
    await company.active(b, {"us": 1})
    c = await company.deploy("c")
    back = await company.rollback()
    await company.step()
    goal = await company.goal()
    await company.everywhere(back)
    await company.step()

    assert goal is not None
    assert (goal.deployment, goal.rollback) == (back, True)
    assert goal.target == goal.baseline == (await company.show(a)).release
    shown = {name: await company.show(one) for name, one in {"a": a, "b": b, "c": c, "back": back}.items()}
    assert {name: one.state for name, one in shown.items()} == {
        "a": State.SUCCEEDED,
        "b": State.ROLLED_BACK,
        "c": State.SUPERSEDED,
        "back": State.SUCCEEDED,
    }
    assert (shown["b"].rolled_back_by, shown["a"].rolled_back_by) == (back, None)
    assert (shown["back"].build_s, shown["back"].replicate_s) == (0, 0)
    assert shown["back"].commit_sha == shown["a"].commit_sha


async def test_rolling_back_again_goes_further_back_and_then_nowhere(company: Company) -> None:
    a, b, c = await company.succeed("a"), await company.succeed("b"), await company.succeed("c")
    for expected in ("b", "a"):
        back = await company.rollback()
        assert (await company.show(back)).commit_sha == expected * 40
        await company.step()
        await company.everywhere(back)
        await company.step()
        assert await company.state(back) is State.SUCCEEDED
    with pytest.raises(Refused, match="no earlier release that succeeded"):
        await company.rollback()
    assert [(await company.show(one)).rolled_back_by is None for one in (a, b, c)] == [True, False, False]
    assert [await company.state(one) for one in (a, b, c)] == [State.SUCCEEDED] * 3


async def test_a_rollback_that_is_rolled_back_while_it_is_being_distributed(company: Company) -> None:
    await company.succeed("a")
    await company.succeed("b")
    await company.succeed("c")
    first = await company.rollback()
    await company.step()
    second = await company.rollback()
    await company.step()
    assert await company.state(first) is State.ROLLED_BACK
    assert (await company.show(second)).commit_sha == "a" * 40
    goal = await company.goal()
    assert goal is not None
    assert goal.deployment == second


async def test_after_a_rollback_the_next_one_goes_to_where_that_led(company: Company) -> None:
    await company.succeed("a")
    await company.succeed("b")
    back = await company.rollback()
    await company.step()
    await company.everywhere(back)
    await company.step()
    await company.succeed("d")
    again = await company.rollback()
    assert (await company.show(again)).commit_sha == "a" * 40


async def test_a_person_may_name_the_release_to_go_to(company: Company) -> None:
    await company.succeed("a")
    await company.succeed("b")
    await company.succeed("c")
    with pytest.raises(Refused, match="already"):
        await company.rollback("c")
    with pytest.raises(NotFound, match="deploy it instead"):
        await company.rollback("d")
    back = await company.rollback("a")
    await company.step()
    await company.everywhere(back)
    await company.step()
    forward = await company.rollback("b")
    assert (await company.show(forward)).commit_sha == "b" * 40


async def test_a_release_that_failed_is_no_default_to_go_back_to(company: Company) -> None:
    a = await company.succeed("a")
    b = await company.deploy("b")
    await company.make("b")
    await company.step()
    await company.active(b, {"eu": 2}, failed={"us": 1})
    await company.step()
    assert await company.state(b) is State.FAILED
    await company.succeed("c")
    back = await company.rollback()
    assert (await company.show(back)).release == (await company.show(a)).release


async def test_rollback_waits_for_no_copy_that_vanished(company: Company) -> None:
    await company.succeed("a")
    await company.succeed("b")
    await company.replicate("a", deployable=False, waiting_for="eu: PENDING (it vanished from the bucket)")
    back = await company.rollback()
    await company.step()
    assert await company.state(back) is State.DISTRIBUTING
    assert (await company.show(back)).replicate_s == 0


async def test_a_built_commit_is_not_built_again_unless_asked(company: Company) -> None:
    a = await company.succeed("a")
    await company.succeed("b")
    again = await company.deploy("a")
    assert await company.queue.claim("w1") is None
    await company.step()
    shown = await company.show(again)
    assert (shown.state, shown.build, shown.build_s, shown.replicate_s) == (State.DISTRIBUTING, None, 0, 0)
    assert shown.release == (await company.show(a)).release

    rebuilt = await company.deploy("a", rebuild=True)
    claim = await company.claim()
    assert claim.build.name == f"web/{'a' * 40}.2"
    await company.finish("a")
    await company.step()
    await company.everywhere(rebuilt)
    await company.step()
    shown = await company.show(rebuilt)
    assert (shown.state, shown.artifact) == (State.SUCCEEDED, f"web/{'a' * 40}.2")
    newest = await company.deploy("a")
    assert (await company.show(newest)).artifact == f"web/{'a' * 40}.2"


async def test_a_failed_build_ends_its_deployments_and_may_be_tried_again(company: Company) -> None:
    one, other = await company.deploy("a"), await company.deploy("a")
    claim = await company.claim()
    await company.queue.fail(claim.build.id, claim.token, "make: no rule")
    await company.step()
    for deployment in (one, other):
        shown = await company.show(deployment)
        assert (shown.state, shown.reason) == (State.FAILED, "build 1 failed: make: no rule")
        assert shown.build_s is None
    company.running.clear()
    await company.succeed("a")


async def test_all_reported_and_some_failed_is_failure_with_names(company: Company) -> None:
    a = await company.deploy("a")
    await company.make("a")
    await company.step()
    await company.active(a, {"eu": 1}, failed={"eu": 1})
    await company.step()
    assert await company.state(a) is State.DISTRIBUTING
    await company.active(a, {"eu": 1, "us": 1}, failed={"eu": 1})
    await company.step()
    shown = await company.show(a)
    assert (shown.state, shown.reason) == (State.FAILED, "1 of 3 machines failed, none may: eu-2: health check failed")
    assert (shown.progress.active, shown.progress.failed, shown.distribute_s) == (2, 1, None)


async def test_deadlines_end_a_deployment_and_name_who_is_missing(company: Company) -> None:
    a = await company.deploy("a")
    await company.make("a")
    await company.step()
    await company.active(a, {"eu": 1, "us": 1})
    await company.passed(a, 1801)
    await company.step()
    shown = await company.show(a)
    assert shown.state is State.FAILED
    assert shown.reason == "not on every machine within 1800 s: eu: 1 of 2 machines active: eu-2: no permit"

    b = await company.deploy("b")
    await company.claim()
    await company.finish("b")
    await company.replicate("b", deployable=False, waiting_for="us: FAILED (disk full)")
    await company.step()
    await company.passed(b, 1801)
    await company.step()
    assert (await company.show(b)).reason == "not in every region within 1800 s: us: FAILED (disk full)"
    assert await company.state(b) is State.FAILED


async def test_a_rollback_does_not_wait_for_a_machine_that_is_gone(company: Company) -> None:
    """Its region was started anew since, and knows nothing of it; the inventory does."""
    await company.succeed("a")
    await company.succeed("b")
    company.machines["eu"] = ("eu-1",)
    async with company.database.transaction() as tx:
        long_ago = machines.c.last_seen_at - 3 * MACHINE_SILENCE_S_MAX * 1000
        await tx.execute(update(machines).where(machines.c.id == "eu-2").values(last_seen_at=long_ago))
    back = await company.rollback()
    await company.step()
    await company.active(back, {"us": 1})
    await company.step()
    assert (await company.show(back)).reason == "waiting for eu: 0 of 2 machines active, 1 unreachable"
    await company.everywhere(back)
    await company.step()
    shown = await company.show(back)
    assert (shown.state, shown.reason) == (State.SUCCEEDED, "2 of 3 machines active, 1 unreachable")
    assert (shown.progress.active, shown.progress.total) == (2, 3)


async def test_a_machine_that_joins_meanwhile_is_meant_too(company: Company) -> None:
    a = await company.deploy("a")
    await company.make("a")
    await company.step()
    company.machines["us"] = ("us-1", "us-2")
    await company.active(a, {"eu": 2, "us": 1})
    await company.step()
    assert (await company.show(a)).reason == "waiting for us: 1 of 2 machines active"
    await company.everywhere(a)
    await company.step()
    assert (await company.show(a)).progress.total == 4
    company.machines["us"] = ("us-1", "us-2", "us-3")
    await company.everywhere(a)
    assert (await company.show(a)).progress.total == 4  # what has ended stays as it was


@pytest.mark.parametrize("ready", [False, True])
async def test_an_abort_ends_it_and_machines_keep_what_they_run(company: Company, ready: bool) -> None:
    a = await company.succeed("a")
    before = await company.goal()
    b = await company.deploy("b")
    if ready:
        await company.make("b")
    await company.step()
    await company.triggers.abort(b)
    with pytest.raises(Refused, match="ABORTED already"):
        await company.triggers.abort(b)
    await company.step()
    goal = await company.goal()
    assert goal is not None
    assert before is not None
    assert await company.state(b) is State.ABORTED
    if not ready:
        assert goal == before
        return
    release = (await company.show(a)).release
    for ids in company.machines.values():
        for id_ in ids:
            machine = Machine(MachineId(id_), RegionName(id_[:2]))
            assert goal.release_for(machine, running=release) == release
            assert goal.release_for(machine, running=None) == release
    await company.succeed("c")
