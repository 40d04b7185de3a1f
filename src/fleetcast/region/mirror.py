"""The loop that brings artifact records and goals from the global key-value store into the regional one.

It polls control, and has it hold the same question meanwhile, so that news comes at once; what that misses, the next poll
finds. With control away the regional store stays as it is, and so does what agents are told (law 6). Nothing that
vanishes at control takes a goal away here: a goal gives way only to a higher generation (law 3), or runs out. Where somebody
has gone back at this region past control, no goal of control's is taken for that service until they are told that it is over.
"""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import Final, Protocol, TypeVar

import structlog

from fleetcast.artifacts.signing import envelope_digest
from fleetcast.http import messages
from fleetcast.model.artifact import ArtifactRecord, artifact_record_key, goal_key, past_key, rollback_key
from fleetcast.model.errors import Conflict, FleetcastError, Incompatible, Invalid
from fleetcast.model.goal import Goal
from fleetcast.model.ids import Digest
from fleetcast.model.limits import KV_HISTORY_REVISIONS, KV_WAIT_S_MAX, MIRROR_SNAPSHOT_INTERVAL_S
from fleetcast.model.messages.regions import KvEntry, KvPage
from fleetcast.model.region_rollback import RegionRollback
from fleetcast.region.alarms import Alarms
from fleetcast.region.breaking_glass import stands
from fleetcast.region.generations import Verdict, judge
from fleetcast.region.past import Past, remembered
from fleetcast.region.view import ARTIFACTS, GOALS
from fleetcast.stores.kv import Entry, KeyValueStore

log = structlog.get_logger(__name__)

T = TypeVar("T")

_JITTER: Final = 0.1
"""Of the interval between two polls' beginnings, which is never longer than it was wished: regions do not all ask at once."""
_REST_MIN: Final = 0.1
"""Of the interval, between two polls that take long."""
_HELD_S_MIN: Final = 1.0
"""Between two questions about the same, should control not hold them."""


class GlobalStore(Protocol):
    async def kv_page(self, prefix: str, after: int, wait_s: float = 0.0) -> KvPage:
        """As :meth:`fleetcast.client.regions.Regions.kv_page`."""
        ...


async def changed_since(control: GlobalStore, prefix: str, after: int) -> list[KvPage]:
    """All there is after a revision; one answer need not hold all of it. Raises :class:`Unavailable`."""
    # A store that went back in time answers with a snapshot: what it holds now is what counts, generations permitting.
    pages = [await control.kv_page(prefix, after)]
    while not pages[-1].snapshot and (pages[-1].entries or pages[-1].deleted):
        pages.append(await control.kv_page(prefix, pages[-1].revision))
    return pages


