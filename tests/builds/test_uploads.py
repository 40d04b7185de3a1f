"""From two uploads to an artifact: what a commit accepts, and what it leaves behind. Real files, signatures and SQL."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, update

from fleetcast.artifacts.packing import pack
from fleetcast.artifacts.signing import (
    PrivateKey,
    envelope_digest,
    generate_key,
    load_private,
    load_public,
    sign_root,
    verify_root,
)
from fleetcast.builds.queue import BuildQueue, Claim
from fleetcast.builds.uploads import BuildUploads
from fleetcast.model.build import BuildStatus
from fleetcast.model.errors import Conflict, Invalid, Stale, Unprocessable
from fleetcast.model.ids import BuildId, Digest
from fleetcast.model.messages.builds import CommitRequest, FinishedUpload
from fleetcast.model.retention import Collection
from fleetcast.schema.tables import artifacts
from fleetcast.stores.data_port import DataPort
from fleetcast.stores.database import Database
from fleetcast.stores.directory_blobs import DirectoryBlobs
from roots import root_of

Enqueue = Callable[..., Awaitable[BuildId]]
KEY = b"k" * 32
PART_BYTES = 1024


@dataclass
class Bench:
    """A worker's hands: packs an output, uploads it part by part, signs a root."""

    queue: BuildQueue
    uploads: BuildUploads
    main: DirectoryBlobs
    key: PrivateKey
    output: Path

    async def claim(self) -> Claim:
        claim = await self.queue.claim("w1")
        assert claim is not None
        return claim

    async def uploaded(self, claim: Claim, **lies: object) -> CommitRequest:
        """Everything up to the commit. ``lies``: fields of the root that are not as they should be."""
        content = bytearray()
        packed = pack(self.output, lambda block: content.extend(block))
        build = claim.build
        about = {"artifact": build.name, "service": build.service, "commit_sha": build.commit_sha}
        root = root_of(packed, **{**about, "build": build.id, "attempt": build.attempt, **lies})
        envelope = sign_root(root, self.key)
        return CommitRequest(
            claim.token,
            envelope,
            await self._upload(claim, "content", bytes(content)),
            await self._upload(claim, "manifest", packed.manifest),
        )

    async def _upload(self, claim: Claim, blob: str, data: bytes) -> FinishedUpload:
        opened = await self.uploads.open(claim.build.id, claim.token, blob)
        assert opened.part_bytes == PART_BYTES
        store_upload = opened.upload.removeprefix(f"{blob}.")
        key = f"builds/{claim.build.id}/{claim.build.attempt}/{blob}"
        pieces = [data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES)]
        receipts = [
            await self.main.write_part(key, store_upload, number, memoryview(piece)) for number, piece in enumerate(pieces, 1)
        ]
        return FinishedUpload(opened.upload, tuple(receipts))


@pytest.fixture
def port(tmp_path: Path) -> Iterator[DataPort]:
    (tmp_path / "main").mkdir()
    port = DataPort(tmp_path / "main", KEY, "127.0.0.1", 0)
    port.start()
    yield port
    port.close()


@pytest.fixture
async def bench(tmp_path: Path, database: Database, queue: BuildQueue, port: DataPort) -> Bench:
    generate_key(tmp_path / "key", tmp_path / "key.pub")
    main = DirectoryBlobs(tmp_path / "main", data_url=port.url, data_key=KEY, part_bytes=PART_BYTES)
    output = tmp_path / "output"
    output.mkdir()
    (output / "hello.txt").write_text("hello " * 1000)
    uploads = BuildUploads(database, queue, main, [load_public(tmp_path / "key.pub")])
    return Bench(queue, uploads, main, load_private(tmp_path / "key"), output)


async def _artifacts(database: Database) -> list[tuple[str, str, str]]:
    async with database.reading() as reading:
        rows = await reading.execute(select(artifacts).order_by(artifacts.c.id))
        return [(row.name, row.content_blob, row.manifest_blob) for row in rows]


async def _refused(database: Database, bench: Bench, claim: Claim) -> None:
    """The commit left no artifact, and the attempt still holds its build."""
    assert await _artifacts(database) == []
    assert (await bench.queue.get(claim.build.id)).status is BuildStatus.RUNNING


