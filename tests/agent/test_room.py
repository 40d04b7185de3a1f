"""Services that fetch at once do not overrun their machine's disk; what cannot begin says so, and begins when there is room."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.agent.retention import KeepMore
from fleetcast.agent.room import Demand, Space, fits, needed_bytes, room_bytes, shortage_bytes, shortage_text
from fleetcast.agent.room_desk import RoomDesk
from fleetcast.model.limits import KIB, MIB
from fleetcast.stores.occupied import disk_bytes

Until = Callable[..., Awaitable[None]]
Agents = Callable[..., Any]
NO_FLOOR, ALL_FLOOR = 0, 99


@dataclass
class Fetching:
    demand: Demand
    granted: bool = False


def named(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@given(
    st.integers(0, 200),
    st.integers(0, 50),
    st.lists(st.tuples(st.sampled_from(["come", "ask", "write", "end"]), st.integers(0, 3), st.integers(1, 90)), max_size=60),
)
def test_what_is_promised_is_there(total: int, percent: int, steps: list[tuple[str, int, int]]) -> None:
    """As long as nobody else fills the disk, releases leave the floor free, however many are fetched at once."""
    free, fetches = total, dict[int, Fetching]()
    for what, number, size in steps:
        fetch = fetches.get(number)
        if what == "come":
            fetches.setdefault(number, Fetching(Demand(size)))
        elif fetch is None:
            continue
        elif what == "ask" and not fetch.granted:
            promised = [other.demand for other in fetches.values() if other.granted]
            fetch.granted = fits(fetch.demand, room_bytes(Space(total, free), percent, promised))
        elif what == "write" and fetch.granted:
            written = min(size, fetch.demand.outstanding_bytes)
            fetch.demand = Demand(fetch.demand.needs_bytes, fetch.demand.has_bytes + written)
            free -= written
        elif what == "end" and fetch.granted:
            del fetches[number]
        assert free >= total * percent // 100


@given(st.integers(-50, 200), st.lists(st.integers(1, 90), max_size=4))
def test_what_is_short_is_what_lets_the_smallest_begin(room: int, needs: list[int]) -> None:
    demands = [Demand(need) for need in needs]
    short = shortage_bytes(room, demands)
    assert room + short >= 0
    assert not demands or any(fits(demand, room + short) for demand in demands)
    assert short == 0 or not any(fits(demand, room + short - 1) for demand in demands) or room + short == 0


def test_what_has_its_place_already_needs_no_room() -> None:
    assert fits(Demand(100, 100), -1_000)
    assert not fits(Demand(100, 99), -1_000)
    assert shortage_text(Demand(5 * MIB + 1), 3 * MIB - 1) == "needs 6 MiB, has 2 MiB"
    assert shortage_text(Demand(5 * MIB), -MIB) == "needs 5 MiB, has 0 MiB"


async def test_a_release_takes_up_no_more_than_was_asked_for(region: Any, agents: Agents, tmp_path: Path) -> None:
    many = {f"d{index % 7}/f{index}": "x" * (index * 37 % 9000) for index in range(400)}
    release = region.publish(tmp_path, many)
    agent = agents()
    await agent.start()
    await region.reported(region.want(release, 1), "ACTIVE")
    occupied = disk_bytes(agent.service() / "releases" / release.ref.digest)
    assert release.root.content_size < occupied <= needed_bytes(release.root)


async def test_a_promise_lasts_as_long_as_its_block(tmp_path: Path, until: Until) -> None:
    desk = RoomDesk(tmp_path, NO_FLOOR)
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    said: list[tuple[Demand, int]] = []
    held, go = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with desk.promised(tmp_path / "first", free * 2 // 3, lambda *_: None):
            held.set()
            await go.wait()

    async def second() -> None:
        async with desk.promised(tmp_path / "second", free * 2 // 3, lambda *missing: said.append(missing)):
            pass

    holder = asyncio.create_task(first())
    await held.wait()
    waiter = asyncio.create_task(second())
    await until(lambda: bool(said))
    assert desk.waits(tmp_path / "second")
    assert said[0][1] < free // 2 < said[0][0].outstanding_bytes
    assert await desk.short_bytes() > 0
    go.set()
    await asyncio.gather(holder, waiter)
    assert not desk.waits(tmp_path / "second")


async def test_without_room_it_says_so_and_goes_on_when_there_is_some(region: Any, agents: Agents, tmp_path: Path) -> None:
    release = region.publish(tmp_path, {"large": "x" * 3_000_000})
    full = agents(disk_free_percent=ALL_FLOOR)
    await full.start()
    goal = region.want(release, 1)
    needs = -(-needed_bytes(release.root) // MIB)
    stated = f"room on this machine's disk: needs {needs} MiB, has 0 MiB"
    await region.until(lambda: ("m1", "web") in region.reports and region.reports["m1", "web"].waiting_for == stated)
    assert region.reports["m1", "web"].phase == "FETCHING"
    assert f"it cannot fetch {release.ref.artifact}: no room on this machine's disk" in region.alarms[0]
    assert disk_bytes(full.service() / "incoming") < 64 * KIB, "nothing is begun"
    await full.stop()
    wide = agents()
    await wide.start()
    await region.reported(goal, "ACTIVE")


async def test_releases_beside_those_needed_stay_by_count_until_room_is_short(
    region: Any, agents: Agents, tmp_path: Path, until: Until
) -> None:
    agent = agents(keep_more=KeepMore(releases=2))
    await agent.start()
    made = [region.publish(tmp_path, {"version": letter}, commit=letter) for letter in "1abcdef"]
    before = None
    for number, release in enumerate(made, 1):
        goal = region.want(release, number, baseline=before)
        await region.reported(goal, "ACTIVE")
        before = release

    def there(kept: str) -> Callable[[], bool]:
        digests = {release.ref.digest for release in made if release.files["version"].decode() in kept}
        return lambda: named(agent.service() / "releases") == digests

    # The goal's and the baseline (which is also the one before), two more that succeeded, and two that nobody needs.
    await until(there("abcdef"))
    await until(lambda: named(agent.service() / "roots") == {release.ref.root for release in made[1:]})
    goal = region.want(made[-1], 8, baseline=made[-2], deployment=goal.deployment, pinned=(made[1].ref.digest,))
    await region.until(lambda: region.reports["m1", "web"].generation == goal.generation)
    await agent.stop()
    short = agents(keep_more=KeepMore(releases=2), disk_free_percent=ALL_FLOOR)
    await short.start()
    await until(there("acdef"))
    assert short.current()["version"] == b"f"
    back = region.want(made[1], 9, baseline=made[1], rollback=True)
    report = await region.reported(back, "ACTIVE")
    assert report.bytes.local == report.bytes.total == report.target_bytes, "the pinned one is there, whole"
