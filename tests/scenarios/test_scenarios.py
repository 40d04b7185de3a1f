"""What becomes of a fleet, told with the reasons of every step. Decisions, triggers and tables are real; machines, regions and
the time are played. ``pytest tests/scenarios --golden`` writes the texts anew, to be looked at."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fleetcast.control.checks.loop import Checking
from fleetcast.model.check import Check
from fleetcast.model.freeze import Freeze
from fleetcast.model.ids import DeploymentId
from fleetcast.model.messages.freezes import FreezeOrder
from fleetcast.model.plan import Policy, Preset, Stage, WhenBusy
from fleetcast.rollouts.approvals import approve
from fleetcast.rollouts.company_freezes import put_freeze, remove_freeze
from fleetcast.rollouts.holding_back import pause, promote, resume
from fleetcast.rollouts.inventory import drain
from fleetcast.rollouts.skipping import skip, unskip
from prometheus import prometheus
from story import EU, TURN_S, WAVES, Golden, Story

pytestmark = pytest.mark.one_engine


def _sick(story: Story, commit: str) -> None:
    story.fleet.sick = lambda _machine, release: release.artifact.startswith(f"web/{commit}")


async def test_canary_stops_a_sick_build(story: Story, golden: Golden) -> None:
    await story.settle(ap=8, eu=8, us=8)
    _sick(story, "b")
    await story.deploy("b", WAVES)
    await story.until_ended()
    tried = sum("b" in played.ever for played in story.fleet.machines.values())
    story.say(f"{tried} machines ever tried b")
    golden(story)


async def test_bake(story: Story, golden: Golden) -> None:
    """A process that dies, and comes up again, in the middle of a bake begins it anew."""
    await story.settle(eu=8, us=8)
    await story.deploy("b", WAVES)
    await story.go_on(4)
    flaky = story.fleet.running("b")
    flaky.down = True
    story.say(f"{flaky.machine.id} is down")
    await story.go_on(1)
    flaky.down = False
    story.say(f"{flaky.machine.id} is up again")
    await story.until_ended()
    golden(story)


async def test_two_overlapping_deployments(story: Story, golden: Golden) -> None:
    """The later one is still being built when the earlier one goes out, and takes its place once it is ready."""
    await story.settle(eu=8, us=8)
    await story.deploy("b", WAVES)
    await story.go_on(2)
    await story.deploy("c", WAVES, built=False)
    await story.go_on(3)
    story.say("c is built")
    await story.company.make("c")
    await story.until_ended()
    golden(story)


async def test_queue(story: Story, golden: Golden) -> None:
    """Each waits for those before it, one of which is sick; somebody who rolls back waits for none."""
    await story.settle(eu=8, us=8)
    in_line = replace(WAVES, when_busy=WhenBusy.QUEUE)
    _sick(story, "c")
    await story.deploy("b", in_line)
    await story.go_on(2)
    await story.deploy("c", in_line)
    await story.deploy("d", in_line)
    await story.until_ended(60)
    await story.deploy("e", in_line)
    await story.go_on(2)
    await story.deploy("f", in_line)
    await story.go_on(1)
    story.say(f"somebody rolls back: {await story.company.rollback()}")
    await story.until_ended(60)
    golden(story)


async def test_supersede_at_half_way(story: Story, golden: Golden) -> None:
    """What every machine ran, in order: those that the earlier one had not reached never see it."""
    await story.settle(eu=8, us=8)
    await story.deploy("b", WAVES)
    await story.go_on(9)
    await story.deploy("c")
    await story.until_ended()
    histories: dict[str, int] = {}
    for played in story.fleet.machines.values():
        histories[" ".join(played.ever)] = histories.get(" ".join(played.ever), 0) + 1
    story.say(f"machines by what they ran: {dict(sorted(histories.items()))}")
    golden(story)


async def test_abort_in_every_phase(story: Story, golden: Golden) -> None:
    await story.settle(eu=8, us=8)

    async def abort(deployment: DeploymentId, when: str) -> None:
        story.say(f"abort, {when}")
        await story.company.triggers.abort(deployment)
        await story.go_on(2)

    deployment = await story.deploy("b", WAVES, built=False)
    await story.go_on(1)
    await abort(deployment, "while it is being built")
    deployment = await story.deploy("c", WAVES, built=False)
    await story.company.claim()
    await story.company.finish("c")
    await story.go_on(1)
    await abort(deployment, "while it is being copied")
    deployment = await story.deploy("d", WAVES)
    await story.go_on(1)
    await abort(deployment, "while its first wave comes up")
    deployment = await story.deploy("e", WAVES)
    await story.go_on(4)
    await abort(deployment, "while it bakes")
    deployment = await story.deploy("f", WAVES)
    await story.go_on(8)
    await abort(deployment, "in its second wave")
    golden(story)


async def test_region_drained(story: Story, golden: Golden) -> None:
    await story.settle(eu=8, us=8)
    await story.deploy("b", Policy(Preset.REGION_BY_REGION))
    story.fleet.away.add(EU)
    story.say("eu says nothing to control any more")
    await story.go_on(4)
    story.say("eu is drained")
    async with story.company.database.transaction() as tx:
        await drain(tx, EU, drained=True)
    await story.until_ended()
    golden(story)


async def test_region_goes_back_past_control(story: Story, golden: Golden) -> None:
    """In the middle of a wave. What control would have done next it does not do; somebody has to say so."""
    await story.settle(eu=8, us=8)
    before = (await story.company.goal()).target  # type: ignore[union-attr]  # there is one
    await story.deploy("b", WAVES)
    await story.go_on(7)
    story.control_dies()
    await story.go_on(1)
    await story.fleet.go_back(EU, before, "ada")
    story.say("ada takes eu back")
    await story.go_on(3)
    story.control_is_back()
    await story.go_on(4)
    await story.deploy("c")
    await story.until_ended()
    await story.go_on(1)
    golden(story)


async def test_region_skipped(story: Story, golden: Golden) -> None:
    """Half of eu has switched over when it is skipped; its bucket never gets the next release, which goes out all the same."""
    await story.settle(eu=8, us=8)

    async def skips(deployment: DeploymentId, *, undo: bool = False) -> None:
        async with story.company.database.transaction() as tx:
            await (unskip if undo else skip)(tx, deployment, EU)
        story.say("eu is meant again" if undo else "eu is skipped")

    waves = Policy(stages=(Stage(regions=(EU,), percent=50), Stage(by_region=True)))
    b = await story.deploy("b", waves)
    await story.go_on(2)
    story.fleet.away.add(EU)
    story.say("eu says nothing to control any more")
    await story.go_on(4)
    await skips(b)
    await story.until_ended()
    story.fleet.away.clear()
    story.say("eu is back")
    await story.go_on(2)
    c = await story.deploy("c", built=False)
    await story.company.claim()
    await story.company.finish("c")
    await story.company.replicate("c", deployable=False, waiting_for="eu: FAILED (disk full)", lacking=(EU,))
    await story.go_on(1)
    await skips(c)
    await story.until_ended()
    d = await story.deploy("d", waves)
    await story.go_on(1)
    await skips(d)
    await story.go_on(1)
    await skips(d, undo=True)
    await story.until_ended()
    golden(story)


async def test_rollback_during_rollback(story: Story, golden: Golden) -> None:
    """Somebody asks for a rollback while the one that a sick release has caused is under way."""
    await story.settle(eu=8, us=8)
    await story.deploy("b")
    await story.until_ended()
    _sick(story, "c")
    await story.deploy("c", WAVES)
    await story.go_on(3)
    back = await story.company.rollback()
    story.say(f"somebody rolls back: {back}")
    await story.until_ended()
    golden(story)


async def test_paused_promoted(story: Story, golden: Golden) -> None:
    await story.settle(eu=8, us=8)
    b = await story.deploy("b", WAVES)
    await story.go_on(2)
    for what, text, turns in ((pause, "paused", 6), (resume, "resumed", 3), (promote, "promoted", 4)):
        async with story.company.database.transaction() as tx:
            await what(tx, b)
        story.say(text)
        await story.go_on(turns)
    await story.until_ended()
    golden(story)


async def test_freeze(story: Story, golden: Golden) -> None:
    """Before the first wave, between two, overridden, and no hindrance to a rollback."""
    await story.settle(eu=8, us=8)
    holidays = FreezeOrder("holidays", Freeze("nobody is there", ends="2099-01-02"))

    async def freeze() -> None:
        story.say("carol: freeze holidays")
        async with story.company.database.transaction() as tx:
            await put_freeze(tx, holidays, "carol")

    async def thaw() -> None:
        story.say("carol: freeze holidays is removed")
        async with story.company.database.transaction() as tx:
            await remove_freeze(tx, "holidays", "carol")

    await freeze()
    await story.deploy("b", WAVES, by="alice")
    await story.go_on(3)
    await thaw()
    await story.go_on(3)
    await freeze()
    await story.go_on(6)
    await story.deploy("c", by="bob", override_freeze="the shop is down")
    await story.until_ended()
    story.say(f"bob: rolls back: {await story.company.rollback()}")
    await story.until_ended()
    golden(story)


async def test_approval_given_and_refused(story: Story, golden: Golden) -> None:
    """Two before the first machine, one more before everybody; the second deployment is refused there."""
    await story.settle(eu=8, us=8)
    plan = Policy(approvals=2, stages=(Stage("canary", count=3, bake_s=40), Stage("everyone", approvals=1)))

    async def approved(deployment: DeploymentId, by: str) -> None:
        story.say(f"{by}: approves {deployment}")
        async with story.company.database.transaction() as tx:
            await approve(tx, deployment, by)

    b = await story.deploy("b", plan, by="alice")
    await approved(b, "bob")
    await story.go_on(2)
    await approved(b, "carol")
    await story.go_on(6)
    await approved(b, "bob")
    await story.until_ended()
    c = await story.deploy("c", plan, by="bob")
    await approved(c, "alice")
    await approved(c, "carol")
    await story.go_on(6)
    story.say(f"alice: refuses {c}")
    await story.company.triggers.refuse(c, "errors in the canary's log", "alice")
    await story.go_on(2)
    golden(story)


async def test_outside_check(story: Story, golden: Golden) -> None:
    """No data is no pass; what Prometheus says of the second wave takes the release back, although every machine is well."""
    await story.settle(eu=8, us=8)
    with prometheus() as server:
        story.checking = Checking(story.company.database, story.company.controller.wake, allow_commands=False)
        errors = Check(
            "errors", prometheus=server.url, query='errors{service="{service}"}', below=0.01, every_s=TURN_S, failures=2
        )
        plan = Policy(stages=(Stage("canary", count=3, bake_s=60, checks=(errors,)), Stage(bake_s=60, checks=(errors,))))
        server.value = None
        await story.deploy("b", plan)
        await story.go_on(6)
        server.value = "0.002"
        story.say("Prometheus has data: 0.002")
        await story.go_on(4)
        server.value = "0.07"
        story.say("Prometheus says 0.07")
        await story.until_ended()
    golden(story)
