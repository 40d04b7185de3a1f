"""What every key-value store promises (``stores/kv.py``)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from fleetcast.cli.demo.engines.etcd import EtcdServer
from fleetcast.model.errors import Compacted, Conflict, Invalid, Unavailable
from fleetcast.model.limits import KV_CHANGES_MAX, KV_KEY_BYTES_MAX, KV_PAGE_ENTRIES_MAX, KV_VALUE_BYTES_MAX
from fleetcast.stores.etcd_access import EtcdAccess, etcd_access
from fleetcast.stores.etcd_kv import EtcdKv
from fleetcast.stores.kv import Change, Entry, KeyValueStore
from fleetcast.stores.sqlite_kv import SqliteKv

SOON_S: Final = 60
"""For what is there within milliseconds, unless the machine is very busy."""

Opener = Callable[[], Awaitable[KeyValueStore]]

ENGINES: Final[Mapping[str, Callable[[pytest.FixtureRequest, Path], Opener]]] = {
    "sqlite": lambda _, directory: lambda: SqliteKv.open(directory / "kv.sqlite"),
    "etcd": lambda request, directory: partial(EtcdKv.open, fresh(request.getfixturevalue("etcd"), directory)),
}


def fresh(server: EtcdServer, directory: Path) -> EtcdAccess:
    """A prefix that no other test has."""
    return etcd_access(f"{server.url}/{directory.name}-{uuid4().hex}")


@pytest.fixture(params=ENGINES)
async def opener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens the same store again and again, each time as another process would."""
    opened: list[KeyValueStore] = []
    open_it = ENGINES[request.param](request, tmp_path)

    async def open_one() -> KeyValueStore:
        opened.append(await open_it())
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def kv(opener: Opener) -> KeyValueStore:
    return await opener()


async def test_every_write_of_any_key_raises_the_one_revision(kv: KeyValueStore) -> None:
    first = await kv.put("a", b"1")
    assert await kv.put("b", b"2") == first + 1
    assert await kv.put("a", b"3") == first + 2
    assert await kv.delete("b") == first + 3
    assert await kv.get("a") == Entry("a", b"3", first + 2, 2)
    assert await kv.get("b") is None
    assert (await kv.range("")).revision == first + 3


async def test_all_of_it_page_by_page_is_what_a_snapshot_has(kv: KeyValueStore) -> None:
    for number in range(KV_PAGE_ENTRIES_MAX + 5):
        await kv.put(f"a/{number:04}", b"%d" % number)
    await kv.put("b", b"another")
    assert len((await kv.page("a/")).entries) == KV_PAGE_ENTRIES_MAX
    for prefix in ("", "a/", "a/00", "b", "c"):
        paged: list[Entry] = []
        while found := (await kv.page(prefix, paged[-1].key if paged else "")).entries:
            paged += found
        assert tuple(paged) == (await kv.range(prefix)).entries


async def test_a_key_that_is_deleted_and_written_again_starts_at_version_1(kv: KeyValueStore) -> None:
    await kv.put("a", b"1")
    await kv.put("a", b"2")
    await kv.delete("a")
    revision = await kv.put("a", b"3")
    assert await kv.get("a") == Entry("a", b"3", revision, 1)


async def test_values_may_be_empty_and_are_not_deletions(kv: KeyValueStore) -> None:
    before = (await kv.range("")).revision
    revision = await kv.put("a", b"")
    assert await kv.get("a") == Entry("a", b"", revision, 1)
    assert (await kv.changes("", before)).changes == (Change("a", b"", revision),)


async def test_a_range_has_what_the_prefix_covers_in_key_order(kv: KeyValueStore) -> None:
    for key in ("goals/web", "goals/api", "goals", "goals0", "artifacts/x", "goals/é", "goals/\U0010ffff"):
        await kv.put(key, key.encode())
    snapshot = await kv.range("goals/")
    assert [entry.key for entry in snapshot.entries] == ["goals/api", "goals/web", "goals/é", "goals/\U0010ffff"]
    assert len((await kv.range("")).entries) == 7
    assert (await kv.range("nothing/")).entries == ()


