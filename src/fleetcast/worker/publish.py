"""Publishing an attempt's output: packed, uploaded and hashed in one pass, then described, signed and committed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from fleetcast.artifacts.chunking import manifest_pieces
from fleetcast.artifacts.manifest import manifest_digest
from fleetcast.artifacts.packing import Packed, PackingStopped, pack
from fleetcast.artifacts.signing import PrivateKey, sign_root
from fleetcast.client.builds import Builds
from fleetcast.model.artifact import Root
from fleetcast.model.build import Recipe
from fleetcast.model.errors import Forbidden, Unavailable
from fleetcast.model.limits import (
    HEALTH_TIMEOUT_S,
    HTTP_TIMEOUT_S,
    UPLOAD_GRANTS_AT_ONCE,
    UPLOAD_PART_ATTEMPTS_MAX,
    WORKER_BACKOFF_S_MAX,
)
from fleetcast.model.messages.builds import Blob, ClaimedBuild, CommitRequest, FinishedUpload, UploadOpened
from fleetcast.model.messages.grants import Grant, PartReceipt
from fleetcast.stores.transfer import GrantConnection
from fleetcast.worker.backoff import delay_s
from fleetcast.worker.patience import until_answered

log = structlog.get_logger(__name__)

GetGrants = Callable[[int, int], Sequence[Grant]]
"""Grants for so many parts from a first one on; called in the uploading thread."""


@dataclass(frozen=True, slots=True)
class Uploaded:
    """An output in the main store, not yet named by any artifact."""

    packed: Packed
    content: FinishedUpload
    manifest: FinishedUpload


class PartUpload:
    """One upload, part by part, from one thread."""

    def __init__(
        self,
        opened: UploadOpened,
        get_grants: GetGrants,
        connection: GrantConnection,
        stopped: threading.Event,
        rng: random.Random,
    ) -> None:
        self.part_bytes = opened.part_bytes
        self._upload = opened.upload
        self._get_grants = get_grants
        self._connection = connection
        self._stopped = stopped
        self._rng = rng
        self._grants: dict[int, Grant] = {}
        self._receipts: list[PartReceipt] = []

    @property
    def parts(self) -> int:
        """How many have been sent."""
        return len(self._receipts)

    def send(self, part: memoryview) -> None:
        """Send the next part: ``part_bytes`` long, the last one shorter.

        Raises:
            Unavailable: it could not be sent in ``UPLOAD_PART_ATTEMPTS_MAX`` attempts.
            PackingStopped: told to stop between two attempts.
        """
        number = self.parts + 1
        failures = 0
        while True:
            try:
                etag = self._connection.write(self._grant(number), part)
                break
            except (Unavailable, Forbidden) as error:
                failures += 1
                if failures >= UPLOAD_PART_ATTEMPTS_MAX:
                    raise Unavailable("upload_failed", f"part {number} could not be uploaded: {error.message}") from error
                # A grant that is refused has expired.
                self._grants.clear()
                log.warning("part_failed", upload=self._upload, part=number, reason=error.message)
                if self._stopped.wait(delay_s(failures, self._rng, WORKER_BACKOFF_S_MAX)):
                    raise PackingStopped from error
        self._receipts.append(PartReceipt(number, len(part), etag))

    def finished(self) -> FinishedUpload:
        return FinishedUpload(self._upload, tuple(self._receipts))

    def _grant(self, number: int) -> Grant:
        if number not in self._grants:
            grants = self._get_grants(number, UPLOAD_GRANTS_AT_ONCE)
            self._grants = dict(enumerate(grants, number))
        return self._grants[number]


class Publisher:
    """Publishes for one attempt."""

    def __init__(
        self, builds: Builds, claimed: ClaimedBuild, key: PrivateKey, rng: random.Random, step: Callable[[str], None]
    ) -> None:
        """``step`` is told how far it is: ``uploading`` when the first part is in the store, ``uploaded``, ``committed``."""
        self._builds = builds
        self._claimed = claimed
        self._key = key
        self._rng = rng
        self._step = step

    async def publish(self, output: Path, recipe: Recipe) -> Root:
        """Make ``output`` the build's artifact; the build is SUCCEEDED when this returns.

        Raises:
            Invalid: the output cannot be an artifact.
            Stale: the attempt's token is void.
            Unavailable: the store could not be reached, again and again.
        """
        uploaded = await self._upload(output)
        self._step("uploaded")
        root = self._root(uploaded.packed, recipe)
        request = CommitRequest(self._claimed.token, sign_root(root, self._key), uploaded.content, uploaded.manifest)
        await until_answered(lambda: self._builds.commit(self._claimed.build, request), self._rng)
        self._step("committed")
        log.info("published", build=self._claimed.build, digest=root.digest, content_bytes=root.content_size)
        return root

    async def _upload(self, output: Path) -> Uploaded:
        content, manifest = [await self._open(blob) for blob in ("content", "manifest")]
        loop = asyncio.get_running_loop()
        stopped = threading.Event()
        thread = loop.run_in_executor(None, self._upload_in_thread, output, content, manifest, loop, stopped)
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            # The thread reads the output: it has to end before anybody removes that.
            stopped.set()
            while not thread.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({thread})
            raise

    def _upload_in_thread(
        self,
        output: Path,
        content: UploadOpened,
        manifest: UploadOpened,
        loop: asyncio.AbstractEventLoop,
        stopped: threading.Event,
    ) -> Uploaded:
        with GrantConnection() as connection:

            def upload(opened: UploadOpened) -> PartUpload:
                return PartUpload(opened, self._grants_from_thread(opened, loop), connection, stopped, self._rng)

            contents, manifests = upload(content), upload(manifest)

            def send(part: memoryview) -> None:
                contents.send(part)
                if contents.parts == 1:
                    self._step("uploading")

            packed = pack(output, send, stopped.is_set, block_bytes=contents.part_bytes)
            view = memoryview(packed.manifest)
            for start in range(0, len(view), manifests.part_bytes):
                manifests.send(view[start : start + manifests.part_bytes])
            return Uploaded(packed, contents.finished(), manifests.finished())

    async def _open(self, blob: Blob) -> UploadOpened:
        return await until_answered(lambda: self._builds.open_upload(self._claimed.build, self._claimed.token, blob), self._rng)

    def _grants_from_thread(self, opened: UploadOpened, loop: asyncio.AbstractEventLoop) -> GetGrants:
        def get(first: int, count: int) -> Sequence[Grant]:
            call = self._builds.part_grants(self._claimed.build, self._claimed.token, opened.upload, first, count)
            return asyncio.run_coroutine_threadsafe(call, loop).result(2 * HTTP_TIMEOUT_S).grants

        return get

    def _root(self, packed: Packed, recipe: Recipe) -> Root:
        return Root(
            artifact=self._claimed.name,
            service=self._claimed.service,
            commit_sha=self._claimed.commit_sha,
            build=self._claimed.build,
            attempt=self._claimed.attempt,
            built_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            digest=manifest_digest(packed.manifest),
            manifest_size=len(packed.manifest),
            manifest_pieces=manifest_pieces(packed.manifest),
            content_size=packed.content_size,
            content_sha256=packed.content_sha256,
            files=packed.files,
            chunks=packed.chunks,
            activate=recipe.activate or "",
            health=recipe.health or "",
            health_timeout_s=recipe.health_timeout_s if recipe.health_timeout_s is not None else HEALTH_TIMEOUT_S,
            environment=recipe.environment,
            hooks=recipe.hooks,
            probe=recipe.probe,
            sockets=recipe.sockets,
            user=recipe.user or "",
            drain_s=recipe.drain_s or 0.0,
        )
