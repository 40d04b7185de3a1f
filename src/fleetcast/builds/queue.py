"""The build queue: rows of ``jobs``, claimed oldest first, each claim with a token that voids the one before it (law 1)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import Update, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.builds.clock_jumps import JobClock
from fleetcast.builds.lease_rules import Lease, QueueLimits, Verdict, given_up, judge
from fleetcast.model.build import ABORTED, Build, BuildOrder, BuildStatus, Recipe
from fleetcast.model.errors import NotFound, Refused, Stale
from fleetcast.model.event import EventKind
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, ServiceName, Token
from fleetcast.model.limits import BUILD_REASON_CHARS_MAX, TOKEN_BYTES
from fleetcast.model.lines import one_line
from fleetcast.schema.columns import AnyRow, AnyRows
from fleetcast.schema.events import record_event
from fleetcast.schema.tables import build_log, jobs
from fleetcast.stores.database import Database, now_ms, read_clock_ms

__all__ = ["BuildQueue", "Claim", "QueueLimits", "build_of", "count_ahead", "held_job"]

log = structlog.get_logger(__name__)

_LIVE: Final = (BuildStatus.QUEUED, BuildStatus.RUNNING)
_ORDER: Final = (jobs.c.created_at, jobs.c.id)
"""In which builds are claimed."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt, and the token that every write of it names."""

    build: Build
    token: Token
    repository: str
    trunk: str
    recipe: Recipe


