"""Machines that die, come, go, or are not heard of while a deployment is under way, told as in ``test_scenarios.py``."""

from __future__ import annotations

import pytest

from fleetcast.model.ids import MachineId
from fleetcast.model.limits import MACHINE_SILENCE_S_MAX
from played_fleet import Played
from story import EU, TURN_S, WAVES, Golden, Story

pytestmark = pytest.mark.one_engine


def _dies(story: Story, played: Played) -> None:
    played.silent = True
    story.say(f"{played.machine.id} dies")


async def test_machine_retired_in_a_wave(story: Story, golden: Golden) -> None:
    """The wave had let it in and waits for it; without it, it bakes and passes."""
    await story.settle(eu=8, us=8)
    await story.deploy("b", WAVES)
    await story.go_on(6)
    gone = story.fleet.running("a")
    _dies(story, gone)
    await story.go_on(6)
    await story.retire(gone.machine.id)
    await story.until_ended()
    golden(story)


async def test_retired_canary_is_replaced(story: Story, golden: Golden) -> None:
    """By another machine, for which the canary bakes anew."""
    await story.settle(eu=8, us=8)
    await story.deploy("b", WAVES)
    await story.go_on(3)
    gone = story.fleet.running("b")
    _dies(story, gone)
    await story.go_on(5)
    await story.retire(gone.machine.id)
    await story.until_ended()
    golden(story)


async def test_region_restarts_in_a_wave(story: Story, golden: Golden) -> None:
    """One machine in twenty may be unreachable. One that has not found the new process yet is not, and turns out to be sick;
    the next time it is gone indeed."""
    await story.settle(eu=20, us=20)
    last = story.fleet.machines[MachineId("eu-20")]

    async def restarts(turns: int) -> None:
        story.fleet.gathering.add(EU)
        story.fleet.late.add(last.machine.id)
        story.say("the region process of eu is started anew, and all but eu-20 report to it")
        await story.go_on(turns)
        story.fleet.late.clear()

    story.fleet.sick = lambda machine, release: machine == "eu-20" and release.artifact.startswith("web/b")
    await story.deploy("b", WAVES)
    await story.go_on(6)
    await restarts(2)
    story.say("eu-20 reports")
    await story.until_ended()
    story.fleet.gathering.clear()
    await story.deploy("c", WAVES)
    await story.go_on(6)
    _dies(story, last)
    await restarts(MACHINE_SILENCE_S_MAX // TURN_S)
    story.fleet.gathering.clear()
    story.say("eu has listened for long enough")
    await story.until_ended()
    golden(story)


async def test_unreachable(story: Story, golden: Golden) -> None:
    """One machine in twenty; it catches up when it is back."""
    await story.settle(eu=20, us=20)
    asleep = [played for played in story.fleet.machines.values() if played.machine.id in ("eu-7", "us-7")]
    for played in asleep:
        played.silent = True
    story.say("eu-7 and us-7 say nothing any more")
    await story.go_on(2 * MACHINE_SILENCE_S_MAX // TURN_S + 1)
    await story.deploy("b", WAVES)
    await story.until_ended()
    for played in asleep:
        played.silent = False
    story.say("eu-7 and us-7 are back")
    await story.go_on(2)
    golden(story)


async def test_unreachable_all_at_once(story: Story, golden: Golden) -> None:
    """Within the budget they hold up nobody, beyond it they are waited for; a rollback waits for none that says nothing."""
    await story.settle(eu=20, us=20)

    async def falls_silent(*names: str) -> None:
        for name in names:
            story.fleet.machines[MachineId(name)].silent = True
        story.say(f"{', '.join(names)} say nothing any more")
        await story.go_on(2 * MACHINE_SILENCE_S_MAX // TURN_S + 1)

    await falls_silent("eu-7", "us-7")
    await story.deploy("b")
    await story.until_ended()
    await falls_silent("eu-8", "us-8")
    await story.deploy("c")
    await story.go_on(5)
    for name in ("eu-7", "us-7"):
        story.fleet.machines[MachineId(name)].silent = False
    story.say("eu-7 and us-7 are back")
    await story.until_ended()
    await falls_silent(*(f"eu-{number}" for number in range(9, 19)))
    story.say(f"somebody rolls back: {await story.company.rollback()}")
    await story.until_ended()
    for played in story.fleet.machines.values():
        played.silent = False
    story.say("everybody is back")
    await story.go_on(2)
    story.say(f"eu-7 ran {' '.join(story.fleet.machines[MachineId('eu-7')].ever)}")
    story.say(f"eu-8 ran {' '.join(story.fleet.machines[MachineId('eu-8')].ever)}")
    story.say(f"eu-9 ran {' '.join(story.fleet.machines[MachineId('eu-9')].ever)}")
    golden(story)


async def test_half_of_a_zone_dies_in_a_wave(story: Story, golden: Golden) -> None:
    """That is no fault of the release: it is not taken off those that run it."""
    await story.settle(eu=12, us=12)
    await story.deploy("b", WAVES)
    await story.go_on(7)
    dead = [played for played in story.fleet.of(EU) if played.machine.zone == "z1"][:3]
    for played in dead:
        played.silent = True
    story.say(f"{', '.join(played.machine.id for played in dead)} die")
    await story.until_ended(120)
    await story.go_on(2)
    golden(story)


async def test_empty_machine_joins(story: Story, golden: Golden) -> None:
    await story.settle(eu=8, us=8)
    await story.deploy("b", WAVES)
    await story.go_on(3)
    story.say("us-9 joins, empty")
    await story.fleet.join({"us": 1}, zones=2)
    await story.until_ended()
    story.say(f"us-9 ran {' '.join(story.fleet.machines[MachineId('us-9')].ever)}")
    golden(story)