async def test_a_commit_makes_an_artifact_and_ends_the_build(database: Database, bench: Bench, enqueue: Enqueue) -> None:
    await enqueue()
    claim = await bench.claim()
    request = await bench.uploaded(claim)
    assert await bench.uploads.commit(claim.build.id, claim.token, request) is BuildStatus.SUCCEEDED
    assert await bench.uploads.commit(claim.build.id, claim.token, request) is BuildStatus.SUCCEEDED

    build = await bench.queue.get(claim.build.id)
    assert (build.status, build.blob) == (BuildStatus.SUCCEEDED, "builds/1/1/content")
    assert await bench.main.read(build.blob) == b"hello " * 1000
    async with database.reading() as reading:
        row = (await reading.execute(select(artifacts))).one()
    assert (row.name, row.envelope, row.root) == (build.name, request.envelope, envelope_digest(request.envelope))
    assert (row.content_size, row.trunk) == (6000, "main")


async def test_the_same_commit_sent_twice_at_once_is_one_artifact(database: Database, bench: Bench, enqueue: Enqueue) -> None:
    await enqueue()
    claim = await bench.claim()
    request = await bench.uploaded(claim)
    answers = await asyncio.gather(*(bench.uploads.commit(claim.build.id, claim.token, request) for _ in range(4)))
    assert set(answers) == {BuildStatus.SUCCEEDED}
    assert len(await _artifacts(database)) == 1


async def test_equal_files_are_stored_once(database: Database, bench: Bench, enqueue: Enqueue) -> None:
    await enqueue("a")
    await enqueue("b")
    for _ in range(2):
        claim = await bench.claim()
        await bench.uploads.commit(claim.build.id, claim.token, await bench.uploaded(claim))
    first, second = await _artifacts(database)
    assert first[0] != second[0]
    assert first[1:] == second[1:] == ("builds/1/1/content", "builds/1/1/manifest")
    assert await bench.main.stat("builds/2/1/content") is None
    assert (await bench.queue.get(BuildId(2))).blob == "builds/1/1/content"


async def test_an_earlier_artifact_whose_blob_vanished_is_not_relied_on(
    database: Database, bench: Bench, enqueue: Enqueue
) -> None:
    await enqueue("a")
    await enqueue("b")
    claim = await bench.claim()
    await bench.uploads.commit(claim.build.id, claim.token, await bench.uploaded(claim))
    await bench.main.delete("builds/1/1/content")
    claim = await bench.claim()
    await bench.uploads.commit(claim.build.id, claim.token, await bench.uploaded(claim))
    assert (await _artifacts(database))[1][1] == "builds/2/1/content"


async def test_a_stale_attempt_can_do_nothing(database: Database, bench: Bench, enqueue: Enqueue) -> None:
    build = await enqueue()
    lost = await bench.claim()
    request = await bench.uploaded(lost)
    await bench.queue.fail(build, lost.token, "worker stopping", hand_back=True)
    holder = await bench.claim()
    for late in (
        lambda: bench.uploads.open(build, lost.token, "content"),
        lambda: bench.uploads.grants(build, lost.token, request.content.upload, 1, 1),
        lambda: bench.uploads.commit(build, lost.token, request),
    ):
        with pytest.raises(Stale):
            await late()
    with pytest.raises(Invalid, match="attempt"):  # the old root under the new token is about another attempt
        await bench.uploads.commit(build, holder.token, request)
    await _refused(database, bench, holder)


async def test_a_signature_of_somebody_else_is_refused(
    tmp_path: Path, database: Database, bench: Bench, enqueue: Enqueue
) -> None:
    generate_key(tmp_path / "other", tmp_path / "other.pub")
    bench.key = load_private(tmp_path / "other")
    await enqueue()
    claim = await bench.claim()
    with pytest.raises(Unprocessable, match="none of the installed worker keys"):
        await bench.uploads.commit(claim.build.id, claim.token, await bench.uploaded(claim))
    await _refused(database, bench, claim)


