"""The region process on real sockets, with a real store and bucket: what agents and control get to see of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from blake3 import blake3

from fleetcast.artifacts.manifest import decode
from fleetcast.model.artifact import regional_content_blob
from fleetcast.model.errors import Forbidden, Invalid, NotFound, Refused, Unauthorized
from fleetcast.model.generation import Generation
from fleetcast.model.goal import Goal, Limits
from fleetcast.model.ids import Digest, MachineId
from fleetcast.model.machine import Machine, Selector
from fleetcast.model.messages.agents import (
    AnnounceReply,
    AnnounceRequest,
    LeaseReply,
    LeaseRequest,
    MachineReport,
    MachineReportAccepted,
    PeerAddress,
    PermitCall,
    PermitReply,
    RootReply,
)
from fleetcast.model.permit import PermitDecision, PermitRequest
from fleetcast.model.report import Phase, ServiceReport
from fleetcast.stores.directory_blobs import DirectoryBlobs
from fleetcast.stores.transfer import GrantConnection
from fleetcast.swarm import tickets

MakeGoal = Callable[..., Goal]
MakeMachine = Callable[..., Machine]
MakeReport = Callable[..., ServiceReport]
Eventually = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
LONG_S = 600.0
"""For what must not be over while a test runs."""


@pytest.fixture
def machine(make_machine: MakeMachine) -> Machine:
    return make_machine("m1")


@pytest.fixture
def in_bucket(region: Any, eventually: Eventually) -> Callable[[Digest], Awaitable[Any]]:
    """Waits until the region's bucket holds an artifact's content."""

    async def wait(digest: Digest) -> Any:
        path = region.config.bucket / "blobs" / regional_content_blob(digest)

        async def look() -> Any:
            return path if path.exists() else None

        return await eventually(look)

    return wait


@pytest.fixture
def goal_known(region: Any, eventually: Eventually, machine: Machine) -> Callable[[Goal], Awaitable[Any]]:
    """Waits until agents are told a goal."""

    async def wait(goal: Goal) -> Any:
        agent = region.agent()

        async def look() -> Any:
            reply = await region.goals(agent, machine)
            return reply if goal in (reply.goals or ()) else None

        return await eventually(look)

    return wait


async def report(agent: Any, machine: Machine, *services: ServiceReport, alarms: tuple[str, ...] = ()) -> None:
    await agent.ask("POST", "/v1/reports", MachineReport(machine, services, alarms), reply=MachineReportAccepted)


async def is_held(region: Any, machine: Machine) -> bool | None:
    """Whether a poll of the machine is: then another under its id is refused."""
    try:
        await region.goals(region.sessions[0], machine)
    except Refused:
        return True
    return None


async def permit(agent: Any, goal: Goal, name: str, path: str = "/v1/permits") -> PermitDecision:
    request = PermitRequest(MachineId(name), goal.service, goal.environment, goal.generation, available=True)
    reply: PermitReply = await agent.ask("POST", path, PermitCall(request), reply=PermitReply)
    return reply.decision


async def test_a_goal_reaches_a_held_poll(region: Any, control: Any, machine: Machine, make_goal: MakeGoal) -> None:
    agent = region.agent()
    nothing = await region.goals(agent, machine)
    assert nothing.goals == ()
    held = asyncio.create_task(region.goals(agent, machine, nothing.etag, wait_s=20))
    await control.put_goal(make_goal())
    reply = await held
    assert reply.goals == (make_goal(),)
    tickets.public_key(reply.ticket_key)


async def test_without_control_agents_are_served_as_before_even_after_a_restart(
    region: Any, control: Any, machine: Machine, make_goal: MakeGoal, goal_known: Callable[[Goal], Awaitable[Any]]
) -> None:
    await control.put_goal(make_goal())
    before = await goal_known(make_goal())
    await control.go_away()
    await region.stop()
    await region.start()
    agent = region.agent()
    reply = await region.goals(agent, machine)
    assert replace(reply, now_ms=0) == replace(before, now_ms=0), "the same goals under the same etag, and the same ticket key"
    await report(agent, machine)
    assert (await region.goals(agent, machine, reply.etag, wait_s=0.05)).goals is None


async def test_everything_is_reported_again_when_control_comes_back(
    region: Any,
    control: Any,
    machine: Machine,
    make_goal: MakeGoal,
    make_report: MakeReport,
    goal_known: Callable[[Goal], Awaitable[Any]],
    eventually: Eventually,
) -> None:
    goal = make_goal()
    await control.put_goal(goal)
    await goal_known(goal)
    await control.go_away()
    await report(region.agent(), machine, make_report(goal, Phase.ACTIVE), alarms=("peer m2 sent a wrong chunk",))
    control.hellos.clear()
    control.reports.clear()
    await control.come()

    async def told() -> Any:
        return next((each for each in control.reports if each.rollups and each.rollups[0].active), None)

    told_report = await eventually(told)
    assert told_report.machines == (machine,)
    rollup = told_report.rollups[0]
    assert rollup.cohort is not None
    assert rollup.cohort.gathering, "it has just started: who is missing may be on the way"
    assert (rollup.deployment, rollup.selected, rollup.reporting, rollup.active) == (goal.deployment, 1, 1, 1)
    assert told_report.alarms == ("m1: peer m2 sent a wrong chunk",)
    (hello, *_) = control.hellos
    assert (hello.region, hello.data_url) == ("eu", region.addresses["data"])


async def test_an_artifact_is_copied_handed_out_and_leased(
    region: Any,
    control: Any,
    built: Any,
    machine: Machine,
    in_bucket: Callable[[Digest], Awaitable[Any]],
    eventually: Eventually,
) -> None:
    digest, release = built.root.digest, built.record.release
    await control.put_record(built.record)
    assert (await in_bucket(digest)).read_bytes() == built.content
    agent = region.agent()
    assert (await agent.ask("GET", f"/v1/roots/{release.root}", reply=RootReply)).envelope == built.record.envelope
    me = PeerAddress(machine.id, "127.0.0.1", 4000, "a", "r1")
    announced = await agent.ask(
        "POST", f"/v1/swarms/{digest}/announce", AnnounceRequest(me, release.root, False, 8), reply=AnnounceReply
    )
    for unreachable in (replace(me, port=99999), replace(me, port=0), replace(me, host="\0"), replace(me, zone="z" * 5000)):
        unreached = AnnounceRequest(unreachable, release.root, False, 8)
        with pytest.raises(Invalid):
            await agent.ask("POST", f"/v1/swarms/{digest}/announce", unreached, reply=AnnounceReply)
    key = tickets.public_key((await region.goals(agent, machine)).ticket_key)
    assert tickets.check(key, announced.ticket, digest, time.time()).machine == machine.id
    manifest_pieces = len(built.root.manifest_pieces)
    wanted = LeaseRequest(machine.id, release.root, ((0, manifest_pieces + built.root.chunks),), (), (), 16)

    async def leased() -> Any:
        reply = await agent.ask("POST", f"/v1/swarms/{digest}/leases", wanted, reply=LeaseReply)
        return reply if reply.pieces else None

    async def leased_after(held: list[int]) -> Any:
        more = replace(
            wanted, held=tuple(held), missing=tuple((n, n + 1) for n in range(wanted.missing[0][1]) if n not in held)
        )
        return await agent.ask("POST", f"/v1/swarms/{digest}/leases", more, reply=LeaseReply)

    lease = await eventually(leased)
    manifest = decode(await asyncio.to_thread(read, lease.manifest, 0, built.root.manifest_size))
    leased_all = list(lease.pieces)
    while more := (await leased_after(leased_all)).pieces:
        leased_all += more
    assert sorted(leased_all) == list(range(manifest_pieces + manifest.chunks))
    content = await asyncio.to_thread(read, lease.content, 0, manifest.chunk_lengths[0])
    assert blake3(content).digest() == manifest.chunk_digest(0)


def read(grant: Any, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    with GrantConnection() as connection:
        connection.read_into(grant, offset, memoryview(buffer))
    return bytes(buffer)


async def test_nothing_is_leased_before_the_bucket_is_complete(
    region: Any, control: Any, built: Any, machine: Machine, eventually: Eventually
) -> None:
    digest, release = built.root.digest, built.record.release
    await control.main.delete(f"{digest}/content")
    await control.put_record(built.record)

    async def failing() -> Any:
        copies = [copy for each in control.reports for copy in each.copies if copy.error]
        return copies[0] if copies else None

    copy = await eventually(failing)
    assert (copy.digest, copy.bytes_total) == (digest, len(built.content))
    wanted = LeaseRequest(machine.id, release.root, ((0, 4),), (), (), 4)
    reply = await region.agent().ask("POST", f"/v1/swarms/{digest}/leases", wanted, reply=LeaseReply)
    assert reply.pieces == ()
    assert reply.manifest is None
    assert reply.retry_after_s > 0
    assert not (region.config.bucket / "blobs" / regional_content_blob(digest)).exists()


async def test_a_blob_that_vanishes_comes_back(
    region: Any, control: Any, built: Any, in_bucket: Callable[[Digest], Awaitable[Any]]
) -> None:
    await control.put_record(built.record)
    path = await in_bucket(built.root.digest)
    path.unlink()
    assert (await in_bucket(built.root.digest)).read_bytes() == built.content


async def test_what_nobody_knows_is_not_found(region: Any, machine: Machine) -> None:
    agent, unknown = region.agent(), Digest("0" * 64)
    with pytest.raises(NotFound):
        await agent.ask("GET", f"/v1/roots/{unknown}", reply=RootReply)
    me = PeerAddress(machine.id, "127.0.0.1", 4000)
    with pytest.raises(NotFound):
        await agent.ask("POST", f"/v1/swarms/{unknown}/announce", AnnounceRequest(me, unknown, False, 8), reply=AnnounceReply)


async def test_limits_hold_across_a_restart(
    region: Any, control: Any, make_goal: MakeGoal, goal_known: Callable[[Goal], Awaitable[Any]], eventually: Eventually
) -> None:
    goal = make_goal(limits=Limits(max_unavailable=1))

    async def restart(permit_lifetime_s: float) -> Any:
        await region.stop()
        region.config = replace(region.config, permit_lifetime_s=permit_lifetime_s, agent_report_interval_s=0.2)
        await region.start()
        return region.agent()

    agent = await restart(LONG_S)
    await control.put_goal(goal)
    await goal_known(goal)
    assert (await permit(agent, goal, "m1")).granted, "a region that never gave one need not wait"
    assert "1 of at most 1" in (await permit(agent, goal, "m2")).reason
    await permit(agent, goal, "m1", "/v1/permits/release")
    assert (await permit(agent, goal, "m2")).granted
    again = await restart(LONG_S)
    assert "just started" in (await permit(again, goal, "m3")).reason
    again = await restart(permit_lifetime_s=0.2)  # and waits for two lifetimes at most

    async def granted() -> Any:
        decision = await permit(again, goal, "m3")
        return decision if decision.granted else None

    await eventually(granted)


async def test_a_refused_goal_is_an_alarm_at_control(
    region: Any, control: Any, make_goal: MakeGoal, goal_known: Callable[[Goal], Awaitable[Any]], eventually: Eventually
) -> None:
    goal = make_goal(generation=Generation(5, 1))
    await control.put_goal(goal)
    await goal_known(goal)
    await control.put_goal(make_goal(generation=Generation(0, 1)))

    async def alarmed() -> Any:
        return control.reports[-1].alarms if control.reports and control.reports[-1].alarms else None

    assert "refused" in (await eventually(alarmed))[0]
    await goal_known(goal)


async def test_two_agents_of_one_id(region: Any, machine: Machine, make_machine: MakeMachine, eventually: Eventually) -> None:
    first, second = region.agent(), region.agent()
    etag = (await region.goals(first, machine)).etag
    held = asyncio.create_task(region.goals(first, machine, etag, wait_s=20))

    async def refused() -> Any:
        try:
            await region.goals(second, make_machine("m1", zone="elsewhere"))
        except Refused as error:
            return error
        return None

    assert "own id" in (await eventually(refused)).message
    held.cancel()
    await asyncio.wait([held])

    async def let_in() -> Any:
        return await refused() is None or None

    await eventually(let_in)


@pytest.mark.parametrize("path", ["/v1/goals", "/v1/reports", "/v1/permits", "/v1/roots/" + "0" * 64])
async def test_only_agents_get_in(region: Any, control: Any, path: str, machine: Machine) -> None:
    method = "GET" if "roots" in path else "POST"
    for token in ("", "guessed", control.token):
        with pytest.raises((Unauthorized, Forbidden)):
            await region.agent(token).ask(method, path, MachineReport(machine, ()), reply=RootReply)


async def test_a_machine_of_another_region_is_told_so(region: Any, make_machine: MakeMachine) -> None:
    with pytest.raises(Refused, match="this is eu"):
        await region.goals(region.agent(), make_machine("m1", region="us"))


async def test_a_stop_answers_whoever_waits_and_is_quick(
    region: Any,
    control: Any,
    make_machine: MakeMachine,
    make_goal: MakeGoal,
    goal_known: Callable[[Goal], Awaitable[Any]],
    eventually: Eventually,
) -> None:
    """Whoever is held: a request that is still on its way is cut off, and made again by its agent."""
    await control.put_goal(make_goal())
    etag = (await goal_known(make_goal())).etag
    machines = [make_machine(f"held-{index}") for index in range(50)]
    held = [asyncio.create_task(region.goals(region.agent(), each, etag, wait_s=30)) for each in machines]
    for each in machines:
        await eventually(partial(is_held, region, each))
    assert not any(task.done() for task in held)
    started = time.monotonic()
    await region.stop()
    assert time.monotonic() - started < 8
    assert all(reply.goals is None for reply in await asyncio.gather(*held))


async def test_a_source_that_stalls_does_not_hold_up_a_stop(region: Any, control: Any, built: Any) -> None:
    asked = asyncio.Event()
    left: list[asyncio.StreamWriter] = []

    async def stall(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left.append(writer)
        asked.set()

    async with await asyncio.start_server(stall, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        control.main = DirectoryBlobs(control.directory, data_url=f"http://127.0.0.1:{port}", data_key=b"main")
        await control.put_record(built.record)
        await asked.wait()
        started = time.monotonic()
        await region.stop()
        assert time.monotonic() - started < 8
        for writer in left:
            writer.close()
            await writer.wait_closed()


async def test_selectors_decide_who_is_told(
    region: Any, control: Any, make_goal: MakeGoal, make_machine: MakeMachine, goal_known: Callable[[Goal], Awaitable[Any]]
) -> None:
    goal = make_goal(selector=Selector(zones=("a",)))
    await control.put_goal(goal)
    await goal_known(goal)
    assert (await region.goals(region.agent(), make_machine("m2", zone="b"))).goals == ()
