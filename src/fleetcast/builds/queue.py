"""The build queue: rows of ``jobs``, claimed by the rules of ``policy.py``, each claim with a token that voids the one before
it (law 1).

Claims, heartbeats and ends are gathered: callers who come at once share a transaction (``gathering.py``).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import structlog
from sqlalchemy import bindparam, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.builds.claiming import LIVE, ORDER, QUEUED, READY, Claim, place_of, take
from fleetcast.builds.clock_jumps import JobClock
from fleetcast.builds.endings import QUEUED_CHANNEL, Ending, change_all, end_all, locked_jobs, not_held
from fleetcast.builds.gathering import Gathered
from fleetcast.builds.lease_rules import QueueLimits, Verdict, judge
from fleetcast.builds.overview import queue_status
from fleetcast.builds.rows import build_of, lease_of
from fleetcast.model.build import ABORTED, Build, BuildOrder, BuildStatus, Lane
from fleetcast.model.errors import FleetcastError, NotFound, Refused
from fleetcast.model.event import EventKind
from fleetcast.model.ids import BuildId, Token
from fleetcast.model.limits import (
    BUILD_CLAIMS_AT_ONCE_MAX,
    BUILD_REAPED_AT_ONCE_MAX,
    BUILD_REASON_CHARS_MAX,
)
from fleetcast.model.lines import one_line
from fleetcast.model.messages.queue import QueueStatus
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.events import record_event
from fleetcast.schema.job_locks import CLAIMS, JOBS, JOBS_BY_ID
from fleetcast.schema.tables import build_log, jobs
from fleetcast.stores.database import Database, now_ms, read_clock_ms
from fleetcast.stores.locks import take_lock
from fleetcast.stores.notices import notify

__all__ = ["QUEUED_CHANNEL", "BuildQueue", "Claim", "QueueLimits", "build_of", "count_ahead", "held_job"]

log = structlog.get_logger(__name__)

# Made once: SQLAlchemy takes longer to put a statement together than the server to carry it out.
_LIVE_OF: Final = select(jobs).where(jobs.c.name == bindparam("of"), LIVE)
_ADD: Final = {
    lane: insert(jobs)
    .values(created_at=now_ms(), queued_at=now_ms(), place=place_of(now_ms(), lane), lane=lane, status=BuildStatus.QUEUED)
    .returning(jobs.c.id)
    for lane in Lane
}
_GIVEN: Final = jobs.c.id.in_(bindparam("builds", expanding=True))
_HELD: Final = (
    select(jobs.c.id, jobs.c.token, jobs.c.status, jobs.c.attempt).where(_GIVEN).order_by(jobs.c.id).with_for_update()
)
_BEAT: Final = update(jobs).where(_GIVEN).values(last_heartbeat=now_ms())


class BuildQueue:
    """All operations are one transaction each, but :meth:`enqueue` and others that take ``tx``, which are part of their
    caller's.

    ``on_queued`` is called after a job became claimable here; whoever passes a transaction to :meth:`enqueue` calls it
    after the commit. Other processes are told by a notice on :data:`QUEUED_CHANNEL` where the database has notices, and
    find it by polling.
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
        self._asking = 0
        self._claims = Gathered(self._claim_all, BUILD_CLAIMS_AT_ONCE_MAX, self._left)
        self._heartbeats = Gathered(self._heartbeat_all, BUILD_CLAIMS_AT_ONCE_MAX)
        self._endings = Gathered(self._end_all, BUILD_CLAIMS_AT_ONCE_MAX)

    async def begin(self) -> None:
        """To be called once by a control process that starts; see :meth:`JobClock.begin`."""
        await self._clock.begin()

    async def enqueue(
        self, tx: AsyncConnection, order: BuildOrder, *, for_itself: bool = False, lane: Lane = Lane.ORDINARY
    ) -> BuildId:
        """Queue a build, or share the one of the same name that is QUEUED or RUNNING.

        ``for_itself``: somebody wants it whatever becomes of deployments. An urgent order makes the one it shares urgent.

        Raises:
            Refused: that one was ordered with another repository, trunk or recipe, so its result would be another.
        """
        shared = await _share(tx, order, for_itself=for_itself, lane=lane)
        if shared is not None:
            return shared
        added = await tx.execute(
            _ADD[lane],
            {
                "name": order.name,
                "service": order.service,
                "commit_sha": order.commit_sha,
                "build_number": order.build_number,
                "repository": order.repository,
                "trunk": order.trunk,
                "recipe": order.recipe,
                "for_itself": for_itself,
            },
        )
        build = BuildId(added.scalar_one())
        await notify(tx, QUEUED_CHANNEL)
        state = BuildStatus.QUEUED
        record_event(tx, EventKind.BUILD_QUEUED, build, service=order.service, state=state, text=order.name)
        log.info("build_queued", build=build, name=order.name, lane=lane)
        return build

    async def claim(self, worker: str) -> Claim | None:
        """The first job in line, now RUNNING for ``worker`` under a new token; ``None``: nothing can be claimed."""
        return await self._claims.ask(worker)

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """While a worker's slot waits here for a build."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1

    async def status(self) -> QueueStatus:
        """What waits and what runs."""
        async with self._database.reading() as reading:
            return await queue_status(reading, self._limits, self._asking)

    async def waits(self) -> bool:
        """Whether there is anything to claim but for bounds: a cheap look, for a process whose workers all wait."""
        async with self._database.reading() as reading:
            return (await reading.execute(select(jobs.c.id).where(READY).limit(1))).first() is not None

    async def heartbeat(self, build: BuildId, token: Token) -> None:
        """Say that the attempt lives. Raises :class:`Stale`, or :class:`NotFound` for a build that never was."""
        await self._heartbeats.ask((build, token))

    async def standing(self, build: BuildId, token: Token) -> BuildStatus:
        """RUNNING while the attempt may go on, SUCCEEDED once it is done. Raises as :meth:`heartbeat`, which this is not."""
        async with self._database.reading() as reading:
            found = select(jobs.c.status, jobs.c.token, jobs.c.attempt).where(jobs.c.id == build)
            row = (await reading.execute(found)).one_or_none()
        if row is None or row.token != token or row.status not in (BuildStatus.RUNNING, BuildStatus.SUCCEEDED):
            raise not_held(build, row)
        return BuildStatus(row.status)

    async def stop(self, tx: AsyncConnection, build: BuildId, reason: str) -> bool:
        """End the build FAILED whoever holds it; the token is void, so that nothing brings it back. The log says why.

        Returns whether it was QUEUED or RUNNING.
        """
        await take_lock(tx, JOBS)
        live = [row for row in await locked_jobs(tx, [build]) if not BuildStatus(row.status).ended]
        if not live:
            return False
        await change_all(tx, [(row, Verdict(BuildStatus.FAILED, reason), row.blob) for row in live], void=True)
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
        (answer,) = await end_all(tx, [Ending(build, token, succeeded=True, blob=blob)], self._limits)
        if isinstance(answer, Exception):
            raise answer
        log.info("build_succeeded", build=build)

    async def publish(self, build: BuildId, token: Token, blob: str, artifact: Mapping[str, Any]) -> None:
        """:meth:`succeed` in a transaction that adds the row of ``artifacts`` as well, all of it but ``created_at``."""
        await self._endings.ask(Ending(build, token, succeeded=True, blob=blob, artifact=artifact))
        log.info("build_succeeded", build=build)

    async def fail(self, build: BuildId, token: Token, reason: str, *, hand_back: bool = False) -> BuildStatus:
        """End the build FAILED, or with ``hand_back`` put it back into the queue while attempts are left.

        Returns the status it has now. Failing again with the token that failed it is answered alike.
        """
        reason = one_line(reason)[:BUILD_REASON_CHARS_MAX]
        verdict = await self._endings.ask(Ending(build, token, succeeded=False, reason=reason, hand_back=hand_back))
        self._tell(build, verdict)
        return verdict.status

    async def reap(self, listened_ms: int | None = None) -> tuple[BuildId, ...]:
        """Judge every live job by :func:`~fleetcast.builds.lease_rules.judge`. Returns those that changed.

        Safe to run many times at once: each job is judged again when it is locked, and who finds it locked leaves it to the
        other. Each transaction is a bounded one.
        """
        await self._clock.set_right()
        columns = (jobs.c.id, jobs.c.status, jobs.c.attempt, jobs.c.queued_at, jobs.c.claimed_at, jobs.c.last_heartbeat)
        async with self._database.reading() as reading:
            now = await read_clock_ms(reading)
            rows = (await reading.execute(select(*columns).where(LIVE).order_by(jobs.c.id))).all()
        doomed = [BuildId(row.id) for row in rows if judge(lease_of(row), self._limits, now, listened_ms) is not None]
        changed: list[tuple[BuildId, Verdict]] = []
        for start in range(0, len(doomed), BUILD_REAPED_AT_ONCE_MAX):
            async with self._database.concurrent() as tx:
                locked = await locked_jobs(tx, doomed[start : start + BUILD_REAPED_AT_ONCE_MAX], skip_locked=True)
                judged = [(row, judge(lease_of(row), self._limits, row.now, listened_ms)) for row in locked]
                ended = [(row, verdict, row.blob) for row, verdict in judged if verdict is not None]
                await change_all(tx, ended)
            changed += [(BuildId(row.id), verdict) for row, verdict, _ in ended]
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

    async def _claim_all(self, workers: Sequence[str]) -> list[Claim | Exception | None]:
        claims: list[Claim | Exception | None] = []
        async with self._database.concurrent(CLAIMS) as tx:
            while len(claims) < len(workers):
                taken = await take(tx, workers[len(claims) :], self._limits.service_running_max)
                if not taken:
                    break
                claims += taken
        return claims + [None] * (len(workers) - len(claims))

    async def _left(self, worker: str, claim: Claim | None) -> None:
        if claim is None:
            return
        try:
            await self.fail(claim.build.id, claim.token, f"{worker} left while it claimed", hand_back=True)
        except FleetcastError as error:  # nobody beats for it: the reaper finds it
            log.warning("build_not_handed_back", build=claim.build.id, error=error.message)

    async def _heartbeat_all(self, beats: Sequence[tuple[BuildId, Token]]) -> list[Exception | None]:
        async with self._database.concurrent(JOBS_BY_ID) as tx:
            found = await tx.execute(_HELD, {"builds": sorted({build for build, _ in beats})})
            rows = {row.id: row for row in found}
            held = [(b, t) for b, t in beats if b in rows and (rows[b].status, rows[b].token) == (BuildStatus.RUNNING, t)]
            if held:
                await tx.execute(_BEAT, {"builds": sorted({build for build, _ in held})})
        return [None if beat in held else not_held(beat[0], rows.get(beat[0])) for beat in beats]

    async def _end_all(self, endings: Sequence[Ending]) -> list[Verdict | Exception]:
        async with self._database.concurrent(JOBS_BY_ID) as tx:
            return await end_all(tx, endings, self._limits)

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
    row = next(iter(await locked_jobs(tx, [build])), None)
    if row is None or (row.status, row.token) != (BuildStatus.RUNNING, token):
        raise not_held(build, row)
    return row


async def count_ahead(reading: AsyncConnection, build: Build) -> int:
    """How many builds stand in line before this one; 0 when it is not QUEUED any more."""
    mine = (await reading.execute(select(*ORDER).where(jobs.c.id == build.id, QUEUED))).one_or_none()
    if mine is None:
        return 0
    earlier = select(func.count()).where(QUEUED, tuple_(*ORDER) < tuple(mine))
    return int((await reading.execute(earlier)).scalar_one())


async def _share(tx: AsyncConnection, order: BuildOrder, *, for_itself: bool, lane: Lane) -> BuildId | None:
    """The build of that name that is QUEUED or RUNNING, if there is one, and may be shared. Arguments as of ``enqueue``."""
    if (await tx.execute(_LIVE_OF, {"of": order.name})).one_or_none() is None:
        return None
    await take_lock(tx, JOBS)
    # Locked, so that it is not stopped between this look and the commit of who shares it.
    live = (await tx.execute(_LIVE_OF.with_for_update(), {"of": order.name})).one_or_none()
    if live is None:
        return None
    if (live.repository, live.trunk, live.recipe) != (order.repository, order.trunk, order.recipe):
        raise Refused(
            "build_differs",
            f"build {live.id} of {order.name} is under way with another repository, trunk or recipe: "
            "wait for it to end, then deploy again",
        )
    lifted = {"lane": lane, "place": place_of(jobs.c.created_at, lane)} if lane is Lane.URGENT else {}
    wanted = {"for_itself": True} if for_itself else {}
    if lifted or wanted:
        await tx.execute(update(jobs).where(jobs.c.id == live.id).values(**lifted, **wanted))
    return BuildId(live.id)


async def _last_line(tx: AsyncConnection, build: BuildId, text: str) -> None:
    """Add what no attempt writes, its token being void."""
    attempt = (await tx.execute(select(jobs.c.attempt).where(jobs.c.id == build))).scalar_one()
    pieces = select(build_log).where(build_log.c.build_id == build).order_by(build_log.c.start.desc())
    last = (await tx.execute(pieces.limit(1))).one_or_none()
    if last is not None and not last.text.endswith("\n"):
        text = f"\n{text}"
    start = 0 if last is None else last.start + last.size
    await tx.execute(insert(build_log).values(build_id=build, start=start, attempt=attempt, size=len(text.encode()), text=text))


def _unknown(build: BuildId) -> NotFound:
    return NotFound("unknown_build", f"there is no build {build}")
