"""What happened, as pages and as a stream: in one order, none missed, none twice, and only so many kept."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from structlog.testing import capture_logs

from fleetcast.client.control import ControlClient
from fleetcast.control.events import forget_events, read_events
from fleetcast.http.session import Session
from fleetcast.http.tokens import Role, load_or_create
from fleetcast.model.errors import Compacted, NotFound, Refused
from fleetcast.model.event import Event, EventKind
from fleetcast.model.ids import BuildId, CommitSha, DeploymentId, MachineId, RegionName, ServiceName
from fleetcast.model.machine import Machine
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.schema.events import record_event
from fleetcast.stores.database import Database

WEB, API, A = ServiceName("web"), ServiceName("api"), CommitSha("a" * 40)
EU = RegionName("eu-west")
SPEC = ServiceSpec(WEB, "/srv/web.git", trunk="")
SOON_S = 20.0


async def _all(admin: Any, **about: Any) -> list[Event]:
    found: list[Event] = []
    after = ""
    while (page := await admin.event_page(after=after, limit=3, **about)).items:
        found += page.items
        after = page.next
    return found


async def test_everything_that_happens_is_told_in_its_order(control: Any) -> None:
    async with control() as installation:
        admin, worker = await installation.client(Role.ADMIN), await installation.client(Role.WORKER)
        region = await installation.region()
        region.machines += tuple(Machine(MachineId(f"n{number}"), EU) for number in range(300))
        await region.report()
        await region.report()
        await admin.put_service(SPEC)
        await admin.put_service(SPEC)  # nothing changed
        await admin.put_service(ServiceSpec(API, "/srv/api.git"))
        deployment = await admin.deploy(DeployRequest(WEB, A))
        first = await worker.claim("w1", wait_s=5)
        await worker.fail(first.build, first.token, "the worker stops", hand_back=True)
        second = await worker.claim("w2", wait_s=5)
        await worker.fail(second.build, second.token, "make: exit 2")
        async with asyncio.timeout(SOON_S):
            async for detail in admin.follow_deployment(deployment.id):
                reason = detail.deployment.reason
        for _ in range(2):
            await admin.drain(EU)
        await admin.drain(EU, drained=False)
        with pytest.raises(Refused):
            await admin.retire(MachineId("m1"))
        told = await _all(admin)
        build = str(deployment.build)
        assert [(it.kind, it.subject, it.state) for it in told] == [
            (EventKind.REGION_JOINED, EU, ""),
            (EventKind.MACHINES_JOINED, EU, ""),
            (EventKind.MACHINES_JOINED, EU, ""),
            (EventKind.SERVICE_PUT, WEB, ""),
            (EventKind.SERVICE_PUT, API, ""),
            (EventKind.BUILD_QUEUED, build, "QUEUED"),
            (EventKind.DEPLOYMENT_TRIGGERED, deployment.id, "BUILDING"),
            (EventKind.BUILD_CLAIMED, build, "RUNNING"),
            (EventKind.BUILD_REQUEUED, build, "QUEUED"),
            (EventKind.BUILD_CLAIMED, build, "RUNNING"),
            (EventKind.BUILD_ENDED, build, "FAILED"),
            (EventKind.DEPLOYMENT_ENDED, deployment.id, "FAILED"),
            (EventKind.REGION_DRAINED, EU, ""),
            (EventKind.REGION_UNDRAINED, EU, ""),
        ]
        assert [it.text for it in told][1:4] == ["2 machines", "300 machines", "created"]
        assert told[11].text == reason
        assert "make: exit 2" in reason
        assert [it.id for it in told] == sorted({it.id for it in told})
        assert await _all(admin, service=WEB) == [it for it in told if it.service == WEB]


async def test_a_reader_resumes_across_a_restart_and_misses_nothing(control: Any) -> None:
    told: list[Event] = []
    two = asyncio.Event()
    port = 0

    async def follow(client: Any) -> None:
        async with contextlib.aclosing(client.follow_events(after="newest")) as events:
            async for event in events:
                told.append(event)
                two.set()
                if event.subject == "s9":
                    return

    async with control() as installation:
        port = int(installation.addresses["api"].rpartition(":")[2])
        admin = await installation.client(Role.ADMIN)
        await admin.put_service(ServiceSpec(ServiceName("before"), "/srv/web.git"))
        reader = ControlClient(installation.addresses["api"], load_or_create(installation.home, Role.ADMIN))
        following = asyncio.create_task(follow(reader))
        async with asyncio.timeout(SOON_S):
            while not two.is_set():  # until the stream is open nothing is "still to come"
                await admin.put_service(ServiceSpec(ServiceName("during"), f"/srv/{asyncio.get_running_loop().time()}.git"))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(two.wait(), 0.2)
        begun = len((await admin.event_page(after="", limit=500)).items)
    async with control(port=port) as installation:
        admin = await installation.client(Role.ADMIN)
        for number in range(10):
            await admin.put_service(ServiceSpec(ServiceName(f"s{number}"), "/srv/web.git"))
        await asyncio.wait_for(following, SOON_S)
        kept = (await admin.event_page(limit=500)).items
    await reader.aclose()
    assert begun >= 2
    assert "before" not in {event.subject for event in told}
    assert told == [event for event in kept if event.id >= told[0].id]


async def test_a_page_behind_the_newest_is_empty_and_can_be_gone_on_from(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        assert await admin.event_page() == await admin.event_page(after="newest")
        await admin.put_service(SPEC)
        newest = (await admin.event_page(after="newest")).next
        await admin.put_service(ServiceSpec(API, "/srv/api.git"))
        page = await admin.event_page(after=newest)
        assert [event.subject for event in page.items] == [API]
        # A reader of a quiet service is not left behind by what happens to others.
        assert (await admin.event_page(service=WEB, after=newest)).next == page.next


async def test_only_so_many_are_kept_and_who_fell_behind_is_told(database_url: str) -> None:
    database = await Database.open(database_url)
    async with database.transaction() as tx:
        for number in range(20):
            record_event(tx, EventKind.SERVICE_PUT, f"s{number}", text="x" * 5000)
    async with database.transaction() as tx:
        assert await forget_events(tx) == 0
        assert await forget_events(tx, kept_max=8) == 12
    async with database.reading() as reading:
        page = await read_events(reading, "", 50)
        assert [event.subject for event in page.items] == [f"s{number}" for number in range(12, 20)]
        assert {len(event.text) for event in page.items} == {1000}
        assert await read_events(reading, str(page.items[0].id - 1), 50) == page
        with pytest.raises(Compacted, match="forgotten"):
            await read_events(reading, str(page.items[0].id - 2), 50)
    async with database.transaction() as tx:
        assert await forget_events(tx, kept_s=-1) == 8
        record_event(tx, EventKind.SERVICE_PUT, "s20")
    async with database.reading() as reading:
        assert [event.subject for event in (await read_events(reading, page.next, 50)).items] == ["s20"]
    await database.close()


async def test_what_is_rolled_back_never_happened(database_url: str) -> None:
    database = await Database.open(database_url)

    async def half() -> None:
        async with database.transaction() as tx:
            record_event(tx, EventKind.SERVICE_PUT, "s0")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await half()
    async with database.reading() as reading:
        assert (await read_events(reading, "", 50)).items == ()
    await database.close()


async def test_a_log_is_followed_to_the_end_of_its_build(control: Any) -> None:
    async with control() as installation:
        admin, worker = await installation.client(Role.ADMIN), await installation.client(Role.WORKER)
        await installation.region()
        await admin.put_service(SPEC)
        await admin.deploy(DeployRequest(WEB, A))
        claimed = await worker.claim("w1", wait_s=5)
        written = "".join(f"größe {number}\n" for number in range(20))
        data = written.encode()

        async def write() -> None:
            for start in range(0, len(written), 40):
                offset = len(written[:start].encode())
                await worker.append_log(claimed.build, claimed.token, offset, written[start : start + 40])
            await worker.fail(claimed.build, claimed.token, "make: exit 2")

        writing = asyncio.create_task(write())
        async with asyncio.timeout(SOON_S):
            pages = [page async for page in admin.follow_build_log(claimed.build)]
        await writing
        assert "".join(page.text for page in pages) == written
        assert [page.finished for page in pages] == [False] * (len(pages) - 1) + [True]
        assert (pages[-1].text, pages[-1].next_offset) == ("", len(data))
        resumed = [page async for page in admin.follow_build_log(claimed.build, pages[0].next_offset)]
        assert "".join(page.text for page in resumed) == data[pages[0].next_offset :].decode()
        with pytest.raises(NotFound):
            await anext(admin.follow_build_log(BuildId(99)))


async def test_a_deployment_is_followed_from_version_to_version(control: Any) -> None:
    async with control() as installation:
        admin, worker = await installation.client(Role.ADMIN), await installation.client(Role.WORKER)
        await installation.region()
        await admin.put_service(SPEC)
        deployment = await admin.deploy(DeployRequest(WEB, A))
        versions: list[str] = []
        async with asyncio.timeout(SOON_S):
            async for detail in admin.follow_deployment(deployment.id):
                versions.append(detail.version)
                if detail.build.worker == "" and not detail.deployment.state.ended:
                    await worker.claim("w1", wait_s=0)
                elif not detail.deployment.state.ended:
                    await admin.abort(deployment.id)
        assert detail.deployment.state == "ABORTED"
        assert len(versions) == len(set(versions)) >= 2
        assert [it async for it in admin.follow_deployment(deployment.id, seen=detail.version)] == []
        with pytest.raises(NotFound):
            await anext(admin.follow_deployment(DeploymentId("d0")))


async def test_control_stops_although_streams_are_open(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        await admin.put_service(SPEC)
        session = Session(installation.addresses["api"], load_or_create(installation.home, Role.ADMIN))
        async with session.stream("/v1/events", params={}) as events:
            assert (await anext(events)).id == "1"
            installation.stop.set()
            async with asyncio.timeout(SOON_S):
                assert [event async for event in events] == []  # ended, not cut off
        await session.aclose()


async def test_whoever_leaves_a_stream_in_the_middle_of_a_look_is_not_complained_of(
    control: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As who presses Ctrl-C in ``watch`` does, or one whose host has gone."""
    with capture_logs() as logs:
        async with control() as installation:
            admin = await installation.client(Role.ADMIN)
            await installation.region()
            await admin.put_service(ServiceSpec(WEB, "/repo"))
            deployment = (await admin.deploy(DeployRequest(WEB, A))).id
            host, port = installation.addresses["api"].removeprefix("http://").split(":")
            token = load_or_create(installation.home, Role.ADMIN)
            for number in range(40):
                path = f"/v1/deployments/{deployment}" if number % 2 else "/v1/events"
                reader, writer = await asyncio.open_connection(host, int(port))
                head = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n"
                writer.write(head.encode())
                assert b" 200 " in await reader.readline()
                changing = asyncio.create_task((admin.resume if number % 2 else admin.pause)(deployment))
                if number % 4 < 2:
                    await changing  # and everybody looks
                writer.transport.abort() if number % 3 else writer.close()
                await changing
    assert [line for line in logs if line["log_level"] not in ("debug", "info")] == []
    assert caplog.records == []