class BuildQueue:
    """All operations are one transaction each, but :meth:`enqueue`, which is part of its caller's.

    ``on_queued`` is called after a job became claimable here; whoever passes a transaction to :meth:`enqueue` calls it
    after the commit. Other processes' jobs are found by polling.
    """

    def __init__(
        self,
        database: Database,
        limits: QueueLimits,
        on_queued: Callable[[], None] = lambda: None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """``steady``: seconds that never jump, by which jumps of the database's clock are seen."""
        self._clock = JobClock(database, steady)
        self._database = database
        self._limits = limits
        self.on_queued = on_queued

    async def begin(self) -> None:
        """To be called once by a control process that starts; see :meth:`JobClock.begin`."""
        await self._clock.begin()

    async def enqueue(self, tx: AsyncConnection, order: BuildOrder, *, for_itself: bool = False) -> BuildId:
        """Queue a build, or share the one of the same name that is QUEUED or RUNNING.

        ``for_itself``: somebody wants it whatever becomes of deployments.

        Raises:
            Refused: that one was ordered with another repository, trunk or recipe, so its result would be another.
        """
        # Locked, so that it is not stopped between this look and the commit of who shares it.
        shared = select(jobs).where(jobs.c.name == order.name, jobs.c.status.in_(_LIVE)).with_for_update()
        live = (await tx.execute(shared)).one_or_none()
        if live is not None:
            if (live.repository, live.trunk, live.recipe) != (order.repository, order.trunk, order.recipe):
                raise Refused(
                    "build_differs",
                    f"build {live.id} of {order.name} is under way with another repository, trunk or recipe: "
                    "wait for it to end, then deploy again",
                )
            if for_itself:
                await tx.execute(update(jobs).where(jobs.c.id == live.id).values(for_itself=True))
            return BuildId(live.id)
        added = await tx.execute(
            insert(jobs)
            .values(
                created_at=now_ms(),
                queued_at=now_ms(),
                status=BuildStatus.QUEUED,
                name=order.name,
                service=order.service,
                commit_sha=order.commit_sha,
                build_number=order.build_number,
                repository=order.repository,
                trunk=order.trunk,
                recipe=order.recipe,
                for_itself=for_itself,
            )
            .returning(jobs)
        )
        row = added.one()
        await _record(tx, row, EventKind.BUILD_QUEUED, order.name)
        build = BuildId(row.id)
        log.info("build_queued", build=build, name=order.name)
        return build

    async def claim(self, worker: str) -> Claim | None:
        """The oldest QUEUED job, now RUNNING for ``worker`` under a new token; ``None``: nothing waits."""
        oldest = (
            select(jobs.c.id)
            .where(jobs.c.status == BuildStatus.QUEUED)
            .order_by(*_ORDER)
            .limit(1)
            .with_for_update(skip_locked=True)  # SQLite has one writer anyway and is not told
        )
        token = Token(secrets.token_hex(TOKEN_BYTES))
        claimed = (
            update(jobs)
            .where(jobs.c.id == oldest.scalar_subquery(), jobs.c.status == BuildStatus.QUEUED)
            .values(
                status=BuildStatus.RUNNING,
                attempt=jobs.c.attempt + 1,
                token=token,
                worker=worker,
                reason="",
                claimed_at=now_ms(),
                last_heartbeat=now_ms(),
            )
            .returning(jobs)
        )
        async with self._database.transaction() as tx:
            row = (await tx.execute(claimed)).one_or_none()
            if row is None:
                return None
            await _record(tx, row, EventKind.BUILD_CLAIMED, f"attempt {row.attempt} by {worker}")
        log.info("build_claimed", build=row.id, name=row.name, worker=worker, attempt=row.attempt)
        return Claim(build_of(row), token, row.repository, row.trunk, row.recipe)

    async def heartbeat(self, build: BuildId, token: Token) -> None:
        """Say that the attempt lives. Raises :class:`Stale`, or :class:`NotFound` for a build that never was."""
        async with self._database.transaction() as tx:
            row = (await tx.execute(_held(build, token).values(last_heartbeat=now_ms()).returning(jobs.c.id))).one_or_none()
            if row is None:
                raise await _refusal(tx, build)

    async def standing(self, build: BuildId, token: Token) -> BuildStatus:
        """RUNNING while the attempt may go on, SUCCEEDED once it is done. Raises as :meth:`heartbeat`, which this is not."""
        async with self._database.reading() as reading:
            found = select(jobs.c.status, jobs.c.token).where(jobs.c.id == build)
            row = (await reading.execute(found)).one_or_none()
            if row is None or row.token != token or row.status not in (BuildStatus.RUNNING, BuildStatus.SUCCEEDED):
                raise await _refusal(reading, build)
        return BuildStatus(row.status)

    async def stop(self, tx: AsyncConnection, build: BuildId, reason: str) -> bool:
        """End the build FAILED whoever holds it; the token is void, so that nothing brings it back. The log says why.

        Returns whether it was QUEUED or RUNNING.
        """
        live = update(jobs).where(jobs.c.id == build, jobs.c.status.in_(_LIVE)).values(token=None)
        if not await _carry_out(tx, live, Verdict(BuildStatus.FAILED, reason)):
            return False
        await _last_line(tx, build, f"==> stopped: {reason}\n")
        log.warning("build_stopped", build=build, reason=reason)
        return True

    async def abort(self, build: BuildId) -> Build:
        """Stop a build because somebody said so; deployments that wait for it fail.

        Raises:
            NotFound: no such build.
            Refused: it has ended already.
        """
        async with self._database.transaction() as tx:
            stopped = await self.stop(tx, build, ABORTED)
            row = (await tx.execute(select(jobs).where(jobs.c.id == build))).one_or_none()
        if row is None:
            raise _unknown(build)
        if not stopped:
            raise Refused("build_ended", f"build {build} is {row.status} already: there is nothing to abort")
        return build_of(row)

    async def succeed(self, tx: AsyncConnection, build: BuildId, token: Token, blob: str) -> None:
        """End the build SUCCEEDED with the content's key in the main store. Repeatable with the same token.

        Raises:
            Stale: another attempt holds the build, or it has ended otherwise.
        """
        done = _held(build, token).values(status=BuildStatus.SUCCEEDED, blob=blob, finished_at=now_ms(), reason="")
        ended = (await tx.execute(done.returning(jobs))).one_or_none()
        if ended is not None:
            await _record(tx, ended, EventKind.BUILD_ENDED)
            log.info("build_succeeded", build=build)
            return
        row = (await tx.execute(select(jobs).where(jobs.c.id == build))).one_or_none()
        if row is None or (row.status, row.token, row.blob) != (BuildStatus.SUCCEEDED, token, blob):
            raise await _refusal(tx, build)

    async def fail(self, build: BuildId, token: Token, reason: str, *, hand_back: bool = False) -> BuildStatus:
        """End the build FAILED, or with ``hand_back`` put it back into the queue while attempts are left.

        Returns the status it has now. Failing again with the token that failed it is answered alike.
        """
        reason = one_line(reason)[:BUILD_REASON_CHARS_MAX]
        async with self._database.transaction() as tx:
            row = (await tx.execute(_locked(build))).one_or_none()
            if row is not None and (row.status, row.token) == (BuildStatus.FAILED, token):
                return BuildStatus.FAILED
            row = await held_job(tx, build, token)
            verdict = given_up(row.attempt, self._limits, reason) if hand_back else Verdict(BuildStatus.FAILED, reason)
            await _carry_out(tx, _held(build, token), verdict)
        self._tell(build, verdict)
        return verdict.status

    async def reap(self, listened_ms: int | None = None) -> tuple[BuildId, ...]:
        """Judge every live job by :func:`~fleetcast.builds.lease_rules.judge`. Returns those that changed.

        Safe to run twice at once: a job that was claimed, or heard of, since it was read is left alone.
        """
        await self._clock.set_right()
        changed: list[tuple[BuildId, Verdict]] = []
        async with self._database.reading() as reading:
            now = await read_clock_ms(reading)
            rows = (await reading.execute(select(jobs).where(jobs.c.status.in_(_LIVE)))).all()
        doomed = [(row, verdict) for row in rows if (verdict := judge(_lease(row), self._limits, now, listened_ms)) is not None]
        if doomed:
            async with self._database.transaction() as tx:
                for row, verdict in doomed:
                    as_read = update(jobs).where(
                        jobs.c.id == row.id,
                        jobs.c.status == row.status,
                        jobs.c.attempt == row.attempt,
                        jobs.c.last_heartbeat.is_not_distinct_from(row.last_heartbeat),
                    )
                    if await _carry_out(tx, as_read, verdict):
                        changed.append((BuildId(row.id), verdict))
        for build, verdict in changed:
            self._tell(build, verdict)
        return tuple(build for build, _ in changed)

    async def get(self, build: BuildId) -> Build:
        """Raises :class:`NotFound`."""
        async with self._database.reading() as reading:
            row = (await reading.execute(select(jobs).where(jobs.c.id == build))).one_or_none()
        if row is None:
            raise _unknown(build)
        return build_of(row)

    def _tell(self, build: BuildId, verdict: Verdict) -> None:
        if verdict.status is BuildStatus.QUEUED:
            log.warning("build_requeued", build=build, reason=verdict.reason)
            self.on_queued()
        else:
            log.warning("build_failed", build=build, reason=verdict.reason)


async def held_job(tx: AsyncConnection, build: BuildId, token: Token) -> AnyRow:
    """The row of ``jobs``, locked, for a write of the attempt that holds it.

    Raises:
        Stale: ``token`` does not hold the build any more.
        NotFound: no such build.
    """
    row = (await tx.execute(_locked(build))).one_or_none()
    if row is None or (row.status, row.token) != (BuildStatus.RUNNING, token):
        raise await _refusal(tx, build)
    return row


async def count_ahead(reading: AsyncConnection, build: Build) -> int:
    """How many builds will be claimed before this one; 0 when it is not QUEUED any more."""
    if build.status is not BuildStatus.QUEUED:
        return 0
    earlier = select(func.count()).where(jobs.c.status == BuildStatus.QUEUED, tuple_(*_ORDER) < (build.created_at_ms, build.id))
    return int((await reading.execute(earlier)).scalar_one())


async def _refusal(tx: AsyncConnection, build: BuildId) -> Stale | NotFound:
    row = (await tx.execute(select(jobs.c.status, jobs.c.attempt).where(jobs.c.id == build))).one_or_none()
    if row is None:
        return _unknown(build)
    return Stale("stale_token", f"build {build} is {row.status} (attempt {row.attempt}) and not held by this token: stop it")


def _held(build: BuildId, token: Token) -> Update:
    return update(jobs).where(jobs.c.id == build, jobs.c.token == token, jobs.c.status == BuildStatus.RUNNING)


def _locked(build: BuildId) -> AnyRows:
    return select(jobs).where(jobs.c.id == build).with_for_update()


async def _carry_out(tx: AsyncConnection, which: Update, verdict: Verdict) -> bool:
    """Whether ``which`` still found the job."""
    requeued = verdict.status is BuildStatus.QUEUED
    waiting = {"token": None, "worker": "", "queued_at": now_ms(), "claimed_at": None}
    changed = which.values(
        status=verdict.status, reason=verdict.reason, **(waiting if requeued else {"finished_at": now_ms()})
    ).returning(jobs)
    row = (await tx.execute(changed)).one_or_none()
    if row is not None:
        await _record(tx, row, EventKind.BUILD_REQUEUED if requeued else EventKind.BUILD_ENDED, verdict.reason)
    return row is not None


async def _last_line(tx: AsyncConnection, build: BuildId, text: str) -> None:
    """Add what no attempt writes, its token being void."""
    attempt = (await tx.execute(select(jobs.c.attempt).where(jobs.c.id == build))).scalar_one()
    pieces = select(build_log).where(build_log.c.build_id == build).order_by(build_log.c.start.desc())
    last = (await tx.execute(pieces.limit(1))).one_or_none()
    if last is not None and not last.text.endswith("\n"):
        text = f"\n{text}"
    start = 0 if last is None else last.start + last.size
    await tx.execute(insert(build_log).values(build_id=build, start=start, attempt=attempt, size=len(text.encode()), text=text))


async def _record(tx: AsyncConnection, job: AnyRow, kind: EventKind, text: str = "") -> None:
    await record_event(tx, kind, job.id, service=job.service, state=job.status, text=text)


def _lease(row: AnyRow) -> Lease:
    return Lease(
        BuildStatus(row.status),
        row.attempt,
        row.queued_at,
        row.claimed_at or row.queued_at,
        row.last_heartbeat or row.queued_at,
    )


def build_of(row: AnyRow) -> Build:
    """A row of ``jobs`` as people see it."""
    return Build(
        id=BuildId(row.id),
        name=ArtifactName(row.name),
        service=ServiceName(row.service),
        commit_sha=CommitSha(row.commit_sha),
        status=BuildStatus(row.status),
        reason=row.reason,
        attempt=row.attempt,
        worker=row.worker,
        created_at_ms=row.created_at,
        last_heartbeat_ms=row.last_heartbeat,
        finished_at_ms=row.finished_at,
        blob=row.blob,
    )


def _unknown(build: BuildId) -> NotFound:
    return NotFound("unknown_build", f"there is no build {build}")
