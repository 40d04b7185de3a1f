"""From SQL into the global KV: artifact records, goals and given labels. Only what SQL has decided is ever written there."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.artifact import ArtifactRecord, artifact_record_key, goal_key
from fleetcast.model.errors import Conflict, Corrupt, FleetcastError, Unavailable
from fleetcast.model.generation import FIRST, Generation
from fleetcast.model.goal import Goal, ReleaseRef
from fleetcast.model.ids import ArtifactName, Digest, ServiceName
from fleetcast.model.limits import CLOCK_SKEW_S_MAX, OBSTACLE_CHARS_MAX, TOMBSTONE_S
from fleetcast.model.retention import Collection
from fleetcast.rollouts import labels
from fleetcast.rollouts.deployments import UNFINISHED
from fleetcast.rollouts.goals import Standing, read_standing, standing, write_goal
from fleetcast.rollouts.planner import renewed
from fleetcast.schema.columns import AnyRow, AnyRows
from fleetcast.schema.release_locks import lock_releases
from fleetcast.schema.tables import artifacts, deployments, goals, releases, services
from fleetcast.stores.database import Database, now_ms, read_clock_ms
from fleetcast.stores.kv import KeyValueStore

log = structlog.get_logger(__name__)

_TRIES = 5
_ARTIFACTS: Final = select(artifacts, releases.c.collected_at.label("release_collected_at")).join(
    releases, releases.c.digest == artifacts.c.digest, isouter=True
)


class Publisher:
    """Every method may run in several processes at once: values of one generation are equal, and a higher one stays."""

    def __init__(self, database: Database, kv: KeyValueStore) -> None:
        self._database = database
        self._kv = kv
        self._unreadable: dict[str, dict[str, str]] = {}
        """What goals cannot be published or renewed for, by what was to be done and their keys."""

    @property
    def obstacle(self) -> str:
        """Which goal is not published or renewed, in one line; empty: all of them are."""
        found = {key: said for failed in self._unreadable.values() for key, said in failed.items()}
        if not found:
            return ""
        key, said = min(found.items())
        others = len(found) - 1
        more = f"; so {'is' if others == 1 else 'are'} {others} more" if others else ""
        return f"{key} is left as it is ({said}){more}"

    async def publish(self) -> None:
        """Artifacts first: a region never sees a goal before the artifact it names."""
        await self._publish_artifacts(
            _ARTIFACTS.where(
                artifacts.c.published_at.is_(None),
                artifacts.c.id.in_(select(deployments.c.artifact_id).where(deployments.c.state.in_(UNFINISHED))),
                # Its records are being taken away: that has to be over first.
                releases.c.collection.is_distinct_from(Collection.COLLECTING),
            )
        )
        async with self._database.reading() as reading:
            rows = (await reading.execute(select(goals).where(goals.c.published.is_(False)))).all()
        await self._each("publish", rows, lambda row: self._publish_goal(standing(row)))
        await labels.publish(self._database, self._kv)

    async def restore(self) -> None:
        """Write everything again that the KV has lost, or holds in another version than SQL. For the start of a process."""
        held = {entry.key for entry in (await self._kv.range(artifact_record_key(Digest("")))).entries}
        async with self._database.reading() as reading:
            published = (await reading.execute(select(artifacts.c.root).where(artifacts.c.published_at.is_not(None)))).scalars()
            lost = [root for root in published if artifact_record_key(Digest(root)) not in held]
            rows = (await reading.execute(select(goals).where(goals.c.value.is_not(None)))).all()
        for root in lost:
            await self._publish_artifacts(_ARTIFACTS.where(artifacts.c.root == root))
        for row in await self._each("publish", rows, lambda row: self._publish_goal(standing(row))):
            # From now on it is among those that every turn tries to publish, and thereby names.
            await self._mark(row.service, row.environment, Generation(row.epoch, row.counter), published=False)
        await labels.restore(self._database, self._kv)

    async def renew(self, lifetime_s: float) -> None:
        """Write goals that are past half of their life once more, good for ``lifetime_s`` from now; the tombstone of a service
        that was removed longer than ``TOMBSTONE_S`` ago no more.

        And those that would live for longer: they were written by a clock that went wrong, and machines that hear of nobody
        any more would follow them for as long.
        """
        lifetime_ms = int(lifetime_s * 1000)
        overlong = goals.c.expires_at > now_ms() + lifetime_ms + CLOCK_SKEW_S_MAX * 1000
        ageing = (
            select(goals)
            .join(services, services.c.name == goals.c.service, isouter=True)
            .where(
                or_(goals.c.expires_at < now_ms() + lifetime_ms // 2, overlong),
                or_(services.c.removed_at.is_(None), services.c.removed_at > now_ms() - TOMBSTONE_S * 1000),
            )
        )
        async with self._database.reading() as reading:
            rows = (await reading.execute(ageing)).all()
        await self._each("renew", rows, lambda row: self._renew(standing(row), lifetime_ms))

    async def _renew(self, old: Standing, lifetime_ms: int) -> None:
        async with self._database.transaction() as tx:
            assert old.goal is not None
            goal = renewed(old.goal, old.generation.next(), await read_clock_ms(tx) + lifetime_ms)
            await write_goal(tx, goal, old.goal_sequence, over=old.generation)

    async def _each(self, what: str, rows: Sequence[AnyRow], work: Callable[[AnyRow], Awaitable[None]]) -> list[AnyRow]:
        """Of rows of ``goals``. One that cannot be read, in SQL or in the KV, holds up no other; returns those.

        Raises:
            Unavailable, SQLAlchemyError: an engine is away, for all of them.
        """
        before, failed = self._unreadable.get(what, {}), dict[str, str]()
        left: list[AnyRow] = []
        for row in rows:
            try:
                await work(row)
            except Conflict:  # somebody wrote it meanwhile, and thereby renewed it; or it is looked at anew at the next turn
                continue
            except (Unavailable, SQLAlchemyError):
                raise
            except Exception as error:  # whatever it is, it is this one's
                key = goal_key(row.environment, ServiceName(row.service))
                said = error.message if isinstance(error, FleetcastError) else f"the database's row: {error}"
                failed[key] = " ".join(said.split())[:OBSTACLE_CHARS_MAX]
                if before.get(key) != failed[key]:
                    log.error("goal_unreadable", key=key, error=failed[key], exc_info=error)
                left.append(row)
        self._unreadable[what] = failed
        return left

    async def _publish_artifacts(self, which: AnyRows) -> None:
        async with self._database.reading() as reading:
            rows = (await reading.execute(which)).all()
        for row in rows:
            release = ReleaseRef(ArtifactName(row.name), Digest(row.digest), Digest(row.root))
            record = ArtifactRecord(release, row.envelope, row.manifest_size, row.content_size)
            with contextlib.suppress(Conflict):  # it is there already, and a key names its content
                await self._kv.put(artifact_record_key(release.root), _json(record), expected=0)
            async with self._database.transaction() as tx:
                if not await _is_published(tx, row):
                    continue  # it was collected meanwhile, and its record with it
            log.info("artifact_published", artifact=row.name, digest=row.digest)

    async def _publish_goal(self, decided: Standing) -> None:
        """Bring the KV to what SQL has decided. Compare-and-swap, tried again a few times, then at the next turn."""
        key = goal_key(decided.environment, decided.service)
        for _ in range(_TRIES):
            entry = await self._kv.get(key)
            held = FIRST if entry is None else _goal_in(key, entry.value).generation
            if entry is not None and entry.value == decided.value:
                await self._mark(decided.service, decided.environment, decided.generation, published=True)
                return
            if held >= decided.generation:
                decided = await self._overtake(decided, held)
                continue
            try:
                await self._kv.put(key, decided.value, expected=0 if entry is None else entry.mod_revision)
            except Conflict:
                continue
            log.info(
                "goal_written", service=decided.service, environment=decided.environment, generation=str(decided.generation)
            )

    async def _overtake(self, decided: Standing, held: Generation) -> Standing:
        """The KV holds something higher, or something else of the same generation.

        Either another process has decided since: then SQL knows it. Or SQL does not remember what it decided, as after a
        restored backup: what it says now is written again in a new epoch (law 3).
        """
        async with self._database.transaction() as tx:
            current = await read_standing(tx, decided.service, decided.environment)
            assert current is not None
            if current.generation != decided.generation:
                return current
            assert current.goal is not None
            generation = held.raised(await read_clock_ms(tx))
            log.error("goal_history_lost", service=decided.service, held=str(held), known=str(current.generation))
            await write_goal(
                tx, renewed(current.goal, generation, current.goal.expires_at_ms), current.goal_sequence, current.generation
            )
            written = await read_standing(tx, decided.service, decided.environment)
            assert written is not None
            return written

    async def _mark(self, service: ServiceName, environment: str, generation: Generation, *, published: bool) -> None:
        """Nothing happens when another generation has been decided since."""
        async with self._database.transaction() as tx:
            await tx.execute(
                update(goals)
                .where(
                    goals.c.service == service,
                    goals.c.environment == environment,
                    goals.c.epoch == generation.epoch,
                    goals.c.counter == generation.counter,
                )
                .values(published=published)
            )


async def _is_published(tx: AsyncConnection, row: AnyRow) -> bool:
    """Say so, provided that nothing was collected since the row of :data:`_ARTIFACTS` was read."""
    await lock_releases(tx, [row.digest])
    release = (await tx.execute(select(releases).where(releases.c.digest == row.digest))).one()
    if release.collection == Collection.COLLECTING or release.collected_at != row.release_collected_at:
        return False
    unpublished = artifacts.c.id == row.id, artifacts.c.published_at.is_(None)
    if (await tx.execute(update(artifacts).where(*unpublished).values(published_at=now_ms()))).rowcount:
        await tx.execute(update(releases).where(releases.c.digest == row.digest).values(collection=Collection.KEPT))
    return True


def _goal_in(key: str, value: bytes) -> Goal:
    try:
        return msgspec.json.decode(value, type=Goal)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        # Not written over: how high its generation is nobody knows (law 3), and who wrote it is for a person to find out.
        # What to do comes first: of what is told, the end may be cut off.
        advice = f"delete the key {key} in the global key-value store, and it is written again as the database has it"
        raise Corrupt("unreadable_goal", f"what the key-value store holds is no goal: {advice} ({error})") from error


def _json(record: ArtifactRecord) -> bytes:
    return msgspec.json.encode(record, order="deterministic")
