"""What every blob store promises (``stores/blobs.py``), through the door and by grant."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from fleetcast.cli.demo.engines.swift import SECRET, USER, SwiftServer
from fleetcast.model.errors import Conflict, Forbidden, Invalid, NotFound
from fleetcast.model.limits import BLOB_KEY_BYTES_MAX, BLOB_KEY_PART_BYTES_MAX, BLOB_PARTS_MAX
from fleetcast.model.messages.grants import PartReceipt
from fleetcast.stores.blobs import BlobReader, BlobStore
from fleetcast.stores.data_port import DataPort
from fleetcast.stores.data_port_blobs import DataPortBlobs
from fleetcast.stores.directory_blobs import DirectoryBlobs
from fleetcast.stores.s3_address import s3_address
from fleetcast.stores.s3_bucket import s3_bucket
from fleetcast.stores.s3_credentials import S3Credentials, S3Place
from fleetcast.stores.transfer import GrantConnection

PART_BYTES = 64 * 1024
DATA_KEY = b"k" * 32

Opener = Callable[[pytest.FixtureRequest, Path], AbstractAsyncContextManager[tuple[BlobStore, BlobReader]]]


@asynccontextmanager
async def directory(root: Path) -> AsyncIterator[tuple[BlobStore, BlobReader]]:
    """A directory, and the same bucket seen by another process."""
    port = DataPort(root, DATA_KEY, "127.0.0.1", 0)
    port.start()
    try:
        store = DirectoryBlobs(root, data_url=port.url, data_key=DATA_KEY, part_bytes=PART_BYTES)
        yield store, DataPortBlobs(port.url, DATA_KEY)
    finally:
        port.close()


@asynccontextmanager
async def s3(server: SwiftServer) -> AsyncIterator[tuple[BlobStore, BlobReader]]:
    """A bucket's prefix that no other test has, and the same seen through a region's data port."""
    place = S3Place(s3_address(server.url("blobs", secrets.token_hex(8))), S3Credentials(USER, SECRET))
    with s3_bucket(place, part_bytes=PART_BYTES) as bucket:
        port = DataPort(bucket.served, DATA_KEY, "127.0.0.1", 0)
        port.start()
        try:
            yield bucket.blobs, DataPortBlobs(port.url, DATA_KEY)
        finally:
            port.close()


@pytest.fixture(scope="module")
def bucket(swift: SwiftServer) -> SwiftServer:
    swift.create_bucket("blobs")
    return swift


ENGINES: Final[Mapping[str, Opener]] = {
    "directory": lambda _, root: directory(root),
    "s3": lambda request, _: s3(request.getfixturevalue("bucket")),
}


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[BlobStore, BlobReader]]:
    async with ENGINES[request.param](request, tmp_path) as opened:
        yield opened


@pytest.fixture
def store(engine: tuple[BlobStore, BlobReader]) -> BlobStore:
    return engine[0]


@pytest.fixture(params=["itself", "from afar"])
def reader(request: pytest.FixtureRequest, engine: tuple[BlobStore, BlobReader]) -> BlobReader:
    return engine[0] if request.param == "itself" else engine[1]


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def in_parts(data: bytes) -> list[tuple[int, memoryview]]:
    view = memoryview(data)
    return [(n + 1, view[at : at + PART_BYTES]) for n, at in enumerate(range(0, len(data), PART_BYTES))]


async def upload(store: BlobStore, key: str, data: bytes) -> tuple[str, list[PartReceipt]]:
    opened = await store.begin(key)
    return opened, [await store.write_part(key, opened, number, part) for number, part in in_parts(data)]


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES - 5])
async def test_parts_in_any_order_become_one_blob(store: BlobStore, size: int) -> None:
    data = content(size)
    opened = await store.begin("builds/1/1/content")
    parts = in_parts(data)
    random.Random(0).shuffle(parts)
    receipts = [await store.write_part("builds/1/1/content", opened, number, part) for number, part in parts]
    receipts.sort(key=lambda receipt: receipt.number)
    assert await store.stat("builds/1/1/content") is None, "not before it is complete"
    assert await store.parts("builds/1/1/content", opened) == tuple(receipts)
    stat = await store.complete("builds/1/1/content", opened, receipts)
    assert (stat.key, stat.size) == ("builds/1/1/content", size)
    assert await store.read("builds/1/1/content") == data


async def test_parts_written_at_the_same_time_become_one_blob(store: BlobStore) -> None:
    data = content(6 * PART_BYTES)
    opened = await store.begin("a")
    receipts = await asyncio.gather(*(store.write_part("a", opened, number, part) for number, part in in_parts(data)))
    await store.complete("a", opened, receipts)
    assert await store.read("a") == data


async def test_a_part_written_again_replaces_the_first(store: BlobStore) -> None:
    data = content(2 * PART_BYTES)
    opened, receipts = await upload(store, "a", data[:PART_BYTES] + content(PART_BYTES - 9))
    second = await store.write_part("a", opened, 2, memoryview(data)[PART_BYTES:])
    with pytest.raises(Invalid):
        await store.complete("a", opened, receipts)
    await store.complete("a", opened, [receipts[0], second])
    assert await store.read("a") == data


async def test_parts_that_are_not_named_are_left_out(store: BlobStore) -> None:
    opened, receipts = await upload(store, "a", content(3 * PART_BYTES))
    await store.complete("a", opened, receipts[:2])
    assert await store.read("a") == content(3 * PART_BYTES)[: 2 * PART_BYTES]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda parts: parts[1:], id="the first missing"),
        pytest.param(lambda parts: [parts[0], parts[2]], id="a gap"),
        pytest.param(lambda parts: [parts[1], parts[0], parts[2]], id="another order"),
        pytest.param(lambda parts: [*parts, replace(parts[2], number=4)], id="one never sent"),
        pytest.param(lambda parts: [replace(parts[0], etag="0" * 64), *parts[1:]], id="another ETag"),
        pytest.param(lambda parts: [replace(parts[0], size=parts[0].size - 1), *parts[1:]], id="another size"),
    ],
)
async def test_an_upload_is_completed_only_with_what_was_received(
    store: BlobStore, wrong: Callable[[list[PartReceipt]], list[PartReceipt]]
) -> None:
    opened, receipts = await upload(store, "a", content(3 * PART_BYTES))
    with pytest.raises(Invalid):
        await store.complete("a", opened, wrong(receipts))
    assert await store.stat("a") is None
    await store.complete("a", opened, receipts)
    assert await store.read("a") == content(3 * PART_BYTES)


async def test_a_short_part_is_only_allowed_at_the_end(store: BlobStore) -> None:
    opened = await store.begin("a")
    receipts = [await store.write_part("a", opened, number, memoryview(b"short")) for number in (1, 2)]
    with pytest.raises(Invalid):
        await store.complete("a", opened, receipts)
    await store.complete("a", opened, receipts[:1])
    assert await store.read("a") == b"short"


async def test_completing_again_answers_with_the_blob(store: BlobStore) -> None:
    opened, receipts = await upload(store, "a", content(10))
    first = await store.complete("a", opened, receipts)
    assert await store.complete("a", opened, receipts) == first


async def test_the_first_of_two_uploads_of_a_key_wins(store: BlobStore) -> None:
    first, first_parts = await upload(store, "a", b"first")
    second, second_parts = await upload(store, "a", b"the second")
    await store.complete("a", first, first_parts)
    assert (await store.complete("a", second, second_parts)).size == len(b"first")
    assert await store.read("a") == b"first"


async def test_a_part_that_comes_again_after_the_completion_harms_nothing(store: BlobStore) -> None:
    opened, receipts = await upload(store, "a", content(10))
    grant = await store.part_grant("a", opened, 1, 10, lifetime_s=60)
    await store.complete("a", opened, receipts)
    with GrantConnection() as connection, suppress(NotFound):
        await asyncio.to_thread(connection.write, grant, memoryview(content(10)))
    with suppress(NotFound):
        await store.write_part("a", opened, 1, memoryview(content(10)))
    assert await store.read("a") == content(10)


async def test_an_aborted_upload_is_gone(store: BlobStore) -> None:
    opened, receipts = await upload(store, "a", content(10))
    await store.abort("a", opened)
    await store.abort("a", opened)
    for call in (
        store.parts("a", opened),
        store.write_part("a", opened, 1, memoryview(b"x")),
        store.complete("a", opened, receipts),
    ):
        with pytest.raises(NotFound):
            await call
    assert await store.stat("a") is None


async def test_open_uploads_are_found_by_prefix_until_they_are_completed_or_dropped(store: BlobStore) -> None:
    ids = {key: (await upload(store, key, content(10)))[0] for key in ("a/1/x", "a/1/y", "a/10/x", "b")}
    assert {(each.key, each.id) for each in await store.uploads("a/1/")} == {(key, ids[key]) for key in ("a/1/x", "a/1/y")}
    await store.abort("a/1/x", ids["a/1/x"])
    await store.complete("a/1/y", ids["a/1/y"], await store.parts("a/1/y", ids["a/1/y"]))
    assert {each.key for each in await store.uploads("")} == {"a/10/x", "b"}


async def test_an_upload_belongs_to_its_key(store: BlobStore) -> None:
    opened, receipts = await upload(store, "a", content(10))
    for call in (
        store.parts("b", opened),
        store.write_part("b", opened, 1, memoryview(b"x")),
        store.complete("b", opened, receipts),
    ):
        with pytest.raises(NotFound):
            await call
    await store.abort("b", opened)
    await store.complete("a", opened, receipts)


@pytest.mark.parametrize("unknown", ["0" * 32, "", "..", "../../etc/passwd", "é"])
async def test_an_unknown_upload_is_not_found(store: BlobStore, unknown: str) -> None:
    for call in (
        store.parts("a", unknown),
        store.write_part("a", unknown, 1, memoryview(b"x")),
        store.complete("a", unknown, []),
    ):
        with pytest.raises(NotFound):
            await call
    await store.abort("a", unknown)


async def test_part_numbers_and_sizes_have_bounds(store: BlobStore) -> None:
    opened = await store.begin("a")
    for number, size in ((0, 1), (-1, 1), (BLOB_PARTS_MAX + 1, 1), (1, PART_BYTES + 1)):
        with pytest.raises(Invalid):
            await store.write_part("a", opened, number, memoryview(bytes(size)))
        with pytest.raises(Invalid):
            await store.part_grant("a", opened, number, size, lifetime_s=60)


async def test_small_blobs_are_put_whole_and_never_overwritten(store: BlobStore) -> None:
    await store.put("a/b", b"four")
    await store.put("a/b", b"four")
    with pytest.raises(Conflict):
        await store.put("a/b", b"others")
    assert await store.read("a/b") == b"four"


async def test_a_deleted_blob_is_gone_and_its_key_free(store: BlobStore) -> None:
    await store.put("a/b/c", b"1")
    await store.put("a/d", b"2")
    await store.delete("a/b/c")
    await store.delete("a/b/c")
    await store.delete("a/b")
    assert await store.stat("a/b/c") is None
    assert await store.read("a/d") == b"2"
    await store.put("a/b/c", b"another")
    assert await store.read("a/b/c") == b"another"


async def test_blobs_are_listed_by_prefix_in_key_order(store: BlobStore) -> None:
    keys = ["a", "b-1", "b.x", "b/1", "b/1.2", "b/10/x", "b/2", "b0", "c/d/e/f", "c/d/eg"]
    for key in random.Random(1).sample(keys, len(keys)):
        await store.put(key, key.encode())

    async def listed(prefix: str) -> list[str]:
        found = [blob async for blob in store.list(prefix)]
        assert all(blob.size == len(blob.key) for blob in found)
        return [blob.key for blob in found]

    for prefix in ("", "a", "b", "b/", "b/1", "b-", "c/d/e", "c/d/e/", "x", "../"):
        assert await listed(prefix) == sorted(key for key in keys if key.startswith(prefix))


ILLEGAL_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a/..",
    "é",
    "a b",
    "a\n",
    "a\0",
    "a%2fb",
    "a?b",
    "a\\b",
    "a" * (BLOB_KEY_PART_BYTES_MAX + 1),
    "/".join(["abcdefg"] * (BLOB_KEY_BYTES_MAX // 8 + 1)),
]


async def test_illegal_keys_are_refused(store: BlobStore) -> None:
    for key in ILLEGAL_KEYS:
        for call in (
            store.put(key, b"x"),
            store.begin(key),
            store.stat(key),
            store.read(key),
            store.delete(key),
            store.read_grant(key, lifetime_s=60),
            store.part_grant(key, "0" * 32, 1, 1, lifetime_s=60),
        ):
            with pytest.raises(Invalid, match="key"):
                await call
    assert [blob async for blob in store.list("")] == []


async def test_the_longest_key_is_legal(store: BlobStore) -> None:
    key = f"{'a' * BLOB_KEY_PART_BYTES_MAX}/"
    key += "b/" * ((BLOB_KEY_BYTES_MAX - len(key)) // 2)
    key = key[:-1] + "c" * (BLOB_KEY_BYTES_MAX - len(key) + 1)
    assert len(key) == BLOB_KEY_BYTES_MAX
    await store.put(key, b"x")
    assert await store.read(key) == b"x"


async def test_reads_take_any_range_that_is_there(store: BlobStore, reader: BlobReader) -> None:
    data = content(100_000)
    await store.put("a", data)
    stat = await reader.stat("a")
    assert stat is not None
    assert stat.size == len(data)
    assert await reader.read("a") == data
    assert await reader.read("a", offset=99_000) == data[99_000:]
    assert await reader.read("a", offset=5, length=70_000) == data[5:70_005]
    assert await reader.read("a", offset=100_000) == b""
    assert await reader.read("a", offset=100_000, length=0) == b""
    for offset, length in ((100_001, None), (99_999, 2), (100_000, 1), (-1, 1), (0, -1)):
        with pytest.raises(Invalid):
            await reader.read("a", offset=offset, length=length)


async def test_a_store_reads_any_range_into_a_buffer(store: BlobStore) -> None:
    data = content(300_000)
    await store.put("a/b", data)
    for offset, length in ((0, 300_000), (299_999, 1), (123_456, 54_321), (7, 0)):
        buffer = bytearray(length + 1)
        await store.read_into("a/b", offset, memoryview(buffer)[:length])
        assert buffer == data[offset : offset + length] + bytes(1)
    for offset, length in ((300_000, 1), (299_999, 2), (-1, 1)):
        with pytest.raises(Invalid):
            await store.read_into("a/b", offset, memoryview(bytearray(length)))
    with pytest.raises(Invalid, match="key"):
        await store.read_into("../a", 0, memoryview(bytearray(1)))
    with pytest.raises(NotFound):
        await store.read_into("a", 0, memoryview(bytearray(1)))


async def test_readers_say_when_there_is_no_blob(store: BlobStore, reader: BlobReader) -> None:
    await store.put("directory/a", b"x")
    for key in ("b", "directory", "directory/b", "directory/a/b"):
        assert await reader.stat(key) is None
        with pytest.raises(NotFound):
            await reader.read(key)
        grant = await reader.read_grant(key, lifetime_s=60)
        with GrantConnection() as connection, pytest.raises(NotFound):
            await asyncio.to_thread(connection.read_into, grant, 0, memoryview(bytearray(1)))


async def test_readers_see_an_empty_blob(store: BlobStore, reader: BlobReader) -> None:
    await store.put("empty", b"")
    stat = await reader.stat("empty")
    assert stat is not None
    assert stat.size == 0
    assert await reader.read("empty") == b""


async def test_a_read_grant_reads_ranges(store: BlobStore, reader: BlobReader) -> None:
    data = content(300_000)
    await store.put("a/b", data)
    grant = await reader.read_grant("a/b", lifetime_s=60)
    assert grant.method == "GET"
    with GrantConnection() as connection:
        for offset, length in ((0, 300_000), (299_999, 1), (123_456, 54_321), (7, 0)):
            buffer = bytearray(length)
            await asyncio.to_thread(connection.read_into, grant, offset, memoryview(buffer))
            assert buffer == data[offset : offset + length]
        for offset, length in ((300_000, 1), (299_999, 2)):
            with pytest.raises(Invalid):
                await asyncio.to_thread(connection.read_into, grant, offset, memoryview(bytearray(length)))


async def test_parts_sent_by_grant_become_a_blob(store: BlobStore) -> None:
    data = content(2 * PART_BYTES + 77)
    opened = await store.begin("a/b")
    receipts = []
    with GrantConnection() as connection:
        for number, part in in_parts(data):
            grant = await store.part_grant("a/b", opened, number, len(part), lifetime_s=60)
            assert grant.method == "PUT"
            etag = await asyncio.to_thread(connection.write, grant, part)
            receipts.append(PartReceipt(number=number, size=len(part), etag=etag))
    assert await store.parts("a/b", opened) == tuple(receipts)
    await store.complete("a/b", opened, receipts)
    assert await store.read("a/b") == data


async def test_expired_grants_are_refused(store: BlobStore) -> None:
    await store.put("a", b"secret")
    opened = await store.begin("b")
    read = await store.read_grant("a", lifetime_s=-1)
    write = await store.part_grant("b", opened, 1, 3, lifetime_s=-1)
    with GrantConnection() as connection:
        with pytest.raises(Forbidden):
            await asyncio.to_thread(connection.read_into, read, 0, memoryview(bytearray(6)))
        with pytest.raises(Forbidden):
            await asyncio.to_thread(connection.write, write, memoryview(b"abc"))
    assert await store.parts("b", opened) == ()
