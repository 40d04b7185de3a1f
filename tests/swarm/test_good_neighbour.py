"""Limits and marks: what a machine takes of its network, and that nobody is blamed for keeping to a limit."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from fleetcast.model.limits import CHUNK_BYTES_MAX, KIB, MIB
from fleetcast.stores.limiter import Limiter
from fleetcast.stores.marking import LOWER_EFFORT
from fleetcast.swarm.bandwidth import Bandwidth


def _file(world: Any, name: str, size: int) -> Any:
    source: Path = world.directory / name
    source.mkdir()
    (source / "file").write_bytes(Random(name).randbytes(size))
    return world.artifact_of(source)


def _holder(world: Any, bandwidth: Bandwidth, *artifacts: Any) -> Any:
    """A machine that has releases, whole."""
    peer = world.peer("holder", bandwidth=bandwidth)
    for number, artifact in enumerate(artifacts):
        peer.share(artifact.root, artifact.root_digest, world.release(artifact, f"release-{number}"))
    return peer


def _done(fetch: Any) -> float:
    """Which part of the content is here."""
    progress = fetch.progress()
    return float(progress.bytes.total / progress.bytes_total)


def _assert_nobody_blamed(logs: Any, *peers: Any) -> None:
    """Nobody was doubted or dropped. One doubt is the test's: a busy host may stop all of it for some seconds."""
    assert [entry for entry in logs if entry["log_level"] not in ("debug", "info")][1:] == []
    assert [entry["reason"] for entry in logs if entry["event"] == "neighbour_left" and "kept us" in entry["reason"]] == []
    assert [peer.alarms() for peer in peers] == [()] * len(peers)


def test_a_machine_that_keeps_to_a_low_limit_is_neither_doubted_nor_left(world: Any) -> None:
    artifact, bytes_per_s = _file(world, "source", 1_500_000), 256 * KIB
    world.region.origin_away = True
    _holder(world, Bandwidth(up=Limiter(bytes_per_s)), artifact)
    begun = time.monotonic()
    with capture_logs() as logs:
        peers = [world.peer(f"m{number}") for number in range(5)]
        fetches = [world.fetch(peer, artifact, f"out-{number}") for number, peer in enumerate(peers)]
        for number, fetch in enumerate(fetches):
            world.assert_complete(fetch, artifact, f"out-{number}")
    # Every byte left the holder once at least.
    assert time.monotonic() - begun > (len(artifact.content) - CHUNK_BYTES_MAX) / bytes_per_s
    _assert_nobody_blamed(logs, *peers)


def test_a_machine_that_limits_what_it_takes_blames_nobody(world: Any) -> None:
    artifact, down = _file(world, "source", 6_000_000), Limiter(2 * MIB)
    world.region.origin_away = True
    for number in range(2):
        peer = world.peer(f"holder-{number}")
        peer.share(artifact.root, artifact.root_digest, world.release(artifact, f"release-{number}"))
    begun = time.monotonic()
    with capture_logs() as logs:
        peer = world.peer("m", bandwidth=Bandwidth(down=down))
        fetch = world.fetch(peer, artifact, "out")
        world.until(lambda: _done(fetch) > 0.8)
        # Each neighbour may have brought a piece that is not paid for, and one that was let through is on its way.
        unpaid = 4 * max(artifact.pieces.length(piece) for piece in range(artifact.pieces.count))
        assert time.monotonic() - begun > (0.8 * len(artifact.content) - unpaid) / down.bytes_per_s
        down.change(0)
        world.assert_complete(fetch, artifact, "out")
    _assert_nobody_blamed(logs, peer)


def test_the_origin_is_read_no_faster_than_the_machine_may(world: Any) -> None:
    artifact, down = _file(world, "source", 2_000_000), Limiter(1 * MIB)
    begun = time.monotonic()
    fetch = world.fetch(world.peer("alone", bandwidth=Bandwidth(down=down)), artifact, "out")
    world.assert_complete(fetch, artifact, "out")
    assert time.monotonic() - begun > (len(artifact.content) - 2 * CHUNK_BYTES_MAX) / down.bytes_per_s
    assert fetch.progress().bytes.origin == len(artifact.content)