async def test_compare_and_swap_takes_only_the_expected_revision(kv: KeyValueStore) -> None:
    first = await kv.put("a", b"1", expected=0)
    with pytest.raises(Conflict):
        await kv.put("a", b"2", expected=0)
    with pytest.raises(Conflict):
        await kv.put("a", b"2", expected=first + 1)
    second = await kv.put("a", b"2", expected=first)
    with pytest.raises(Conflict):
        await kv.delete("a", expected=first)
    assert (await kv.range("")).revision == second, "a lost swap is no write"
    assert await kv.delete("a", expected=second) == second + 1
    assert await kv.put("a", b"3", expected=0) == second + 2, "deleted is as good as never there"


async def test_deleting_nothing_is_no_write_unless_something_was_expected(kv: KeyValueStore) -> None:
    before = (await kv.range("")).revision
    assert await kv.delete("a") is None
    assert await kv.delete("a", expected=0) is None
    with pytest.raises(Conflict):
        await kv.delete("a", expected=before + 7)
    assert (await kv.range("")).revision == before


async def test_one_of_many_swaps_wins(opener: Opener) -> None:
    stores = [await opener() for _ in range(3)]
    results = await asyncio.gather(
        *(stores[n % 3].put("owner", str(n).encode(), expected=0) for n in range(12)), return_exceptions=True
    )
    won = [n for n, result in enumerate(results) if isinstance(result, int)]
    assert len(won) == 1
    assert all(isinstance(result, Conflict) for n, result in enumerate(results) if n not in won)
    entry = await stores[0].get("owner")
    assert entry is not None
    assert entry.value == str(won[0]).encode()


async def test_changes_are_what_came_after_a_revision_under_a_prefix(kv: KeyValueStore) -> None:
    start = await kv.put("goals/a", b"1")
    await kv.put("other", b"x")
    last_a = await kv.put("goals/a", b"2")
    gone_b = await kv.put("goals/b", b"1")
    gone_b = await kv.delete("goals/b") or 0
    end = await kv.put("other", b"y")
    changes = await kv.changes("goals/", start)
    newest = {change.key: change for change in changes.changes}
    assert newest == {"goals/a": Change("goals/a", b"2", last_a), "goals/b": Change("goals/b", None, gone_b)}
    revisions = [change.mod_revision for change in changes.changes]
    assert revisions == sorted(revisions)
    assert changes.revision == end, "the next question skips what other prefixes wrote"
    assert (await kv.changes("goals/", changes.revision)).changes == ()


async def test_many_changes_come_in_several_answers_and_none_is_lost(kv: KeyValueStore) -> None:
    start = (await kv.range("")).revision
    for n in range(KV_CHANGES_MAX + 5):
        await kv.put(f"key/{n}", b"")
    first = await kv.changes("key/", start)
    assert len(first.changes) <= KV_CHANGES_MAX
    rest = await kv.changes("key/", first.revision)
    assert {change.key for change in (*first.changes, *rest.changes)} == {f"key/{n}" for n in range(KV_CHANGES_MAX + 5)}


async def test_large_changes_come_in_several_answers_too(kv: KeyValueStore) -> None:
    after = (await kv.range("")).revision
    for n in range(9):
        await kv.put(f"key/{n}", b"x" * KV_VALUE_BYTES_MAX)
    seen: list[str] = []
    answers = 0
    while changes := await kv.changes("key/", after):
        if not changes.changes:
            break
        answers += 1
        seen += [change.key for change in changes.changes]
        after = changes.revision
    assert seen == [f"key/{n}" for n in range(9)]
    assert answers > 1


async def test_who_waits_is_woken_by_a_write_of_the_same_process(kv: KeyValueStore) -> None:
    start = (await kv.range("")).revision
    waiting = asyncio.create_task(kv.changes("goals/", start, wait_s=SOON_S))
    await kv.put("other", b"not this one")
    revision = await kv.put("goals/a", b"1")
    changes = await asyncio.wait_for(waiting, SOON_S)
    assert changes.changes == (Change("goals/a", b"1", revision),)


async def test_who_waits_is_woken_by_a_write_of_another_process(opener: Opener) -> None:
    here, there = await opener(), await opener()
    start = (await here.range("")).revision
    waiting = [asyncio.create_task(here.changes("goals/", start, wait_s=SOON_S)) for _ in range(3)]
    revision = await there.put("goals/a", b"1")
    for task in waiting:
        assert (await asyncio.wait_for(task, SOON_S)).changes == (Change("goals/a", b"1", revision),)


