"""Build logs: appended by offset, read by offset, bounded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from fleetcast.builds.logs import BuildLogs
from fleetcast.builds.queue import BuildQueue, Claim
from fleetcast.model.errors import Invalid, NotFound, Stale
from fleetcast.model.ids import BuildId
from fleetcast.stores.blobs import BlobStore
from fleetcast.stores.database import Database

Enqueue = Callable[..., Awaitable[BuildId]]


async def _claim(queue: BuildQueue) -> Claim:
    claim = await queue.claim("w1")
    assert claim is not None
    return claim


async def test_a_log_is_read_as_it_was_written(
    database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue
) -> None:
    logs, build = BuildLogs(database, store), await enqueue()
    claim = await _claim(queue)
    await logs.append(build, claim.token, 0, "grüß ")
    await logs.append(build, claim.token, 7, "dich\n")

    whole = await logs.read(build, 0)
    assert (whole.text, whole.next_offset, whole.finished) == ("grüß dich\n", 12, False)
    assert (await logs.read(build, 7)).text == "dich\n"
    assert (await logs.read(build, 9)).text == "ch\n"
    assert (await logs.read(build, 12)).next_offset == 12
    await queue.fail(build, claim.token, "no")
    assert (await logs.read(build, 12)).finished


async def test_what_is_known_already_is_ignored(
    database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue
) -> None:
    logs, build = BuildLogs(database, store), await enqueue()
    claim = await _claim(queue)
    await logs.append(build, claim.token, 0, "one\n")
    await logs.append(build, claim.token, 0, "one\n")
    await logs.append(build, claim.token, 0, "one\ntwo\n")
    assert (await logs.read(build, 0)).text == "one\ntwo\n"


async def test_a_gap_is_refused_with_the_place_to_go_on(
    database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue
) -> None:
    logs, build = BuildLogs(database, store), await enqueue()
    claim = await _claim(queue)
    await logs.append(build, claim.token, 0, "one\n")
    with pytest.raises(Invalid, match="ends at 4"):
        await logs.append(build, claim.token, 5, "lost\n")


async def test_the_next_attempts_log_follows_the_one_before(
    database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue
) -> None:
    logs, build = BuildLogs(database, store), await enqueue()
    first = await _claim(queue)
    await logs.append(build, first.token, 0, "first try\n")
    await queue.fail(build, first.token, "worker stopping", hand_back=True)
    with pytest.raises(Stale):
        await logs.append(build, first.token, 10, "too late\n")
    second = await _claim(queue)
    await logs.append(build, second.token, 0, "second try\n")
    await logs.append(build, second.token, 11, "done\n")
    assert (await logs.read(build, 0)).text == "first try\nsecond try\ndone\n"


async def test_a_log_ends_at_its_bound_between_two_characters(
    database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue
) -> None:
    logs, build = BuildLogs(database, store, bytes_max=10), await enqueue()
    claim = await _claim(queue)
    await logs.append(build, claim.token, 0, "123456789ü")
    await logs.append(build, claim.token, 11, "x" * 100)
    whole = await logs.read(build, 0)
    assert whole.text.startswith("123456789")
    assert len(whole.text.encode()) <= 10


async def test_a_large_log_is_read_in_several_answers(
    database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue
) -> None:
    logs, build = BuildLogs(database, store), await enqueue()
    claim = await _claim(queue)
    pieces = [str(number % 10) * 400_000 for number in range(6)]
    for number, piece in enumerate(pieces):
        await logs.append(build, claim.token, number * 400_000, piece)
    await queue.fail(build, claim.token, "no")
    text, offset, answers, finished = "", 0, 0, False
    while not finished:
        page = await logs.read(build, offset)
        assert page.next_offset > offset
        text, offset, answers, finished = text + page.text, page.next_offset, answers + 1, page.finished
    assert text == "".join(pieces)
    assert answers > 1


async def test_no_build_no_log(database: Database, store: BlobStore) -> None:
    with pytest.raises(NotFound):
        await BuildLogs(database, store).read(BuildId(7), 0)


async def test_a_nul_in_the_output_takes_its_place_and_nothing_else(
    database: Database, store: BlobStore, queue: BuildQueue, enqueue: Enqueue
) -> None:
    logs, build = BuildLogs(database, store), await enqueue()
    claim = await _claim(queue)
    await logs.append(build, claim.token, 0, "a\0b\n")
    await logs.append(build, claim.token, 4, "c\n")
    assert (await logs.read(build, 0)).text == "a\x1ab\nc\n"