async def test_what_a_void_attempt_left_open_is_swept_away_and_nothing_else(
    database: Database, bench: Bench, enqueue: Enqueue, port: DataPort
) -> None:
    await enqueue()
    lost = await bench.claim()
    await bench.uploaded(lost)
    assert await bench.uploads.sweep() == 0, "it holds the build"
    await bench.queue.fail(lost.build.id, lost.token, "worker stopping", hand_back=True)
    assert await bench.uploads.sweep() == 2

    claim = await bench.claim()
    assert claim.build.attempt == 2
    request = await bench.uploaded(claim)
    foreign = await bench.main.begin("artifacts/other/content")
    assert await bench.uploads.sweep() == 0
    assert await bench.uploads.commit(claim.build.id, claim.token, request) is BuildStatus.SUCCEEDED
    assert await bench.uploads.sweep() == 0
    assert [each.id for each in await bench.main.uploads("")] == [foreign]
    assert await bench.main.read("builds/1/2/content") == b"hello " * 1000


@pytest.mark.parametrize("lie", [{"content_size": 5999}, {"digest": Digest("0" * 64)}])
async def test_what_the_root_says_must_be_what_was_uploaded(
    database: Database, bench: Bench, enqueue: Enqueue, lie: dict[str, object]
) -> None:
    await enqueue()
    claim = await bench.claim()
    with pytest.raises(Unprocessable):
        await bench.uploads.commit(claim.build.id, claim.token, await bench.uploaded(claim, **lie))
    await _refused(database, bench, claim)


async def test_a_root_about_another_commit_is_refused(database: Database, bench: Bench, enqueue: Enqueue) -> None:
    await enqueue()
    claim = await bench.claim()
    with pytest.raises(Invalid, match="the root is about"):
        await bench.uploads.commit(claim.build.id, claim.token, await bench.uploaded(claim, commit_sha="b" * 40))
    await _refused(database, bench, claim)


async def test_a_granted_url_takes_its_part(bench: Bench, enqueue: Enqueue) -> None:
    build = await enqueue()
    claim = await bench.claim()
    opened = await bench.uploads.open(build, claim.token, "content")
    grants = (await bench.uploads.grants(build, claim.token, opened.upload, 3, 2)).grants
    assert len(grants) == 2

    def send() -> str:
        request = urllib.request.Request(
            grants[0].url, data=b"x" * PART_BYTES, method=grants[0].method, headers=grants[0].headers
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.headers["ETag"])

    assert await asyncio.to_thread(send)
    parts = await bench.main.parts("builds/1/1/content", opened.upload.removeprefix("content."))
    assert [(part.number, part.size) for part in parts] == [(3, PART_BYTES)]


async def test_part_numbers_are_bounded(bench: Bench, enqueue: Enqueue) -> None:
    build = await enqueue()
    claim = await bench.claim()
    opened = await bench.uploads.open(build, claim.token, "manifest")
    with pytest.raises(Invalid):
        await bench.uploads.grants(build, claim.token, opened.upload, 10_000, 2)


async def test_only_content_and_manifest_are_uploaded(bench: Bench, enqueue: Enqueue) -> None:
    build = await enqueue()
    claim = await bench.claim()
    with pytest.raises(Invalid, match="no upload that was opened here"):
        await bench.uploads.grants(build, claim.token, "secrets.0123", 1, 1)


async def test_blobs_that_are_being_collected_are_not_named_again(database: Database, bench: Bench, enqueue: Enqueue) -> None:
    """Equal files were built before, and that artifact is collected in the middle of this one's commit."""
    await enqueue()
    first = await bench.claim()
    await bench.uploads.commit(first.build.id, first.token, await bench.uploaded(first))
    await enqueue(number=2)
    second = await bench.claim()
    request = await bench.uploaded(second)
    root = verify_root(request.envelope, bench.uploads._worker_keys)
    job = await bench.uploads._holder(second.build.id, second.token)
    earlier = await bench.uploads._earlier_blobs(root)
    assert earlier is not None
    async with database.transaction() as tx:
        await tx.execute(update(artifacts).values(collection=Collection.COLLECTING))

    with pytest.raises(Conflict):
        await bench.uploads._record(job, second.token, root, request.envelope, *earlier)
    assert await bench.uploads.commit(second.build.id, second.token, request) is BuildStatus.SUCCEEDED
    assert (await _artifacts(database))[1][1:] == ("builds/2/1/content", "builds/2/1/manifest")