class Mirror:
    """Writes the regional store; several may do so at once, every goal is written by compare-and-swap."""

    def __init__(
        self,
        control: GlobalStore,
        store: KeyValueStore,
        alarms: Alarms,
        interval_s: float,
        rng: Random,
        *,
        watching: bool = False,
    ) -> None:
        """``watching``: have control hold the question between two polls."""
        self._control = control
        self._store = store
        self._alarms = alarms
        self._interval_s = interval_s
        self._rng = rng
        self._watching = watching
        self._cursors = {ARTIFACTS: 0, GOALS: 0}
        self._asked: dict[str, asyncio.Task[None]] = {}
        """What control holds, by prefix."""
        self._snapshot_due = 0.0
        self._again = asyncio.Event()
        self._failing = ""
        """Why control's last answer was none."""

    def read_again(self) -> None:
        """Read everything now: something that was passed over may be taken by now. From the event loop of :meth:`run`."""
        self._snapshot_due = 0.0
        self._again.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            await self._run()
        finally:
            for question in self._asked.values():
                question.cancel()
            await asyncio.gather(*self._asked.values(), return_exceptions=True)

    async def _run(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            begun = clock()
            self._again.clear()
            try:
                await self.poll()
            except FleetcastError as error:
                if error.message != self._failing:
                    log.warning("mirror_failed", error=error.message)
                self._failing = error.message
            else:
                if self._failing:
                    log.info("mirror_goes_on")
                self._failing = ""
            due = begun + self._interval_s * (1 - _JITTER * self._rng.random())
            await self._rest(max(due, clock() + _REST_MIN * self._interval_s))

    async def _rest(self, due: float) -> None:
        """Until the next poll is due: by the loop's clock, or because control has something.

        A question stays with control over many polls, until it is answered: one that is given up would be held there on.
        """
        clock = asyncio.get_running_loop().time
        wanted = set(self._cursors) if self._watching and not self._failing else set()
        again = asyncio.create_task(self._again.wait())
        try:
            while (left := due - clock()) > 0:
                for prefix in wanted - self._asked.keys():
                    if self._cursors[prefix]:  # at 0 it would be answered at once, with everything
                        self._asked[prefix] = asyncio.create_task(self._news(prefix))
                asked = (again, *self._asked.values())
                await asyncio.wait(asked, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                failed, told = self._answers()
                if told or again.done():
                    return
                wanted -= failed  # the next poll says what is the matter
        finally:
            again.cancel()

    def _answers(self) -> tuple[set[str], set[str]]:
        """The prefixes of questions that have failed, and of those that were answered."""
        failed, told = set(), set()
        for prefix in [prefix for prefix, question in self._asked.items() if question.done()]:
            try:
                self._asked.pop(prefix).result()
                told.add(prefix)
            except FleetcastError:
                failed.add(prefix)
        return failed, told

    async def _news(self, prefix: str) -> None:
        """Returns when there is something that the last poll did not bring."""
        clock = asyncio.get_running_loop().time
        while True:
            asked_at = clock()
            page = await self._control.kv_page(prefix, self._cursors[prefix], KV_WAIT_S_MAX)
            if page.snapshot or page.entries or page.deleted:
                return
            await asyncio.sleep(asked_at + _HELD_S_MIN - clock())

    async def poll(self) -> None:
        """Take over what is new. Raises :class:`Unavailable`; what was not taken over is asked for again.

        Now and then everything is read: that also heals a regional store that lost something, and a global one that was
        restored to an older state.
        """
        now = time.monotonic()
        whole = now >= self._snapshot_due
        if whole:
            # Should this one fail, the next begins at 0 again. Who asks for another one meanwhile gets it.
            self._cursors = dict.fromkeys(self._cursors, 0)
            self._snapshot_due = now + MIRROR_SNAPSHOT_INTERVAL_S
        # Goals are asked for first and written last: whatever artifact a goal names was recorded before the goal.
        goals = await changed_since(self._control, GOALS, self._cursors[GOALS])
        artifacts = await changed_since(self._control, ARTIFACTS, self._cursors[ARTIFACTS])
        for page in artifacts:
            await self._take_artifacts(page)
        for page in goals:
            await self._take_goals(page)
        for prefix, pages in ((GOALS, goals), (ARTIFACTS, artifacts)):
            self._cursors[prefix] = pages[-1].revision
        if whole:
            await self._forget_history()

    async def _take_artifacts(self, page: KvPage) -> None:
        for entry in page.entries:
            record = self._read(entry, ArtifactRecord)
            if record is not None and entry.key == artifact_record_key(envelope_digest(record.envelope)):
                await self._write_artifact(entry.key, entry.value.encode())
            elif record is not None:
                self._alarm(f"{entry.key} holds another artifact's root: it was refused")
        gone = set(page.deleted)
        if page.snapshot:
            named = {entry.key for entry in page.entries}
            held = await self._store.range(ARTIFACTS)
            gone = {entry.key for entry in held.entries if entry.key not in named}
        wanted = await self._named_by_goals() if gone else set()
        for key in gone - wanted:
            await self._store.delete(key)

    async def _write_artifact(self, key: str, value: bytes) -> None:
        held = await self._store.get(key)
        if held is None or held.value != value:
            await self._store.put(key, value)

    async def _named_by_goals(self) -> set[str]:
        """Keys of records that a machine may still ask for."""
        roots: set[Digest] = set()
        for entry in (await self._store.range(GOALS)).entries:
            goal = self._read(entry, Goal)
            if goal is not None and not goal.removed:
                roots |= {release.root for release in (goal.target, goal.baseline) if release is not None}
        return {artifact_record_key(root) for root in roots}

    async def _take_goals(self, page: KvPage) -> None:
        for entry in page.entries:
            goal = self._read(entry, Goal)
            if goal is None:
                continue
            if entry.key != goal_key(goal.environment, goal.service):
                self._alarm(f"{entry.key} holds the goal of another service: it was refused")
                continue
            await self._take_goal(entry.key, goal, entry.value.encode())

    async def _take_goal(self, key: str, goal: Goal, value: bytes) -> None:
        entry = await self._store.get(key)
        held = None if entry is None else self._read(entry, Goal)
        # One that cannot be read any more (this program is older than its writer) does not stand in the way of a new one.
        judgement = judge(held, goal)
        if judgement.verdict is not Verdict.KNOWN and await self._stands(goal, held):
            return
        if judgement.reason:
            self._alarm(judgement.reason)
        if judgement.verdict is Verdict.KNOWN:
            await self._remember(goal)
        if judgement.verdict is not Verdict.TAKE:
            return
        try:
            await self._store.put(key, value, expected=0 if entry is None else entry.mod_revision)
        except Conflict:
            return  # another process of this region wrote it: the next snapshot compares again
        await self._remember(goal)
        log.info("goal_taken", service=goal.service, environment=goal.environment, deployment=goal.deployment)

    async def _stands(self, offered: Goal, held: Goal | None) -> bool:
        """Whether somebody went back here. Read after the goal that is held: one who does so now writes the goal last, and what
        is taken over by then is taken by compare-and-swap."""
        entry = await self._store.get(rollback_key(offered.environment, offered.service))
        return stands(None if entry is None else self._read(entry, RegionRollback), held)

    async def _remember(self, goal: Goal) -> None:
        """What to go back to when control cannot be asked."""
        key = past_key(goal.environment, goal.service)
        entry = await self._store.get(key)
        past: Past = (None if entry is None else self._read(entry, Past)) or ()
        if (after := remembered(past, goal)) != past:
            await self._store.put(key, messages.encode(after))

    async def _forget_history(self) -> None:
        revision = (await self._store.range(GOALS)).revision
        if revision > KV_HISTORY_REVISIONS:
            await self._store.compact(revision - KV_HISTORY_REVISIONS)

    def _read(self, entry: KvEntry | Entry, into: type[T]) -> T | None:
        try:
            return messages.decode(entry.value, into)
        except (Invalid, Incompatible) as error:
            self._alarm(f"{entry.key} cannot be read: {error.message}")
            return None

    def _alarm(self, text: str) -> None:
        if self._alarms.raise_alarm(text, time.monotonic()):
            log.error("alarm", text=text)
