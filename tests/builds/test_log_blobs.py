"""Logs of ended builds move into the main store, and nobody who reads notices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy import delete, func, select

from fleetcast.builds import logs as logs_module
from fleetcast.builds.log_blobs import log_key, move_logs
from fleetcast.builds.logs import BuildLogs
from fleetcast.builds.queue import BuildQueue
from fleetcast.model.ids import BuildId
from fleetcast.schema.tables import build_log, build_log_blobs, jobs
from fleetcast.stores.blobs import BlobStore
from fleetcast.stores.database import Database

Enqueue = Callable[..., Awaitable[BuildId]]
TEXT = "grüß dich\n€ 5\n𝄞\n"


async def logged(database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue, text: str = TEXT) -> BuildId:
    """A build that has ended, with a log."""
    build = await enqueue()
    claim = await queue.claim("w1")
    assert claim is not None
    await BuildLogs(database, store).append(build, claim.token, 0, text)
    await queue.fail(build, claim.token, "no")
    return build


async def rows(database: Database, table: object) -> int:
    async with database.reading() as reading:
        return int((await reading.execute(select(func.count()).select_from(table))).scalar_one())  # type: ignore[call-overload]


async def test_a_log_is_the_same_before_and_after_it_moved(
    database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue
) -> None:
    build, logs = await logged(database, store, queue, enqueue), BuildLogs(database, store)
    size = len(TEXT.encode())
    offsets = range(-size - 2, size + 1)
    before = [await logs.read(build, offset) for offset in offsets]
    await move_logs(database, store)
    assert await rows(database, build_log) == 0
    assert await store.read(log_key(build)) == TEXT.encode()
    assert [await logs.read(build, offset) for offset in offsets] == before
    assert before[-1].finished


async def test_a_reader_goes_on_in_the_blob_where_it_was_in_the_rows(
    database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue, monkeypatch: object
) -> None:
    build, logs = await logged(database, store, queue, enqueue), BuildLogs(database, store)
    first = await logs.read(build, 7)
    await move_logs(database, store)
    monkeypatch.setattr(logs_module, "BUILD_LOG_READ_BYTES_MAX", 5)  # type: ignore[attr-defined]
    read, offset, finished = "", 0, False
    while not finished:
        piece = await logs.read(build, offset)
        assert piece.next_offset > offset
        read, offset, finished = read + piece.text, piece.next_offset, piece.finished
    assert read == TEXT
    assert first.text == TEXT.encode()[7:].decode()


async def test_only_logs_of_ended_builds_move(
    database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue
) -> None:
    build = await enqueue()
    claim = await queue.claim("w1")
    assert claim is not None
    logs = BuildLogs(database, store)
    await logs.append(build, claim.token, 0, "first try\n")
    await queue.fail(build, claim.token, "worker stopping", hand_back=True)
    await move_logs(database, store)
    assert (await logs.read(build, 0)).text == "first try\n"
    assert await rows(database, build_log) == 1


async def test_many_may_move_at_once(database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue) -> None:
    build = await logged(database, store, queue, enqueue)
    await asyncio.gather(*(move_logs(database, store) for _ in range(4)))
    assert (await BuildLogs(database, store).read(build, 0)).text == TEXT
    assert (await rows(database, build_log), await rows(database, build_log_blobs)) == (0, 1)


async def test_one_that_died_after_the_blob_was_written_is_made_up_for(
    database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue
) -> None:
    build = await logged(database, store, queue, enqueue)
    await store.put(log_key(build), TEXT.encode())
    assert (await BuildLogs(database, store).read(build, 0)).text == TEXT
    await move_logs(database, store)
    assert (await BuildLogs(database, store).read(build, 0)).text == TEXT
    assert await rows(database, build_log) == 0


async def test_a_forgotten_builds_log_goes_with_it(
    database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue
) -> None:
    build = await logged(database, store, queue, enqueue)
    await move_logs(database, store)
    async with database.transaction() as tx:
        await tx.execute(delete(jobs).where(jobs.c.id == build))
    await move_logs(database, store)
    assert await store.stat(log_key(build)) is None
    assert await rows(database, build_log_blobs) == 0
