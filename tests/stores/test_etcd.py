"""What the key-value store on etcd does when the cluster does not behave: real servers, stopped, compacted, emptied, closed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest
import structlog

from certifying import certificates
from etcd_following import Follower, following, opened
from fleetcast.cli.demo.engines.etcd import EtcdServer, etcd_server
from fleetcast.launch.ports import free_ports
from fleetcast.model.errors import Compacted, Invalid, NotFound, Unavailable
from fleetcast.stores import etcd_gateway
from fleetcast.stores.etcd_access import etcd_access, user_of
from fleetcast.stores.etcd_gateway import EtcdGateway
from fleetcast.stores.etcd_kv import EtcdKv
from fleetcast.stores.etcd_messages import RangeReply, TxnReply

PASSWORD: Final = "pw-of-fleetcast"


@pytest.fixture
def server() -> Iterator[EtcdServer]:
    """One that this test may stop."""
    with etcd_server() as server:
        yield server


@asynccontextmanager
async def answering(status: str, body: bytes) -> AsyncIterator[int]:
    """The port of a server that answers ``status`` and ``body``, which goes on where it is empty; without a status, nothing."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if status:
            length = f"content-length: {len(body)}" if body else "transfer-encoding: chunked"
            writer.write(f"HTTP/1.1 {status}\r\nconnection: close\r\n{length}\r\n\r\n".encode() + body)
            await writer.drain()
        if not body:
            await ended.wait()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            ended.set()


async def test_a_watch_goes_on_where_it_was_when_the_server_was_killed(server: EtcdServer) -> None:
    access = etcd_access(f"{server.url}/company")
    async with opened(access) as kv, following(kv) as follower:
        first = await kv.put("goals/web", b"1")
        await follower.until(lambda: follower.held.get("goals/web") == b"1")
        await asyncio.to_thread(server.stop)
        await follower.until(lambda: bool(follower.obstacles))
        with pytest.raises(Unavailable):
            await kv.put("goals/web", b"never")
        await asyncio.to_thread(server.start)
        async with opened(access) as other:
            second = await other.put("goals/web", b"2")
            third = await other.delete("goals/web")
        await follower.until(lambda: "goals/web" not in follower.held)
        last = await kv.put("goals/web", b"3", expected=0)
        await follower.until(lambda: follower.held.get("goals/web") == b"3")
    assert follower.revisions == [first, second, third, last], "nothing twice, nothing left out"


async def test_a_compaction_costs_a_watcher_nothing_and_who_was_away_a_snapshot(server: EtcdServer) -> None:
    async with opened(etcd_access(server.url)) as kv, following(kv) as follower:
        start = await kv.put("goals/web", b"1")
        await follower.until(lambda: follower.held.get("goals/web") == b"1")
        await kv.compact(await kv.put("other", b"1"))
        await kv.put("goals/web", b"2")
        await follower.until(lambda: follower.held.get("goals/web") == b"2")
        assert follower.obstacles == []
        await asyncio.to_thread(server.stop)
        await follower.until(lambda: bool(follower.obstacles))
        await asyncio.to_thread(server.start)
        newest = await kv.put("goals/api", b"1")
        await kv.compact(newest)
        await follower.until(lambda: follower.held == {"goals/web": b"2", "goals/api": b"1"})
        with pytest.raises(Compacted):
            await kv.changes("goals/", start)


async def test_a_cluster_set_up_anew_is_not_taken_for_the_one_before(server: EtcdServer) -> None:
    async with opened(etcd_access(server.url)) as kv:
        await kv.put("goals/web", b"of before")
        after = await kv.put("goals/gone", b"of before")
        follower = Follower(kv)
        await follower.relist()
        await asyncio.to_thread(server.stop)
        server.forget()
        await asyncio.to_thread(server.start)  # by the same names and addresses, so its id is the same
        async with opened(etcd_access(server.url)) as other:
            await other.put("goals/new", b"of now")
            for n in range(after + 3):
                await other.put("goals/web", str(n).encode())
        held = {"goals/new": b"of now", "goals/web": str(after + 2).encode()}
        async with following(kv, follower):  # who asks only now, when that has come further than it was before
            await follower.until(lambda: follower.held == held)
        assert any(isinstance(obstacle, Compacted) for obstacle in follower.obstacles)


async def test_a_store_that_was_emptied_is_another_for_whoever_asks(etcd: EtcdServer) -> None:
    access = etcd_access(f"{etcd.url}/emptied")
    async with opened(access) as kv, opened(access) as other:
        before = await kv.put("goals/web", b"of before")
        assert (await other.changes("goals/", before)).changes == ()
        etcd.ctl("del", "--prefix", access.prefix)
        for one in (kv, other):
            with pytest.raises(Compacted):
                await one.changes("goals/", before)
        snapshot = await kv.range("goals/")
        assert snapshot.entries == ()
        revision = await other.put("goals/web", b"of now")
        for one in (kv, other):
            changes = await one.changes("goals/", snapshot.revision)
            assert [change.mod_revision for change in changes.changes] == [revision]


