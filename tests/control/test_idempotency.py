"""A trigger that is sent again triggers once: answers lost, two processes, control stopped in between."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import update

from fleetcast.client.control import ControlClient
from fleetcast.http import serving
from fleetcast.http.tokens import Role, load_or_create
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import KeyReused, Refused, Unavailable
from fleetcast.model.ids import CommitSha, ServiceName
from fleetcast.model.messages.artifacts import BuildRequest
from fleetcast.model.messages.deployments import DeployRequest, RollbackRequest
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.schema.idempotency import forget_keys
from fleetcast.schema.tables import idempotency_keys
from fleetcast.stores.database import Database

WEB, A, B = ServiceName("web"), CommitSha("a" * 40), CommitSha("b" * 40)
SOON_S = 20.0


async def _admin(installation: Any) -> Any:
    admin = await installation.client(Role.ADMIN)
    await installation.region()
    await admin.put_service(ServiceSpec(WEB, "/srv/web.git", trunk=""))
    return admin


async def _triggered(admin: Any) -> list[str]:
    return [deployment.id async for deployment in admin.deployments()]


async def test_the_same_request_with_its_key_is_shown_what_it_made_as_it_is_now(control: Any) -> None:
    async with control() as installation:
        admin = await _admin(installation)
        first = await admin.deploy(DeployRequest(WEB, A), key="monday")
        await admin.abort(first.id)
        again = await admin.deploy(DeployRequest(WEB, A, protocol=2), key="monday")
        assert (again.id, again.state) == (first.id, DeploymentState.ABORTED)
        other = await admin.deploy(DeployRequest(WEB, A), key="tuesday")
        unnamed = [await admin.deploy(DeployRequest(WEB, A)) for _ in range(2)]
        assert await _triggered(admin) == [unnamed[1].id, unnamed[0].id, other.id, first.id]


async def test_a_build_is_ordered_once_under_its_key(control: Any) -> None:
    async with control() as installation:
        admin = await _admin(installation)
        first = await admin.order_build(BuildRequest(WEB, A), key="monday")
        worker = await installation.client(Role.WORKER)
        claimed = await worker.claim("w1", wait_s=5)
        await worker.fail(claimed.build, claimed.token, "make: exit 2")
        again = await admin.order_build(BuildRequest(WEB, A), key="monday")
        assert (again.id, again.status) == (first.id, "FAILED")
        assert (await admin.order_build(BuildRequest(WEB, A))).id != first.id


async def test_a_key_is_for_one_request(control: Any) -> None:
    async with control() as installation:
        admin = await _admin(installation)
        await admin.deploy(DeployRequest(WEB, A), key="monday")
        for other in (DeployRequest(WEB, B), DeployRequest(WEB, A, rebuild=True)):
            with pytest.raises(KeyReused) as caught:
                await admin.deploy(other, key="monday")
            assert caught.value.code == "idempotency_key_reused"
        assert len(await _triggered(admin)) == 1


async def test_what_was_refused_leaves_its_key_free(control: Any) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        await admin.put_service(ServiceSpec(WEB, "/srv/web.git", trunk=""))
        with pytest.raises(Refused, match="selects no machine"):
            await admin.deploy(DeployRequest(WEB, A), key="monday")
        await installation.region()
        await admin.deploy(DeployRequest(WEB, A), key="monday")
        with pytest.raises(Refused, match="never deployed"):
            await admin.rollback(RollbackRequest(WEB), key="monday")  # a key of its own: another operation


async def test_two_processes_asked_at_once_trigger_once(control: Any) -> None:
    async with control() as one, control() as other:
        admin = await _admin(one)
        clients = [admin, await other.client(Role.ADMIN)] * 4
        made = await asyncio.gather(*(client.deploy(DeployRequest(WEB, A), key="monday") for client in clients))
        assert len({deployment.id for deployment in made}) == 1
        assert await _triggered(admin) == [made[0].id]


@dataclass
class Proxy:
    """Passes connections on to ``target``, and loses as many answers as ``to_lose`` says: the request arrives, the connection
    breaks."""

    target: str
    to_lose: int = 0
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(asyncio.create_task(self._pass_on(reader, writer)))

    async def close(self) -> None:
        for connection in self.connections:
            connection.cancel()
        await asyncio.gather(*self.connections, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = urlsplit(self.target)
        try:
            upstream, onward = await asyncio.open_connection(address.hostname, address.port)
        except OSError:
            writer.transport.abort()
            return
        sending = asyncio.create_task(self._copy(reader, onward))
        try:
            while answer := await upstream.read(65536):
                if self.to_lose > 0:
                    self.to_lose -= 1
                    self.lost.set()
                    break
                writer.write(answer)
                await writer.drain()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            for transport in (onward.transport, writer.transport):
                transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, onward: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            onward.write(data)
            await onward.drain()
        onward.close()


@contextlib.asynccontextmanager
async def _through(proxy: Proxy, installation: Any) -> AsyncIterator[ControlClient]:
    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    url = serving.url_of(server.sockets[0])
    try:
        async with ControlClient(url, load_or_create(installation.home, Role.ADMIN)) as client:
            yield client
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()


async def test_a_lost_answer_is_asked_for_again(control: Any) -> None:
    async with control() as installation:
        admin = await _admin(installation)
        proxy = Proxy(installation.addresses["api"], to_lose=2)
        async with _through(proxy, installation) as client:
            made = await asyncio.wait_for(client.deploy(DeployRequest(WEB, A)), SOON_S)
        assert proxy.lost.is_set()
        assert await _triggered(admin) == [made.id]


async def test_a_restart_in_the_middle_neither_fails_nor_triggers_twice(control: Any) -> None:
    """The answer is lost, control is gone, and another control process is there a moment later."""
    async with contextlib.AsyncExitStack() as running:
        async with control() as installation:
            await _admin(installation)
            proxy = Proxy(installation.addresses["api"], to_lose=1)
            client = await running.enter_async_context(_through(proxy, installation))
            deploying = asyncio.create_task(client.deploy(DeployRequest(WEB, A)))
            await asyncio.wait_for(proxy.lost.wait(), SOON_S)
        assert not deploying.done()
        installation = await running.enter_async_context(control())
        proxy.target = installation.addresses["api"]
        made = await asyncio.wait_for(deploying, SOON_S)
        assert await _triggered(await installation.client(Role.ADMIN)) == [made.id]


async def test_where_nobody_is_that_is_said_soon() -> None:
    with serving.bind("127.0.0.1", 0) as sock:
        url = serving.url_of(sock)
    async with ControlClient(url, "token") as client:
        with pytest.raises(Unavailable) as caught:
            await asyncio.wait_for(client.deploy(DeployRequest(WEB, A)), SOON_S)
    assert caught.value.code == "unreachable"


async def test_a_key_is_forgotten_after_a_day(control: Any, database_url: str) -> None:
    async with control() as installation:
        admin = await _admin(installation)
        first = await admin.deploy(DeployRequest(WEB, A), key="monday")
        await admin.deploy(DeployRequest(WEB, A), key="tuesday")
        database = await Database.open(database_url)
        async with database.transaction() as tx:
            monday = update(idempotency_keys).where(idempotency_keys.c.key == "monday")
            await tx.execute(monday.values(created_at=idempotency_keys.c.created_at - 25 * 3_600_000))
            assert await forget_keys(tx) == 1
        await database.close()
        assert (await admin.deploy(DeployRequest(WEB, A), key="monday")).id != first.id
        assert len(await _triggered(admin)) == 3