def test_an_origin_that_keeps_to_a_low_limit_is_not_taken_for_dead(world: Any) -> None:
    artifact, bytes_per_s = _file(world, "source", 1_500_000), 384 * KIB
    world.region.limit.change(bytes_per_s)
    begun = time.monotonic()
    with capture_logs() as logs:
        peers = [world.peer(f"m{number}") for number in range(4)]
        fetches = [world.fetch(peer, artifact, f"out-{number}") for number, peer in enumerate(peers)]
        for number, fetch in enumerate(fetches):
            world.assert_complete(fetch, artifact, f"out-{number}")
    assert time.monotonic() - begun > (len(artifact.content) - CHUNK_BYTES_MAX) / bytes_per_s
    assert sorted(world.region.leased) == list(range(artifact.pieces.count)), "each piece once, for all of them"
    assert [entry for entry in logs if entry["event"] == "origin_of_no_help"] == []


def test_a_fetch_that_waits_for_its_limit_can_be_cancelled(world: Any) -> None:
    artifact = _file(world, "source", 2_000_000)
    _holder(world, Bandwidth(), artifact)
    fetch = world.fetch(world.peer("m", bandwidth=Bandwidth(down=Limiter(1))), artifact, "out")
    world.until(lambda: _done(fetch) > 0)
    begun = time.monotonic()
    fetch.cancel()
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("limited", ["up", "down"])
def test_two_artifacts_at_once_get_equally_much(world: Any, limited: str) -> None:
    first, second = _file(world, "first", 4_000_000), _file(world, "second", 4_000_000)
    world.region.origin_away = True
    limits = Bandwidth(**{limited: Limiter(2 * MIB)})
    _holder(world, limits if limited == "up" else Bandwidth(), first, second)
    peer = world.peer("m", bandwidth=limits if limited == "down" else Bandwidth())
    one = world.fetch(peer, first, "one")
    world.until(lambda: _done(one) > 0.1)
    two = world.fetch(peer, second, "two")
    # The second was triggered while the first was under way. From its first chunk on it gets as much as the first.
    world.until(lambda: _done(two) > 0)
    before = _done(one)
    world.until(lambda: one.done)
    assert _done(two) > (1 - before) / 2 - 0.1
    for fetch, artifact, name in ((one, first, "one"), (two, second, "two")):
        world.assert_complete(fetch, artifact, name)


def _marks(ports: set[int]) -> Iterator[int]:
    """The traffic classes of this process's connections from and to these ports."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not stat.S_ISSOCK(entry.stat().st_mode):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as sock:
                if sock.family == socket.AF_INET and {sock.getsockname()[1], sock.getpeername()[1]} & ports:
                    yield sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS)
        except OSError:
            continue  # closed meanwhile, or not connected


@pytest.mark.parametrize("background", [True, False])
def test_both_ends_of_what_peers_send_are_marked(world: Any, background: bool) -> None:
    artifact = _file(world, "source", 2_000_000)
    slow = Bandwidth(up=Limiter(1), down=Limiter(1), background=background)
    holder = _holder(world, slow, artifact)
    fetch = world.fetch(world.peer("m", bandwidth=slow), artifact, "out")
    world.until(lambda: fetch.progress().waiting_for.endswith(" 1 neighbours"))
    assert set(_marks({holder.port})) == {LOWER_EFFORT if background else 0}
    fetch.cancel()


def test_what_is_read_from_the_origin_is_marked(world: Any) -> None:
    artifact = _file(world, "source", 2_000_000)
    fetch = world.fetch(world.peer("m", bandwidth=Bandwidth(down=Limiter(1))), artifact, "out")
    world.until(lambda: _done(fetch) > 0)
    assert list(_marks({world.region.port.port})) == [LOWER_EFFORT] * 2
    fetch.cancel()