async def test_a_server_that_had_a_write_when_time_was_up_may_have_done_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one surely did not, having no leader; the second says nothing."""
    monkeypatch.setattr(etcd_gateway, "ETCD_CALL_S_MAX", 0.5)  # of whatever that finds under way
    no_leader = b'{"code":14,"message":"etcdserver: no leader"}'
    async with answering("503 Service Unavailable", no_leader) as first, answering("", b"") as second:
        gateway = EtcdGateway(etcd_access(f"etcd://127.0.0.1:{first},127.0.0.1:{second}"))
        with pytest.raises(Unavailable) as told:
            await gateway.call("/v3/kv/txn", {}, TxnReply, repeatable=False)
        await gateway.aclose()
    assert told.value.code == "kv_unanswered"


async def test_no_server_is_left_because_this_process_asks_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_gateway, "ETCD_CONNECTIONS_MAX", 1)
    monkeypatch.setattr(etcd_gateway, "ETCD_ANSWER_S_MAX", 0.1)  # for which it waits for another
    async with answering("200 OK", b"") as first, answering("500 Not Asked", b"") as second:
        gateway = EtcdGateway(etcd_access(f"etcd://127.0.0.1:{first},127.0.0.1:{second}"))
        with structlog.testing.capture_logs() as logs:
            async with gateway.watch(b"a", b"b", 1):  # has the only connection
                with pytest.raises(Unavailable) as told:
                    await gateway.call("/v3/kv/range", {}, RangeReply)
        await gateway.aclose()
    assert told.value.code == "kv_busy"
    assert logs == []


async def test_a_server_that_is_away_is_passed_over(etcd: EtcdServer) -> None:
    (away,) = free_ports(1, "127.0.0.1", random.Random())
    there = etcd.url.removeprefix("etcd://")
    async with opened(etcd_access(f"etcd://127.0.0.1:{away},{there}/passed-over")) as kv, following(kv) as follower:
        revision = await kv.put("goals/web", b"1")
        await follower.until(lambda: bool(follower.revisions) or bool(follower.held))
        entry = await kv.get("goals/web")
    assert entry is not None
    assert entry.mod_revision == revision
    assert follower.obstacles == []


async def test_nobody_there_is_said_in_one_line() -> None:
    ports = free_ports(2, "127.0.0.1", random.Random())
    with pytest.raises(
        Unavailable, match=r"no answer from .* at 127\.0\.0\.1:\d+,127\.0\.0\.1:\d+ .*: are its servers running"
    ) as told:
        await EtcdKv.open(etcd_access(f"etcd://127.0.0.1:{ports[0]},127.0.0.1:{ports[1]}"))
    assert told.value.code == "kv_away"
    assert "\n" not in told.value.message


async def test_what_is_no_etcd_is_told_so() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\nconnection: close\r\n\r\nnot here\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable, match=r"status 404.*correct kv_url") as told:
            await EtcdKv.open(etcd_access(f"etcd://127.0.0.1:{port}"))
    assert told.value.code == "kv_not_etcd"


async def test_certificates_on_both_sides(tmp_path: Path) -> None:
    files = certificates(tmp_path)
    (tmp_path / "other").mkdir()
    others = certificates(tmp_path / "other")
    with etcd_server(certificates=files) as server:
        good = etcd_access(server.url, ca_file=files.ca, certificate_file=files.client_certificate, key_file=files.client_key)
        async with opened(good) as kv, following(kv) as follower:
            await kv.put("goals/web", b"1")
            await follower.until(lambda: follower.held == {"goals/web": b"1"})
        with pytest.raises(Unavailable, match="with TLS if kv_url says etcds://"):
            await EtcdKv.open(etcd_access(server.url.replace("etcds:", "etcd:")))
        strangers = (
            etcd_access(server.url, ca_file=files.ca),
            etcd_access(server.url, ca_file=others.ca, certificate_file=files.client_certificate, key_file=files.client_key),
            etcd_access(server.url, ca_file=files.ca, certificate_file=others.client_certificate, key_file=others.client_key),
        )
        for stranger in strangers:
            with pytest.raises(Unavailable) as told:
                await EtcdKv.open(stranger)
            assert told.value.code == "kv_untrusted"
            assert "kv_ca_file" in told.value.message


async def test_a_user_is_let_in_as_far_as_its_role_goes(server: EtcdServer, tmp_path: Path) -> None:
    for arguments in (
        ("user", "add", "root:of-root"),
        ("role", "add", "fleetcast"),
        ("role", "grant-permission", "fleetcast", "readwrite", "/company/", "--prefix=true"),
        ("user", "add", f"fleetcast:{PASSWORD}"),
        ("user", "grant-role", "fleetcast", "fleetcast"),
        ("user", "grant-role", "root", "root"),
        ("auth", "enable"),
    ):
        server.ctl(*arguments)
    good, wrong = tmp_path / "user", tmp_path / "wrong"
    for path, password in ((good, PASSWORD), (wrong, "guessed")):
        path.touch(0o600)
        path.write_text(f"fleetcast:{password}\n")
    async with opened(etcd_access(f"{server.url}/company", user_file=good)) as kv, following(kv) as follower:
        await kv.check_writable()
        await kv.put("goals/web", b"1")
        await follower.until(lambda: follower.held == {"goals/web": b"1"})
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)  # and knows no token any more
        await kv.put("goals/web", b"2")
        await follower.until(lambda: follower.held == {"goals/web": b"2"})
    for url, user, advice in (
        (f"{server.url}/company", wrong, "correct user and password"),
        (f"{server.url}/company", Path(), "correct user and password"),
        (f"{server.url}/elsewhere", good, "grant its role readwrite"),
    ):
        with pytest.raises(Unavailable, match=advice) as told:
            await EtcdKv.open(etcd_access(url, user_file=user))
        assert told.value.code == "kv_refused"
        assert "guessed" not in told.value.message


async def test_asking_for_the_right_to_write_writes_nothing(etcd: EtcdServer) -> None:
    async with opened(etcd_access(f"{etcd.url}/looked-at")) as kv:
        before = (await kv.range("")).revision
        await kv.check_writable()
        assert (await kv.range("")).revision == before
        assert (await kv.version()).startswith("3.")


async def test_a_snapshot_of_many_pages_is_of_one_revision(etcd: EtcdServer) -> None:
    async with opened(etcd_access(f"{etcd.url}/pages")) as kv:
        for n in range(405):
            await kv.put(f"key/{n:04}", b"")
        snapshot = await kv.range("key/")
    assert [entry.key for entry in snapshot.entries] == [f"key/{n:04}" for n in range(405)]


@pytest.mark.parametrize(
    ("url", "servers", "prefix"),
    [
        ("etcd://kv", ("http://kv:2379",), "/fleetcast/"),
        ("etcd://kv:2380/", ("http://kv:2380",), "/fleetcast/"),
        ("etcds://a,b:1,[::1]:2/one/two/", ("https://a:2379", "https://b:1", "https://[::1]:2"), "/one/two/"),
    ],
)
def test_an_address(url: str, servers: tuple[str, ...], prefix: str) -> None:
    access = etcd_access(url)
    assert (access.servers, access.prefix) == (servers, prefix)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://kv:2379", "begins with etcd://"),
        ("kv:2379", "begins with etcd://"),
        ("etcd://", "is no HOST:PORT"),
        ("etcd://kv:0", "is no HOST:PORT"),
        ("etcd://kv:65536", "is no HOST:PORT"),
        ("etcd://kv,kv:2379", "names a server twice"),
        ("etcd://" + ",".join(f"kv{n}" for n in range(10)), "more than 9"),
        ("etcd://kv/a b", "prefix of keys"),
        ("etcd://kv/a?b=c", "prefix of keys"),
        ("etcd://fleetcast:secret@kv", "kv_user_file"),
        ("other://fleetcast:secret@kv", "begins with etcd://"),
    ],
)
def test_what_is_no_address_is_told_so(url: str, says: str) -> None:
    with pytest.raises(Invalid, match=says) as told:
        etcd_access(url)
    assert "secret" not in told.value.message


def test_certificates_go_with_tls_and_with_their_key(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="begin it with etcds://"):
        etcd_access("etcd://kv", ca_file=tmp_path / "ca")
    with pytest.raises(Invalid, match="name both or none"):
        etcd_access("etcds://kv", certificate_file=tmp_path / "certificate")


def test_a_file_with_a_user_is_checked_and_never_quoted(tmp_path: Path) -> None:
    file = tmp_path / "user"
    with pytest.raises(NotFound, match="kv_user_file"):
        user_of(etcd_access("etcd://kv", user_file=file))
    file.write_text(f"fleetcast:{PASSWORD}\n")
    file.chmod(0o640)
    with pytest.raises(Invalid, match="chmod 600"):
        user_of(etcd_access("etcd://kv", user_file=file))
    file.chmod(0o600)
    assert user_of(etcd_access("etcd://kv", user_file=file)) == ("fleetcast", PASSWORD)
    for text in ("", PASSWORD, f":{PASSWORD}", "fleetcast:", f"fleetcast:{PASSWORD}\nmore"):
        file.write_text(text)
        with pytest.raises(Invalid, match="USER:PASSWORD") as told:
            user_of(etcd_access("etcd://kv", user_file=file))
        assert PASSWORD not in told.value.message
