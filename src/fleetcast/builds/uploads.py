"""From a worker's uploads to an artifact: grants for parts, then one commit that decides which attempt counts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from sqlalchemy import select

from fleetcast.artifacts.manifest import manifest_digest
from fleetcast.artifacts.signing import PublicKey, envelope_digest, verify_root
from fleetcast.builds.queue import BuildQueue
from fleetcast.model.artifact import Root
from fleetcast.model.build import BuildStatus
from fleetcast.model.errors import Conflict, Corrupt, Invalid, Stale, Unprocessable
from fleetcast.model.ids import BuildId, Token
from fleetcast.model.limits import BLOB_PARTS_MAX, GRANT_LIFETIME_S
from fleetcast.model.messages.builds import Blob, CommitRequest, FinishedUpload, PartGrants, UploadOpened
from fleetcast.model.retention import Collection
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.tables import artifacts, jobs
from fleetcast.stores.blobs import BlobStore
from fleetcast.stores.database import Database

log = structlog.get_logger(__name__)

CONTENT: Final = "content"
MANIFEST: Final = "manifest"


class BuildUploads:
    """Blobs are named ``builds/<build>/<attempt>/content|manifest``: no attempt can touch another's.

    An upload's id is the store's, prefixed with the blob it is for: ``content.<id>``. Nothing is kept here between calls.
    """

    def __init__(self, database: Database, queue: BuildQueue, main: BlobStore, worker_keys: Sequence[PublicKey]) -> None:
        self._database = database
        self._queue = queue
        self._main = main
        self._worker_keys = worker_keys

    async def open(self, build: BuildId, token: Token, blob: Blob) -> UploadOpened:
        """Open an upload. Raises :class:`Stale`: the attempt does not hold the build any more."""
        job = await self._holder(build, token)
        upload = await self._main.begin(_key(job, blob))
        return UploadOpened(f"{blob}.{upload}", self._main.part_bytes)

    async def grants(self, build: BuildId, token: Token, upload: str, first: int, count: int) -> PartGrants:
        """URLs for parts ``first .. first + count - 1``, at most ``BUILD_GRANTS_MAX`` of them.

        Each takes up to ``part_bytes``: which part is the last, and how short, nobody knows yet.

        Raises:
            Stale: the attempt does not hold the build any more.
            Unprocessable: the last of these parts is beyond the last that an upload may have.
            NotFound: no such upload.
        """
        if first + count - 1 > BLOB_PARTS_MAX:
            raise Unprocessable(
                "illegal_parts", f"parts are numbered 1 to {BLOB_PARTS_MAX}: there are not {count} from {first} on"
            )
        job = await self._holder(build, token)
        blob, store_upload = _split(upload)
        size = self._main.part_bytes
        return PartGrants(
            tuple(
                [
                    await self._main.part_grant(_key(job, blob), store_upload, number, size, lifetime_s=GRANT_LIFETIME_S)
                    for number in range(first, first + count)
                ]
            )
        )

    async def commit(self, build: BuildId, token: Token, request: CommitRequest) -> BuildStatus:
        """Complete both uploads, record the artifact and end the build SUCCEEDED. Repeatable with the same token.

        Raises:
            Stale: the attempt does not hold the build any more; its blobs stay unnamed by any artifact.
            Unprocessable: signature, sizes or the manifest's digest are not what they must be, the root is about another
                build, or parts are missing.
        """
        job = await self._job(build)
        if job is not None and (job.status, job.token) == (BuildStatus.SUCCEEDED, token):
            return BuildStatus.SUCCEEDED
        job = await self._holder(build, token)
        root = self._verified(request.envelope)
        _must_be_about(root, job)
        if not await self._recorded_as_earlier(job, token, root, request):
            content, manifest = await self._completed(job, root, request)
            await self._record(job, token, root, request.envelope, content, manifest)
        log.info("artifact_recorded", build=build, artifact=root.artifact, digest=root.digest, content_bytes=root.content_size)
        return BuildStatus.SUCCEEDED

    async def sweep(self) -> int:
        """Drop what void attempts have left open: half an artifact each, that nobody will ever complete. How many it were.

        Safe at any time and to run twice. Nothing of a void attempt is opened any more, so the builds are looked at second.
        """
        found = await self._main.uploads("builds/")
        held = select(jobs.c.id, jobs.c.attempt).where(jobs.c.status == BuildStatus.RUNNING)
        async with self._database.reading() as reading:
            live = tuple(_prefix(row) for row in (await reading.execute(held)).all()) if found else ()
        left = [upload for upload in found if not upload.key.startswith(live)]
        for upload in left:
            log.info("upload_dropped", key=upload.key)
            await self._main.abort(upload.key, upload.id)
        return len(left)

    def _verified(self, envelope: str) -> Root:
        try:
            return verify_root(envelope, self._worker_keys)
        except Corrupt as error:  # from a worker these bytes are its request, and nothing of ours is broken
            raise Unprocessable(error.code, error.message) from None

    async def _completed(self, job: AnyRow, root: Root, request: CommitRequest) -> tuple[str, str]:
        """Keys of content and manifest, complete in the main store and as large as the root says."""
        content = await self._complete(job, CONTENT, request.content, root.content_size)
        manifest = await self._complete(job, MANIFEST, request.manifest, root.manifest_size)
        data = await self._main.read(manifest)
        actual = await asyncio.to_thread(manifest_digest, data)
        if actual != root.digest:
            raise Unprocessable(
                "wrong_manifest", f"the manifest of build {job.id} has digest {actual}, its root says {root.digest}"
            )
        return content, manifest

    async def _complete(self, job: AnyRow, blob: str, finished: FinishedUpload, size: int) -> str:
        named, upload = _split(finished.upload)
        if named != blob:
            raise Unprocessable("wrong_upload", f"{finished.upload!r} is no upload of the {blob}")
        stat = await self._main.complete(_key(job, blob), upload, finished.parts)
        if stat.size != size:
            raise Unprocessable("wrong_size", f"the {blob} of build {job.id} has {stat.size} bytes, its root says {size}")
        return stat.key

    async def _recorded_as_earlier(self, job: AnyRow, token: Token, root: Root, request: CommitRequest) -> bool:
        """Name the blobs of an earlier artifact with equal files, if there are any, and drop the uploads."""
        earlier = await self._earlier_blobs(root)
        if earlier is None:
            return False
        try:
            await self._record(job, token, root, request.envelope, *earlier)
        except Conflict:
            return False  # they were collected meanwhile
        for finished in (request.content, request.manifest):
            blob, upload = _split(finished.upload)
            await self._main.abort(_key(job, blob), upload)
        return True

    async def _earlier_blobs(self, root: Root) -> tuple[str, str] | None:
        """Keys of an earlier artifact with equal files, if both blobs are still there."""
        equal = (
            select(artifacts.c.content_blob, artifacts.c.manifest_blob)
            .where(artifacts.c.digest == root.digest, artifacts.c.content_size == root.content_size)
            .where(artifacts.c.collection == Collection.KEPT)
            .order_by(artifacts.c.id)
            .limit(1)
        )
        async with self._database.reading() as reading:
            row = (await reading.execute(equal)).one_or_none()
        if row is None:
            return None
        content, manifest = await self._main.stat(row.content_blob), await self._main.stat(row.manifest_blob)
        if content is None or manifest is None or (content.size, manifest.size) != (root.content_size, root.manifest_size):
            return None
        return content.key, manifest.key

    async def _record(self, job: AnyRow, token: Token, root: Root, envelope: str, content: str, manifest: str) -> None:
        artifact = {
            "name": job.name,
            "service": job.service,
            "commit_sha": job.commit_sha,
            "build_number": job.build_number,
            "build_id": job.id,
            "attempt": job.attempt,
            "trunk": job.trunk,
            "digest": root.digest,
            "root": envelope_digest(envelope),
            "envelope": envelope,
            "manifest_size": root.manifest_size,
            "content_size": root.content_size,
            "manifest_blob": manifest,
            "content_blob": content,
        }
        await self._queue.publish(BuildId(job.id), token, content, artifact)

    async def _holder(self, build: BuildId, token: Token) -> AnyRow:
        job = await self._job(build)
        if job is None or (job.status, job.token) != (BuildStatus.RUNNING, token):
            raise Stale("stale_token", f"build {build} is not held by this token any more: stop it")
        return job

    async def _job(self, build: BuildId) -> AnyRow | None:
        async with self._database.reading() as reading:
            return (await reading.execute(select(jobs).where(jobs.c.id == build))).one_or_none()


def _key(job: AnyRow, blob: str) -> str:
    return _prefix(job) + blob


def _prefix(job: AnyRow) -> str:
    return f"builds/{job.id}/{job.attempt}/"


def _split(upload: str) -> tuple[str, str]:
    blob, dot, store_upload = upload.partition(".")
    if blob not in (CONTENT, MANIFEST) or not dot or not store_upload:
        raise Invalid("illegal_upload", f"{upload!r} is no upload that was opened here")
    return blob, store_upload


def _must_be_about(root: Root, job: AnyRow) -> None:
    said = (root.artifact, root.service, root.commit_sha, root.build, root.attempt)
    meant = (job.name, job.service, job.commit_sha, job.id, job.attempt)
    if said != meant:
        raise Unprocessable(
            "wrong_root",
            f"the root is about {said[0]} (build {said[3]}, attempt {said[4]}), "
            f"not {meant[0]} (build {meant[3]}, attempt {meant[4]})",
        )