async def test_a_wait_without_news_ends_empty_with_the_newest_revision(kv: KeyValueStore) -> None:
    start = (await kv.range("")).revision
    end = await kv.put("other", b"1")
    changes = await kv.changes("goals/", start, wait_s=0.05)
    assert (changes.revision, changes.changes) == (end, ())


async def test_a_watcher_misses_nothing_while_others_write(opener: Opener) -> None:
    watcher, writer = await opener(), await opener()
    after = (await watcher.range("")).revision
    last = 40

    async def write() -> None:
        for n in range(last + 1):
            await writer.put("goals/a", str(n).encode())

    writing = asyncio.create_task(write())
    seen: list[int] = []
    while not seen or seen[-1] != last:
        changes = await asyncio.wait_for(watcher.changes("goals/", after, wait_s=10), SOON_S)
        seen += [int(change.value or b"") for change in changes.changes]
        after = changes.revision
    await writing
    assert seen == sorted(set(seen)), "never back, never twice"


async def test_compaction_forgets_history_and_keeps_values(kv: KeyValueStore) -> None:
    start = (await kv.range("")).revision
    kept = await kv.put("a", b"1")
    await kv.put("b", b"1")
    deleted = await kv.delete("b") or 0
    end = await kv.put("c", b"1")
    await kv.compact(deleted)
    with pytest.raises(Compacted):
        await kv.changes("", start)
    with pytest.raises(Compacted):
        await kv.changes("", start, wait_s=5)
    assert (await kv.changes("", deleted)).changes == (Change("c", b"1", end),)
    assert await kv.get("a") == Entry("a", b"1", kept, 1)
    assert [entry.key for entry in (await kv.range("")).entries] == ["a", "c"]


async def test_compacting_again_or_less_is_harmless_and_the_future_is_refused(kv: KeyValueStore) -> None:
    await kv.put("a", b"1")
    revision = await kv.put("a", b"2")
    await kv.compact(revision)
    await kv.compact(revision)
    await kv.compact(revision - 1)
    await kv.compact(0)
    with pytest.raises(Invalid):
        await kv.compact(revision + 1)
    assert (await kv.changes("", revision)).changes == ()


async def test_a_watcher_from_a_revision_that_never_was_is_sent_for_a_snapshot(kv: KeyValueStore) -> None:
    """The store was set up anew: to wait for its revision to pass the old one would be to miss everything until then."""
    revision = await kv.put("a", b"1")
    with pytest.raises(Compacted):
        await kv.changes("", revision + 1000, wait_s=5)


async def test_what_was_written_is_there_for_the_next_process(opener: Opener) -> None:
    first = await opener()
    await first.put("a", b"1")
    revision = await first.delete("a")
    await first.put("b", b"2")
    await first.close()
    second = await opener()
    assert [entry.key for entry in (await second.range("")).entries] == ["b"]
    assert (await second.changes("", (revision or 0) - 1)).changes[0] == Change("a", None, revision or 0)


async def test_keys_and_values_have_bounds(kv: KeyValueStore) -> None:
    await kv.put("k" * KV_KEY_BYTES_MAX, b"v" * KV_VALUE_BYTES_MAX)
    for key in ("k" * (KV_KEY_BYTES_MAX + 1), "é" * (KV_KEY_BYTES_MAX // 2 + 1), "", "half a pair: \ud800"):
        with pytest.raises(Invalid):
            await kv.put(key, b"")
    with pytest.raises(Invalid):
        await kv.put("k", b"v" * (KV_VALUE_BYTES_MAX + 1))
    with pytest.raises(Invalid):
        await kv.get("k" * (KV_KEY_BYTES_MAX + 1))


async def test_closing_ends_every_wait(opener: Opener) -> None:
    kv = await opener()
    waiting = asyncio.create_task(kv.changes("", (await kv.range("")).revision, wait_s=SOON_S))
    await kv.get("a")  # the wait has begun: calls are served in order
    await kv.close()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(waiting, SOON_S)
    with pytest.raises(Unavailable):
        await kv.get("a")
    await kv.close()
