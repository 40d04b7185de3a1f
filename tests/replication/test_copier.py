"""A region's copy of an artifact: complete and verified or not there, whatever is killed or forged on the way."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fleetcast.artifacts.manifest import manifest_digest
from fleetcast.artifacts.packing import pack
from fleetcast.artifacts.signing import PublicKey, envelope_digest, generate_key, load_private, load_public, sign_root
from fleetcast.http import messages
from fleetcast.model.artifact import ArtifactRecord, Root, regional_content_blob, regional_manifest_blob
from fleetcast.model.errors import Corrupt, NotFound, Unavailable
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import Digest
from fleetcast.model.limits import KIB, MIB
from fleetcast.model.messages.grants import PartReceipt
from fleetcast.model.messages.regions import SourceGrants
from fleetcast.replication.copier import Copier
from fleetcast.stores.data_port import DataPort
from fleetcast.stores.directory_blobs import DirectoryBlobs
from fleetcast.stores.sqlite_kv import SqliteKv
from roots import root_of

KEY = b"k" * 32
PART_BYTES = 512 * KIB
CONTENT_BYTES = 5 * MIB + 12345


class Bucket(DirectoryBlobs):
    """A directory store that also says which parts it was given."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, data_url="http://127.0.0.1:1", data_key=KEY, part_bytes=PART_BYTES)
        self.written: list[int] = []

    async def write_part(self, key: str, upload: str, number: int, data: memoryview) -> PartReceipt:
        receipt = await super().write_part(key, upload, number, data)
        self.written.append(number)
        return receipt


@dataclass
class MainStore:
    """The main store with one artifact in it, and what control answers when a region asks for it."""

    blobs: DirectoryBlobs
    directory: Path
    record: ArtifactRecord
    content: bytes
    worker_key: PublicKey
    asked: int = 0
    progress: list[int] = field(default_factory=list)

    async def source_grants(self, digest: Digest) -> SourceGrants:
        self.asked += 1
        if digest != self.record.release.digest:
            raise NotFound("unknown_artifact", f"no artifact has the digest {digest}")
        manifest = await self.blobs.read_grant("builds/1/1/manifest", lifetime_s=60)
        return SourceGrants(digest, manifest, await self.blobs.read_grant("builds/1/1/content", lifetime_s=60))


def signed(directory: Path, name: str, root: Root) -> tuple[str, PublicKey]:
    generate_key(directory / f"{name}.key", directory / f"{name}.pub")
    return sign_root(root, load_private(directory / f"{name}.key")), load_public(directory / f"{name}.pub")


def record_of(root: Root, envelope: str) -> ArtifactRecord:
    release = ReleaseRef(root.artifact, root.digest, envelope_digest(envelope))
    return ArtifactRecord(release, envelope, root.manifest_size, root.content_size)


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[MainStore]:
    output = tmp_path / "output"
    output.mkdir()
    content = random.Random(7).randbytes(CONTENT_BYTES)
    (output / "server").write_bytes(content[:1000])
    (output / "zdata").write_bytes(content[1000:])
    packed = pack(output, lambda _: None)
    root = root_of(packed)
    envelope, key = signed(tmp_path, "worker", root)
    store = tmp_path / "main"
    store.mkdir()
    port = DataPort(store, KEY, "127.0.0.1", 0)
    port.start()
    blobs = DirectoryBlobs(store, data_url=port.url, data_key=KEY)
    await blobs.put("builds/1/1/manifest", packed.manifest)
    await blobs.put("builds/1/1/content", content)
    yield MainStore(blobs, store, record_of(root, envelope), content, key)
    await asyncio.to_thread(port.close)


@pytest.fixture
async def notes(tmp_path: Path) -> AsyncIterator[SqliteKv]:
    store = await SqliteKv.open(tmp_path / "kv.db")
    yield store
    await store.close()


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path / "bucket")


@pytest.fixture
def copy(main: MainStore, bucket: Bucket, notes: SqliteKv) -> Callable[[], Copier]:
    return lambda: Copier(bucket, main, [main.worker_key], notes)


async def visible(bucket: Bucket) -> list[str]:
    return [blob.key async for blob in bucket.list("")]


async def assert_complete(main: MainStore, bucket: Bucket) -> None:
    digest = main.record.release.digest
    assert await bucket.read(regional_content_blob(digest)) == main.content
    assert manifest_digest(await bucket.read(regional_manifest_blob(digest))) == digest


