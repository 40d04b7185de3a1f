"""A copy takes from the bucket what older artifacts in it have, and fetches the rest: whatever the bucket has lost since."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fleetcast.artifacts.packing import pack
from fleetcast.artifacts.signing import PublicKey, envelope_digest, generate_key, load_private, load_public, sign_root
from fleetcast.model.artifact import ArtifactRecord, regional_content_blob, regional_manifest_blob
from fleetcast.model.errors import Corrupt, Unavailable
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import Digest
from fleetcast.model.limits import CHUNK_BYTES_MAX, COPY_SLICE_BYTES, KIB, MIB, RATE_BYTES_PER_S_MIN
from fleetcast.model.messages.regions import SourceGrants
from fleetcast.replication.copier import Copied, Copier
from fleetcast.stores.data_port import DataPort
from fleetcast.stores.directory_blobs import DirectoryBlobs
from fleetcast.stores.limiter import Limiter
from fleetcast.stores.rates import UNLIMITED
from fleetcast.stores.sqlite_kv import SqliteKv
from roots import root_of

KEY = b"k" * 32
PART_BYTES = 2 * MIB
OLD = random.Random(1).randbytes(12 * MIB)
NEW = OLD[: 5 * MIB] + random.Random(2).randbytes(64 * KIB) + OLD[5 * MIB + 64 * KIB : 9 * MIB] + OLD[8 * MIB :]
"""One place is overwritten, and from 9 MiB on everything stands elsewhere."""


@dataclass
class MainStore:
    """The main store, and what control answers when a region asks for an artifact in it."""

    directory: Path
    blobs: DirectoryBlobs
    keys: Path
    places: dict[Digest, str] = field(default_factory=dict)

    async def put(self, name: str, content: bytes) -> ArtifactRecord:
        output = self.directory / "outputs" / name
        output.mkdir(parents=True)
        (output / "server").write_bytes(content)
        packed = pack(output, lambda _: None)
        root = root_of(packed)
        envelope = sign_root(root, load_private(self.keys / "worker.key"))
        self.places[root.digest] = name
        await self.blobs.put(f"{name}/manifest", packed.manifest)
        await self.blobs.put(f"{name}/content", content)
        release = ReleaseRef(root.artifact, root.digest, envelope_digest(envelope))
        return ArtifactRecord(release, envelope, root.manifest_size, root.content_size)

    async def source_grants(self, digest: Digest) -> SourceGrants:
        place = self.places[digest]
        manifest = await self.blobs.read_grant(f"{place}/manifest", lifetime_s=60)
        return SourceGrants(digest, manifest, await self.blobs.read_grant(f"{place}/content", lifetime_s=60))

    @property
    def worker_key(self) -> PublicKey:
        return load_public(self.keys / "worker.pub")


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[MainStore]:
    generate_key(tmp_path / "worker.key", tmp_path / "worker.pub")
    directory = tmp_path / "main"
    directory.mkdir()
    port = DataPort(directory, KEY, "127.0.0.1", 0)
    port.start()
    yield MainStore(directory, DirectoryBlobs(directory, data_url=port.url, data_key=KEY), tmp_path)
    await asyncio.to_thread(port.close)


@pytest.fixture
async def notes(tmp_path: Path) -> AsyncIterator[SqliteKv]:
    store = await SqliteKv.open(tmp_path / "kv.db")
    yield store
    await store.close()


@pytest.fixture
def bucket(tmp_path: Path) -> DirectoryBlobs:
    return DirectoryBlobs(tmp_path / "bucket", data_url="http://127.0.0.1:1", data_key=KEY, part_bytes=PART_BYTES)


@pytest.fixture
def copier(main: MainStore, bucket: DirectoryBlobs, notes: SqliteKv) -> Copier:
    return Copier(bucket, main, [main.worker_key], notes)


def unheard(_: int) -> None:
    """Progress that nobody looks at."""


async def held(bucket: DirectoryBlobs, record: ArtifactRecord) -> bytes:
    return await bucket.read(regional_content_blob(record.release.digest))


def file_of(bucket: Path, digest: Digest) -> Path:
    return bucket / "blobs" / regional_content_blob(digest)


def assert_a_delta(copied: Copied, record: ArtifactRecord) -> None:
    """Not much more than the chunks around the place that was overwritten."""
    assert copied.fetched_bytes <= record.manifest_size + 3 * CHUNK_BYTES_MAX
    assert copied.reused_bytes > 10 * MIB


async def test_only_what_the_bucket_has_not_travels(main: MainStore, bucket: DirectoryBlobs, copier: Copier) -> None:
    old, new = await main.put("old", OLD), await main.put("new", NEW)
    whole = await copier.copy(old, unheard)
    assert whole.fetched_bytes > len(OLD)
    assert whole.reused_bytes == 0
    assert_a_delta(await copier.copy(new, unheard, [old.release.digest]), new)
    assert await held(bucket, new) == NEW


async def test_equal_content_under_another_name_does_not_travel(
    main: MainStore, bucket: DirectoryBlobs, copier: Copier
) -> None:
    old, more = await main.put("old", OLD), await main.put("more", OLD + OLD[: 4 * MIB])
    await copier.copy(old, unheard)
    copied = await copier.copy(more, unheard, [old.release.digest])
    assert copied.fetched_bytes <= more.manifest_size + 2 * CHUNK_BYTES_MAX, "the chunk at the seam, and no other"
    assert await held(bucket, more) == OLD + OLD[: 4 * MIB]


async def test_a_base_that_is_not_there_is_none(main: MainStore, bucket: DirectoryBlobs, copier: Copier) -> None:
    old, new = await main.put("old", OLD), await main.put("new", NEW)
    copied = await copier.copy(new, unheard, [old.release.digest, Digest("0" * 64)])
    assert copied.reused_bytes == 0
    assert await held(bucket, new) == NEW


async def test_a_base_whose_manifest_decayed_is_none(main: MainStore, bucket: DirectoryBlobs, copier: Copier) -> None:
    old, new = await main.put("old", OLD), await main.put("new", NEW)
    await copier.copy(old, unheard)
    key = regional_manifest_blob(old.release.digest)
    encoded = bytearray(await bucket.read(key))
    encoded[-1] ^= 1
    await bucket.delete(key)
    await bucket.put(key, bytes(encoded))
    copied = await copier.copy(new, unheard, [old.release.digest])
    assert copied.reused_bytes == 0
    assert await held(bucket, new) == NEW


async def test_chunks_that_decayed_in_the_bucket_are_fetched(
    main: MainStore, bucket: DirectoryBlobs, copier: Copier, tmp_path: Path
) -> None:
    old, new = await main.put("old", OLD), await main.put("new", NEW)
    await copier.copy(old, unheard)
    blob = file_of(tmp_path / "bucket", old.release.digest)
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"\0" * 1000)
    copied = await copier.copy(new, unheard, [old.release.digest])
    assert await held(bucket, new) == NEW
    assert copied.reused_bytes > 9 * MIB


class Unreadable(DirectoryBlobs):
    """A bucket whose disk cannot read what it has."""

    async def read_into(self, key: str, offset: int, buffer: memoryview) -> None:
        raise Unavailable("bucket_unusable", f"cannot read {key} from {offset} on, {len(buffer)} bytes")


async def test_what_the_buckets_disk_cannot_read_is_fetched(main: MainStore, notes: SqliteKv, tmp_path: Path) -> None:
    bucket = Unreadable(tmp_path / "bucket", data_url="http://127.0.0.1:1", data_key=KEY, part_bytes=PART_BYTES)
    copier = Copier(bucket, main, [main.worker_key], notes)
    old, new = await main.put("old", OLD), await main.put("new", NEW)
    await copier.copy(old, unheard)
    assert (await copier.copy(new, unheard, [old.release.digest])).reused_bytes == 0
    assert await held(bucket, new) == NEW


@pytest.mark.parametrize("lose", [lambda blob: blob.unlink(), lambda blob: blob.write_bytes(b"")], ids=["gone", "cut short"])
async def test_a_base_that_vanishes_in_the_middle_is_fetched(
    main: MainStore, bucket: DirectoryBlobs, copier: Copier, tmp_path: Path, lose: Callable[[Path], object]
) -> None:
    old, new = await main.put("old", OLD), await main.put("new", NEW)
    await copier.copy(old, unheard)
    blob = file_of(tmp_path / "bucket", old.release.digest)
    left = [blob]

    def progress(done: int) -> None:
        if done and left:
            left[0].chmod(0o644)
            lose(left.pop())

    copied = await copier.copy(new, progress, [old.release.digest])
    assert await held(bucket, new) == NEW
    assert copied.reused_bytes > 0
    assert copied.fetched_bytes > PART_BYTES


async def test_a_source_that_is_corrupt_where_it_is_read_is_refused(
    main: MainStore, bucket: DirectoryBlobs, copier: Copier
) -> None:
    old, new = await main.put("old", OLD), await main.put("new", NEW)
    await copier.copy(old, unheard)
    blob = main.directory / "blobs" / "new" / "content"
    blob.chmod(0o644)
    with blob.open("r+b") as file:
        file.seek(5 * MIB + 10)
        file.write(b"\0" * 10)
    with pytest.raises(Corrupt, match="chunk"):
        await copier.copy(new, unheard, [old.release.digest])
    assert await bucket.stat(regional_content_blob(new.release.digest)) is None


class Counting(Limiter):
    """A limit that nobody reaches, and how much was paid for."""

    def __init__(self) -> None:
        super().__init__(1 << 50)
        self.paid: list[tuple[str, int]] = []

    def pay(self, whose: str, size: int, still: Callable[[], bool]) -> bool:
        self.paid.append((whose, size))
        return super().pay(whose, size, still)


async def test_what_travels_is_paid_for_and_nothing_else(main: MainStore, bucket: DirectoryBlobs, notes: SqliteKv) -> None:
    limit = Counting()
    copier = Copier(bucket, main, [main.worker_key], notes, limit)
    old, new = await main.put("old", OLD), await main.put("new", NEW)
    whole, again = await copier.copy(old, unheard), await copier.copy(new, unheard, [old.release.digest])
    for record, copied in ((old, whole), (new, again)):
        assert sum(size for whose, size in limit.paid if whose == record.release.digest) == copied.fetched_bytes
    assert max(size for _, size in limit.paid) <= COPY_SLICE_BYTES, "others would wait for long"


async def test_a_copy_that_waits_for_its_limit_ends_when_it_is_told_to(
    main: MainStore, bucket: DirectoryBlobs, notes: SqliteKv
) -> None:
    limit = Limiter(RATE_BYTES_PER_S_MIN)
    copier = Copier(bucket, main, [main.worker_key], notes, limit)
    record = await main.put("old", OLD)
    begun = asyncio.Event()
    copying = asyncio.create_task(copier.copy(record, lambda _: begun.set()))
    await asyncio.wait_for(begun.wait(), 30)
    copying.cancel()
    await asyncio.wait([copying], timeout=30)
    assert copying.cancelled()
    limit.change(UNLIMITED)
    await copier.copy(record, unheard)
    assert await held(bucket, record) == OLD
