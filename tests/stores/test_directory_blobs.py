"""What is special about a directory as a bucket. The rest is in ``tests/contracts/test_blobs.py``."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetcast.model.errors import Conflict, Invalid, NotFound, Unavailable
from fleetcast.model.limits import BLOB_PART_BYTES, BLOB_UPLOAD_IDLE_S_MAX
from fleetcast.stores import blob_files
from fleetcast.stores.blob_files import BlobFiles
from fleetcast.stores.data_port import DataPort
from fleetcast.stores.data_port_blobs import DataPortBlobs
from fleetcast.stores.directory_blobs import DirectoryBlobs
from fleetcast.stores.transfer import GrantConnection


def bucket(root: Path) -> DirectoryBlobs:
    return DirectoryBlobs(root, data_url="http://127.0.0.1:1", data_key=b"k" * 32, part_bytes=1000)


async def test_a_blob_is_one_plain_file_and_nothing_else_is_left(tmp_path: Path) -> None:
    store = bucket(tmp_path)
    upload = await store.begin("builds/1/1/content")
    receipt = await store.write_part("builds/1/1/content", upload, 1, memoryview(b"data"))
    await store.complete("builds/1/1/content", upload, [receipt])
    await store.put("builds/1/1/manifest", b"m")
    files = {str(path.relative_to(tmp_path)): path.stat() for path in tmp_path.rglob("*") if path.is_file()}
    assert set(files) == {"blobs/builds/1/1/content", "blobs/builds/1/1/manifest"}
    assert {found.st_nlink for found in files.values()} == {1}


async def test_deleting_the_last_blob_leaves_no_directories(tmp_path: Path) -> None:
    store = bucket(tmp_path)
    await store.put("builds/1/1/content", b"x")
    await store.delete("builds/1/1/content")
    assert list((tmp_path / "blobs").iterdir()) == []


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str, Callable[[], None]], None]:
    """``before(os, "link", act)``: what somebody else does just before the next call of that function, once."""

    def arrange(owner: Any, name: str, act: Callable[[], None]) -> None:
        function = getattr(owner, name)

        def called(*arguments: Any, **named: Any) -> Any:
            monkeypatch.setattr(owner, name, function)
            act()
            return function(*arguments, **named)

        monkeypatch.setattr(owner, name, called)

    return arrange


def test_neighbours_are_deleted_at_once(tmp_path: Path, before: Callable[..., None]) -> None:
    files = BlobFiles(tmp_path)
    files.prepare()
    files.put("builds/1/content", b"x")
    files.put("builds/1/manifest", b"y")
    before(blob_files, "sync_directory", lambda: files.delete("builds/1/manifest"))
    files.delete("builds/1/content")
    assert list((tmp_path / "blobs").iterdir()) == []


@pytest.mark.parametrize(("owner", "name"), [(os, "link"), (Path, "is_dir")])
def test_a_directory_goes_while_a_blob_comes(tmp_path: Path, before: Callable[..., None], owner: object, name: str) -> None:
    files = BlobFiles(tmp_path)
    files.prepare()
    files.put("builds/1/content", b"x")
    before(owner, name, lambda: files.delete("builds/1/content"))
    files.put("builds/1/manifest", b"y")
    assert [blob.key for blob in files.walk("")] == ["builds/1/manifest"]


def test_a_key_gets_free_while_a_blob_comes(tmp_path: Path, before: Callable[..., None]) -> None:
    files = BlobFiles(tmp_path)
    files.prepare()
    files.put("a/b", b"x")
    before(os, "link", lambda: before(Path, "is_dir", lambda: files.delete("a/b")))
    files.put("a", b"y")
    assert [blob.key for blob in files.walk("")] == ["a"]


async def test_a_part_is_not_taken_before_it_is_recorded(tmp_path: Path) -> None:
    store, key = bucket(tmp_path), "/".join(["k" * 100] * 3)
    upload = await store.begin(key)
    record = tmp_path / "uploads" / f"{upload}.parts"
    unbounded = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file can grow by a little, as on a disk that gets full: the bytes of the part have room, its line has not.
    resource.setrlimit(resource.RLIMIT_FSIZE, (record.stat().st_size + 20, unbounded[1]))
    try:
        with pytest.raises(Unavailable):
            await store.write_part(key, upload, 1, memoryview(b"data"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unbounded)
    assert await store.parts(key, upload) == ()
    receipt = await store.write_part(key, upload, 1, memoryview(b"data"))
    assert await store.parts(key, upload) == (receipt,)


async def test_two_processes_share_a_bucket(tmp_path: Path) -> None:
    one, two = bucket(tmp_path), bucket(tmp_path)
    upload = await one.begin("a")
    receipt = await two.write_part("a", upload, 1, memoryview(b"data"))
    assert await one.parts("a", upload) == (receipt,)
    await two.complete("a", upload, [receipt])
    assert await one.read("a") == b"data"
    assert await one.complete("a", upload, [receipt]) == await one.stat("a")


async def test_a_key_below_another_key_is_refused(tmp_path: Path) -> None:
    store = bucket(tmp_path)
    await store.put("a/b", b"x")
    for key in ("a", "a/b/c", "a/b/c/d"):
        with pytest.raises(Conflict):
            await store.put(key, b"x")
        upload = await store.begin(key)
        receipt = await store.write_part(key, upload, 1, memoryview(b"x"))
        with pytest.raises(Conflict):
            await store.complete(key, upload, [receipt])
    assert [blob.key async for blob in store.list("")] == ["a/b"]


async def test_a_link_in_the_bucket_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    store = bucket(tmp_path / "bucket")
    (tmp_path / "bucket/blobs/link").symlink_to(tmp_path / "secret")
    assert await store.stat("link") is None
    with pytest.raises(NotFound):
        await store.read("link")
    assert [blob async for blob in store.list("")] == []


async def test_forgotten_uploads_are_dropped_and_others_kept(tmp_path: Path) -> None:
    store = bucket(tmp_path)
    forgotten, recent = await store.begin("a"), await store.begin("a")
    (tmp_path / "uploads/put-0123").write_bytes(b"left by a crash")
    long_ago = time.time() - BLOB_UPLOAD_IDLE_S_MAX - 60
    for name in (forgotten, f"{forgotten}.parts", "put-0123"):
        os.utime(tmp_path / "uploads" / name, (long_ago, long_ago))
    third = await store.begin("b")
    names = {path.name for path in (tmp_path / "uploads").iterdir()}
    assert names == {recent, f"{recent}.parts", third, f"{third}.parts"}
    with pytest.raises(NotFound):
        await store.parts("a", forgotten)


async def test_a_disk_that_cannot_be_used_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="look after the disk"):
        bucket(tmp_path / "file")


def test_parts_have_a_largest_size(tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        DirectoryBlobs(tmp_path, data_url="http://127.0.0.1:1", data_key=b"k", part_bytes=BLOB_PART_BYTES + 1)


async def test_a_bucket_whose_data_port_is_away_is_unavailable() -> None:
    reader = DataPortBlobs("http://127.0.0.1:1", b"k" * 32)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await reader.stat("a")
    with pytest.raises(Unavailable):
        await reader.read("a")


async def test_a_completed_upload_takes_no_more_parts(tmp_path: Path) -> None:
    port = DataPort(tmp_path, b"k" * 32, "127.0.0.1", 0)
    port.start()
    store = DirectoryBlobs(tmp_path, data_url=port.url, data_key=b"k" * 32, part_bytes=1000)
    upload = await store.begin("a")
    receipt = await store.write_part("a", upload, 1, memoryview(b"0123456789"))
    grant = await store.part_grant("a", upload, 1, 10, lifetime_s=60)
    await store.complete("a", upload, [receipt])
    with pytest.raises(NotFound):
        await store.write_part("a", upload, 1, memoryview(b"other bytes"))
    with GrantConnection() as connection, pytest.raises(NotFound):
        await asyncio.to_thread(connection.write, grant, memoryview(b"9876543210"))
    assert await store.read("a") == b"0123456789"
    await asyncio.to_thread(port.close)