async def test_a_copy_is_the_original(main: MainStore, bucket: Bucket, notes: SqliteKv, copy: Callable[[], Copier]) -> None:
    await copy().copy(main.record, main.progress.append)
    await assert_complete(main, bucket)
    assert main.progress == sorted(main.progress)
    assert main.progress[-1] == CONTENT_BYTES
    assert (await notes.range("")).entries == (), "an upload that is done is not remembered"


async def test_what_is_complete_is_left_alone(main: MainStore, bucket: Bucket, copy: Callable[[], Copier]) -> None:
    await copy().copy(main.record, main.progress.append)
    told, asked, written = len(main.progress), main.asked, len(bucket.written)
    await copy().copy(main.record, main.progress.append)
    assert (len(main.progress), main.asked, len(bucket.written)) == (told, asked, written)


A_COPY = """
import asyncio, sys
from pathlib import Path
from fleetcast.artifacts.signing import load_public
from fleetcast.http import messages
from fleetcast.model.artifact import ArtifactRecord
from fleetcast.replication.copier import Copier
from fleetcast.stores.data_grants import grant_read
from fleetcast.model.messages.regions import SourceGrants
from fleetcast.stores.directory_blobs import DirectoryBlobs
from fleetcast.stores.sqlite_kv import SqliteKv

directory, grants, part_bytes, step = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

async def reach(here):
    if here == step:
        print("there", flush=True)
        await asyncio.Event().wait()

class Source:
    async def source_grants(self, digest):
        await reach("the grants")
        return messages.decode(grants.read_bytes(), SourceGrants)

class Bucket(DirectoryBlobs):
    begun = done = 0
    async def put(self, key, data):
        await super().put(key, data)
        await reach("the manifest")
    async def begin(self, key):
        upload = await super().begin(key)
        await reach("an upload that nobody knows")
        return upload
    async def write_part(self, key, upload, number, data):
        if step == "four parts" and self.begun == 4:
            await asyncio.Event().wait()
        self.begun += 1
        receipt = await super().write_part(key, upload, number, data)
        self.done += 1
        if self.done == 4:
            await reach("four parts")
        return receipt
    async def complete(self, key, upload, parts):
        await reach("all parts")
        await super().complete(key, upload, parts)
        await reach("the blob")

class Notes:
    def __init__(self, store):
        self.get, self.delete, self.store = store.get, store.delete, store
    async def put(self, key, value, **how):
        await self.store.put(key, value, **how)
        await reach("an upload without parts")

async def main():
    bucket = Bucket(directory / "bucket", data_url="http://127.0.0.1:1", data_key=b"k" * 32, part_bytes=part_bytes)
    record = messages.decode((directory / "record.json").read_bytes(), ArtifactRecord)
    notes = Notes(await SqliteKv.open(directory / "kv.db"))
    await Copier(bucket, Source(), [load_public(directory / "worker.pub")], notes).copy(record, lambda _: None)

asyncio.run(main())
"""
"""Stops when it has reached a step, and waits to be killed there."""
STEPS = {
    "the grants": (0, False),
    "the manifest": (0, True),
    "an upload that nobody knows": (0, True),
    "an upload without parts": (0, True),
    "four parts": (4, True),
    "all parts": (-(-CONTENT_BYTES // PART_BYTES), True),
    "the blob": (-(-CONTENT_BYTES // PART_BYTES), True),
}
"""With how many parts that are in the bucket, and whether the manifest is."""


@pytest.mark.parametrize("step", STEPS)
async def test_killed_at_any_step_it_goes_on_from_there(
    main: MainStore, bucket: Bucket, notes: SqliteKv, copy: Callable[[], Copier], tmp_path: Path, step: str
) -> None:
    grants = tmp_path / "grants.json"
    grants.write_bytes(messages.encode(await main.source_grants(main.record.release.digest)))
    (tmp_path / "record.json").write_bytes(messages.encode(main.record))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", A_COPY, tmp_path, grants, str(PART_BYTES), step, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"there\n"
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    there, manifest = STEPS[step]
    digest = main.record.release.digest
    blobs = [regional_manifest_blob(digest)] if manifest else []
    assert await visible(bucket) == ([regional_content_blob(digest)] if step == "the blob" else []) + blobs

    await copy().copy(main.record, main.progress.append)
    await assert_complete(main, bucket)
    parts = -(-CONTENT_BYTES // PART_BYTES)
    assert len(bucket.written) == len(set(bucket.written)) == parts - there, "what was there already was written again"
    if 0 < there < parts:
        assert main.progress[1] >= 3 * PART_BYTES, "the resumed copy does not start at nothing"
    if step != "the blob":
        assert (await notes.range("")).entries == (), "an upload that is done is not remembered"


async def test_a_lost_source_is_tried_again_from_where_it_was(
    main: MainStore, bucket: Bucket, copy: Callable[[], Copier]
) -> None:
    whole = main.directory / "blobs" / "builds/1/1/content"
    moved = whole.with_name("elsewhere")

    def lose(done: int) -> None:
        if done >= 3 * PART_BYTES and whole.exists():
            whole.rename(moved)

    with pytest.raises((NotFound, Unavailable)):
        await copy().copy(main.record, lose)
    before = len(bucket.written)
    assert before >= 3
    moved.rename(whole)
    await copy().copy(main.record, main.progress.append)
    await assert_complete(main, bucket)
    assert len(bucket.written) <= -(-CONTENT_BYTES // PART_BYTES) + 1, "at most the part under way was written twice"


async def test_a_corrupted_chunk_is_refused(main: MainStore, bucket: Bucket, copy: Callable[[], Copier]) -> None:
    blob = main.directory / "blobs" / "builds/1/1/content"
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(3 * MIB)
        file.write(b"\0\0\0\0")
    with pytest.raises(Corrupt, match="chunk"):
        await copy().copy(main.record, main.progress.append)
    assert regional_content_blob(main.record.release.digest) not in await visible(bucket)


async def test_a_forged_manifest_is_refused(main: MainStore, bucket: Bucket, copy: Callable[[], Copier]) -> None:
    blob = main.directory / "blobs" / "builds/1/1/manifest"
    blob.chmod(0o644)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with pytest.raises(Corrupt, match="digest"):
        await copy().copy(main.record, main.progress.append)
    assert await visible(bucket) == []


async def test_a_root_that_no_worker_signed_is_refused(
    main: MainStore, bucket: Bucket, notes: SqliteKv, tmp_path: Path
) -> None:
    generate_key(tmp_path / "other.key", tmp_path / "other.pub")
    copier = Copier(bucket, main, [load_public(tmp_path / "other.pub")], notes)
    with pytest.raises(Corrupt, match="signed"):
        await copier.copy(main.record, main.progress.append)
    assert await visible(bucket) == []
    assert main.asked == 0


async def test_a_record_that_names_another_digest_is_refused(
    main: MainStore, bucket: Bucket, copy: Callable[[], Copier]
) -> None:
    forged = replace(main.record, release=replace(main.record.release, digest=Digest("f" * 64)))
    with pytest.raises(Corrupt, match="another digest"):
        await copy().copy(forged, main.progress.append)
    assert await visible(bucket) == []


@pytest.mark.parametrize("blob", ["content", "manifest"])
async def test_a_blob_that_vanished_is_copied_again(
    main: MainStore, bucket: Bucket, copy: Callable[[], Copier], blob: str
) -> None:
    await copy().copy(main.record, main.progress.append)
    digest = main.record.release.digest
    await bucket.delete(regional_content_blob(digest) if blob == "content" else regional_manifest_blob(digest))
    await copy().copy(main.record, main.progress.append)
    await assert_complete(main, bucket)


async def test_a_blob_of_another_size_is_replaced(main: MainStore, bucket: Bucket, copy: Callable[[], Copier]) -> None:
    await bucket.put(regional_content_blob(main.record.release.digest), b"cut short")
    await copy().copy(main.record, main.progress.append)
    await assert_complete(main, bucket)


async def test_an_upload_that_the_store_dropped_is_begun_anew(
    main: MainStore, bucket: Bucket, notes: SqliteKv, copy: Callable[[], Copier]
) -> None:
    await notes.put(f"copies/{main.record.release.digest}", b"0" * 32)
    await copy().copy(main.record, main.progress.append)
    await assert_complete(main, bucket)


async def test_two_copies_at_once_harm_nothing(main: MainStore, bucket: Bucket, copy: Callable[[], Copier]) -> None:
    await asyncio.gather(copy().copy(main.record, lambda _: None), copy().copy(main.record, lambda _: None))
    await assert_complete(main, bucket)
