"""Read models of builds, artifacts and commits, and where an artifact is read from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from sqlalchemy import exists, func, select, union

from fleetcast.builds.log_blobs import kept_bytes
from fleetcast.builds.queue import build_of, count_ahead
from fleetcast.control.parts import Parts
from fleetcast.http import messages
from fleetcast.http.cursors import Row, page, place
from fleetcast.model.build import BuildStatus
from fleetcast.model.errors import NotFound
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, Digest, ServiceName
from fleetcast.model.limits import GRANT_LIFETIME_S
from fleetcast.model.messages.artifacts import Artifact, ArtifactPage, BuildDetail, BuildPage, CommitPage
from fleetcast.model.messages.regions import SourceGrants
from fleetcast.model.retention import Collection, Tier
from fleetcast.rollouts.services import known_service
from fleetcast.schema.columns import AnyRow, AnyRows
from fleetcast.schema.tables import artifacts, build_log, deployments, jobs, releases

_equal: Final = artifacts.alias()
_KEPT: Final = exists().where(_equal.c.digest == artifacts.c.digest, _equal.c.collection == Collection.KEPT)
ARTIFACTS: Final[AnyRows] = select(
    artifacts, releases.c.deployable, releases.c.collection.label("copies"), _KEPT.label("in_main")
).join(releases, releases.c.digest == artifacts.c.digest, isouter=True)
"""Rows for :func:`artifact_of`. The main store has an artifact where it has one with equal files."""


async def build_detail(parts: Parts, build: BuildId) -> BuildDetail:
    """Raises :class:`NotFound`."""
    shown = await parts.queue.get(build)
    async with parts.database.reading() as reading:
        rows = await reading.execute(
            select(func.coalesce(func.max(build_log.c.start + build_log.c.size), 0)).where(build_log.c.build_id == build)
        )
        log_bytes = int(rows.scalar_one()) or await kept_bytes(reading, build) or 0
        ahead = await count_ahead(reading, shown)
        version = hashlib.blake2s(messages.encode((shown, ahead)), digest_size=12).hexdigest()
        return BuildDetail(shown, ahead, log_bytes, version)


@dataclass(frozen=True, slots=True)
class WantedBuilds:
    """What a list of builds is narrowed to; ``None``: all."""

    service: ServiceName | None = None
    commit_sha: CommitSha | None = None
    status: BuildStatus | None = None


async def build_page(parts: Parts, wanted: WantedBuilds, after: str, limit: int) -> BuildPage:
    """Newest first. Raises :class:`NotFound` for a service that never was; of a removed one there are some still."""
    rows = select(jobs).order_by(jobs.c.id.desc()).limit(limit + 1)
    for column, value in (
        (jobs.c.service, wanted.service),
        (jobs.c.commit_sha, wanted.commit_sha),
        (jobs.c.status, wanted.status),
    ):
        if value is not None:
            rows = rows.where(column == value)
    if (behind := place(after, Row)) is not None:
        rows = rows.where(jobs.c.id < behind)
    found = await _of_service(parts, wanted.service, rows)
    return BuildPage(*page(tuple(map(build_of, found)), limit, lambda build: build.id))


async def artifact_page(parts: Parts, service: ServiceName | None, after: str, limit: int) -> ArtifactPage:
    """Newest first. Raises as :func:`build_page`."""
    rows = ARTIFACTS.order_by(artifacts.c.id.desc()).limit(limit + 1)
    if service is not None:
        rows = rows.where(artifacts.c.service == service)
    if (behind := place(after, Row)) is not None:
        rows = rows.where(artifacts.c.id < behind)
    found, following = page(await _of_service(parts, service, rows), limit, lambda row: row.id)
    return ArtifactPage(tuple(map(artifact_of, found)), following)


async def commit_page(parts: Parts, service: ServiceName, prefix: str, after: str, limit: int) -> CommitPage:
    """By SHA, those that begin with ``prefix``: hex digits. Raises as :func:`build_page`."""
    known = union(*(select(table.c.commit_sha).where(table.c.service == service) for table in (jobs, artifacts, deployments)))
    sha = known.subquery().c.commit_sha
    rows = select(sha).where(sha > (place(after, str) or "")).order_by(sha).limit(limit + 1)
    if prefix:
        rows = rows.where(sha >= prefix, sha < f"{prefix}g")
    found = await _of_service(parts, service, rows)
    return CommitPage(*page(tuple(CommitSha(row.commit_sha) for row in found), limit, lambda commit: commit))


async def source_of(parts: Parts, digest: Digest) -> SourceGrants:
    """Read grants on the main store's copy of an artifact. Raises :class:`NotFound`."""
    # The newest: it names the blobs of an older artifact with equal files, unless those were lost.
    named = select(artifacts).where(artifacts.c.digest == digest).order_by(artifacts.c.id.desc())
    kept = named.where(artifacts.c.collection == Collection.KEPT).limit(1)
    async with parts.database.reading() as reading:
        row = (await reading.execute(kept)).one_or_none()
        gone = (await reading.execute(named.limit(1))).one_or_none() if row is None else None
    if row is None and gone is not None:
        again = f"fleetcast build {gone.service}@{gone.commit_sha} --rebuild builds it again"
        raise NotFound("artifact_collected", f"{gone.name} was collected ({gone.collected_why}): {again}")
    if row is None:
        raise NotFound("unknown_artifact", f"no artifact has the digest {digest}")
    return SourceGrants(
        digest=digest,
        manifest=await parts.main.read_grant(row.manifest_blob, lifetime_s=GRANT_LIFETIME_S),
        content=await parts.main.read_grant(row.content_blob, lifetime_s=GRANT_LIFETIME_S),
    )


async def digest_of(parts: Parts, name: ArtifactName) -> Digest:
    """Raises :class:`NotFound`."""
    async with parts.database.reading() as reading:
        found = await reading.execute(select(artifacts.c.digest).where(artifacts.c.name == name))
        digest = found.scalar_one_or_none()
    if digest is None:
        raise unknown_artifact(name)
    return Digest(digest)


def unknown_artifact(name: ArtifactName) -> NotFound:
    return NotFound(
        "unknown_artifact",
        f"there is no artifact {name}: fleetcast artifact list shows those there are, fleetcast build makes one",
    )


async def _of_service(parts: Parts, service: ServiceName | None, rows: AnyRows) -> list[AnyRow]:
    """``rows``, which are those of ``service``. Raises :class:`NotFound` for one that never was."""
    async with parts.database.reading() as reading:
        if service is not None:
            await known_service(reading, service)
        return list((await reading.execute(rows)).all())


def artifact_of(row: AnyRow) -> Artifact:
    """Of a row of :data:`ARTIFACTS`."""
    return Artifact(
        name=ArtifactName(row.name),
        service=ServiceName(row.service),
        commit_sha=CommitSha(row.commit_sha),
        build=BuildId(row.build_id),
        digest=Digest(row.digest),
        content_bytes=row.content_size,
        created_at_ms=row.created_at,
        deployable=bool(row.deployable),
        pinned=row.pinned_at is not None,
        collected=_collected(row),
        collected_why="" if row.in_main else row.collected_why,
    )


def _collected(row: AnyRow) -> Tier | None:
    if not row.in_main:
        return Tier.MAIN
    return Tier.REGIONS if row.copies in (Collection.COLLECTING, Collection.COLLECTED) else None
