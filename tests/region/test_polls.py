"""Held polls: cheap, woken by what concerns them and by nothing else."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from fleetcast.http import messages
from fleetcast.model.errors import Refused, Unavailable
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal
from fleetcast.model.machine import Machine, Selector
from fleetcast.model.messages.agents import GoalsReply, GoalsRequest
from fleetcast.region.goals import HeldGoal
from fleetcast.region.polls import GoalPolls

MakeGoal = Callable[..., Goal]
MakeMachine = Callable[..., Machine]


def held(*goals: Goal) -> list[HeldGoal]:
    return [HeldGoal(f"goals/{goal.environment}/{goal.service}", goal, messages.encode(goal)) for goal in goals]


async def connected() -> Any:
    """The ``receive`` of a caller that stays."""
    await asyncio.get_running_loop().create_future()


async def disconnected() -> Any:
    """The ``receive`` of a caller that has gone."""
    return {"type": "http.disconnect"}


@pytest.fixture
def polls() -> GoalPolls:
    return GoalPolls("ab" * 32, 15.0, lambda: 1_700_000_000_000)


async def turn_until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until something holds, which takes them a few turns."""
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def ask(polls: GoalPolls, machine: Machine, etag: str = "", wait_s: float = 0.0) -> GoalsReply:
    return messages.decode(await polls.poll(GoalsRequest(machine, etag, wait_s), connected), GoalsReply)


async def park(polls: GoalPolls, machine: Machine) -> asyncio.Task[GoalsReply]:
    """A poll that is held."""
    etag = (await ask(polls, machine)).etag
    before = polls.held
    task = asyncio.create_task(ask(polls, machine, etag, 30))
    await turn_until(lambda: polls.held > before)
    return task


async def test_a_machine_gets_the_goals_that_select_it(
    polls: GoalPolls, make_goal: MakeGoal, make_machine: MakeMachine
) -> None:
    here, there = make_goal("web", selector=Selector(zones=("a",))), make_goal("api", selector=Selector(zones=("b",)))
    polls.publish(held(here, there))
    reply = await ask(polls, make_machine("m1", zone="a"))
    assert reply.goals == (here,)
    assert (reply.ticket_key, reply.report_interval_s) == ("ab" * 32, 15.0)
    assert (await ask(polls, make_machine("m2", zone="c"))).goals == ()


async def test_nothing_new_when_the_wait_is_over(polls: GoalPolls, make_goal: MakeGoal, make_machine: MakeMachine) -> None:
    polls.publish(held(make_goal()))
    etag = (await ask(polls, make_machine("m1"))).etag
    reply = await ask(polls, make_machine("m1"), etag, wait_s=0.01)
    assert (reply.etag, reply.goals) == (etag, None)
    assert polls.held == 0


async def test_a_change_wakes_only_those_it_concerns(polls: GoalPolls, make_goal: MakeGoal, make_machine: MakeMachine) -> None:
    web, api = make_goal("web", selector=Selector(zones=("a",))), make_goal("api", selector=Selector(zones=("b",)))
    polls.publish(held(web, api))
    concerned = [await park(polls, make_machine(f"a{index}", zone="a")) for index in range(20)]
    others = [await park(polls, make_machine(f"b{index}", zone="b")) for index in range(20)]
    newer = make_goal("web", generation=Generation(0, 2), selector=Selector(zones=("a",)))
    polls.publish(held(newer, api))
    replies = await asyncio.gather(*concerned)
    assert all(reply.goals == (newer,) for reply in replies)
    assert polls.held == len(others)
    polls.close()
    assert all(reply.goals is None for reply in await asyncio.gather(*others))


async def test_a_goal_that_stops_selecting_a_machine_is_news_to_it(
    polls: GoalPolls, make_goal: MakeGoal, make_machine: MakeMachine
) -> None:
    polls.publish(held(make_goal()))
    waiting = await park(polls, make_machine("m1", zone="a"))
    polls.publish(held(make_goal(generation=Generation(0, 2), selector=Selector(zones=("b",)))))
    assert (await waiting).goals == ()


async def test_agents_get_what_this_program_does_not_understand(
    polls: GoalPolls, make_goal: MakeGoal, make_machine: MakeMachine
) -> None:
    goal = make_goal()
    encoded = messages.encode(goal)[:-1] + b',"of_tomorrow":1}'
    polls.publish([HeldGoal("goals/production/web", goal, encoded)])
    body = await polls.poll(GoalsRequest(make_machine("m1"), "", 0), connected)
    assert b'"of_tomorrow":1' in body


async def test_a_second_agent_of_one_id_is_refused(polls: GoalPolls, make_machine: MakeMachine) -> None:
    first = await park(polls, make_machine("m1"))
    with pytest.raises(Refused, match="m1"):
        await polls.admit(make_machine("m1").id)
    polls.close()
    await first


async def test_an_agent_whose_connection_broke_gets_in_again(polls: GoalPolls, make_machine: MakeMachine) -> None:
    machine = make_machine("m1")
    etag = (await ask(polls, machine)).etag
    broken = asyncio.create_task(polls.poll(GoalsRequest(machine, etag, 30), disconnected))
    await turn_until(lambda: polls.held > 0)
    await polls.admit(machine.id)
    await broken
    again = await park(polls, machine)
    polls.close()
    await again


async def test_nobody_is_held_once_closed(polls: GoalPolls, make_machine: MakeMachine) -> None:
    etag = (await ask(polls, make_machine("m1"))).etag
    polls.close()
    assert (await ask(polls, make_machine("m1"), etag, 30)).goals is None


async def test_a_cancelled_poll_leaves_nothing_behind(polls: GoalPolls, make_machine: MakeMachine) -> None:
    waiting = await park(polls, make_machine("m1"))
    waiting.cancel()
    await asyncio.wait([waiting])
    assert polls.held == 0


async def test_a_held_poll_is_small(polls: GoalPolls, make_goal: MakeGoal, make_machine: MakeMachine) -> None:
    polls.publish(held(make_goal()))
    etag = (await ask(polls, make_machine("m0"))).etag
    requests = [GoalsRequest(make_machine(f"m{index}"), etag, 30) for index in range(2000)]
    tracemalloc.start()
    tasks = [asyncio.create_task(polls.poll(request, connected)) for request in requests]
    await turn_until(lambda: polls.held == len(tasks))
    bytes_each = tracemalloc.get_traced_memory()[0] / len(tasks)
    tracemalloc.stop()
    assert bytes_each < 4096
    polls.close()
    await asyncio.gather(*tasks)


async def test_beyond_the_bound_nobody_is_held_and_news_is_told(make_goal: MakeGoal, make_machine: MakeMachine) -> None:
    polls = GoalPolls("ab" * 32, 15.0, lambda: 0, held_max=1)
    polls.publish(held(make_goal("web")))
    parked = await park(polls, make_machine("first"))
    known = (await ask(polls, make_machine("second"))).etag
    with pytest.raises(Unavailable, match="holds 1 polls, all it may") as full:
        await ask(polls, make_machine("second"), known, 30.0)
    assert full.value.code == "polls_full"
    polls.publish(held(make_goal("web", generation=Generation(0, 2))))
    assert (await ask(polls, make_machine("second"), known, 30.0)).goals is not None
    assert (await parked).goals is not None
    polls.close()
