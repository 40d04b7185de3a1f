"""The queue against a dumb list: whatever is done to it in whatever order, each build ends once, by whoever holds it.

Time passes by moving every stamp of the table; the model moves with it, in the same round seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import delete, select, update

from fleetcast.builds.ageing import forget_builds
from fleetcast.builds.policy import retry_s
from fleetcast.builds.queue import BuildQueue, QueueLimits
from fleetcast.model.build import BuildOrder, BuildStatus, Lane, Recipe
from fleetcast.model.errors import NotFound, Refused, Stale
from fleetcast.model.ids import BuildId, CommitSha, ServiceName, Token
from fleetcast.model.limits import BUILD_URGENT_AHEAD_S
from fleetcast.schema.tables import build_days, build_log, events, jobs
from fleetcast.stores.database import Database

T = TypeVar("T")

LIMITS: Final = QueueLimits(
    attempts_max=3, queued_s_max=7225, silence_s_max=625, running_s_max=1825, service_running_max=2, retry_s=125
)
STEP_S: Final = (50, 300, 700, 2000, BUILD_URGENT_AHEAD_S + 500)
"""Their sums are multiples of 50, the bounds above lie between two of them: the time that a test takes decides nothing."""
KEPT_DAYS: Final = 1
SAID: Final = ("hand back", "hand back", "fail", "succeed", "heartbeat")
"""What leaves a build alive comes more often: what comes late then meets somebody else's attempt."""


@dataclass
class Modelled:
    """One build, as somebody with a list and a pencil would keep it. Ages in seconds."""

    id: BuildId
    service: str
    commit: str
    lane: Lane = Lane.ORDINARY
    status: BuildStatus = BuildStatus.QUEUED
    attempt: int = 0
    holder: Token | None = None
    age_s: int = 0
    queued_s: int = 0
    claimed_s: int = 0
    silent_s: int = 0
    hold_s: float = 0
    """Until it may be claimed again."""
    ended_s: int = 0
    tokens: list[Token] = field(default_factory=list)

    @property
    def place(self) -> tuple[int, int]:
        return -self.age_s - (BUILD_URGENT_AHEAD_S if self.lane is Lane.URGENT else 0), self.id

    @property
    def stale(self) -> list[Token]:
        return [token for token in self.tokens if token != self.holder]

    def lose(self) -> None:
        """An attempt is lost through no fault of the build."""
        if self.attempt < LIMITS.attempts_max:
            self.status, self.queued_s, self.hold_s = BuildStatus.QUEUED, 0, retry_s(self.attempt, LIMITS.retry_s)
        else:
            self.end(BuildStatus.FAILED)
        self.holder = None

    def end(self, status: BuildStatus) -> None:
        assert self.status in (BuildStatus.QUEUED, BuildStatus.RUNNING), "each build ends once"
        self.status, self.holder, self.ended_s = status, None, 0


class QueueMachine(RuleBasedStateMachine):
    runner: asyncio.Runner
    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.queue = BuildQueue(self.database, LIMITS, steady=self._steady)
        self.model: list[Modelled] = []
        self.forgotten = 0
        self.passed_s = 0
        self.orders = 0

    def _steady(self) -> float:
        # What passes is moved in the table and not on the database's clock, so there is no jump to be seen.
        return asyncio.get_running_loop().time()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def empty(self) -> None:
        async def clear() -> None:
            async with self.database.transaction() as tx:
                for table in (build_log, build_days, events, jobs):
                    await tx.execute(delete(table))

        self.run(clear())
        for commit in "ab":
            self.enqueue("web", commit, Lane.ORDINARY)

    @rule(service=st.sampled_from(["web", "api"]), commit=st.sampled_from("abc"), lane=st.sampled_from(Lane))
    def enqueue(self, service: str, commit: str, lane: Lane) -> None:
        order = BuildOrder(ServiceName(service), CommitSha(commit * 40), "/repo", "main", Recipe(build="make"))

        async def order_it() -> BuildId:
            async with self.database.transaction() as tx:
                return await self.queue.enqueue(tx, order, lane=lane)

        build = self.run(order_it())
        live = [one for one in self._live() if (one.service, one.commit) == (service, commit)]
        if live:
            assert [one.id for one in live] == [build], "equal orders share a build"
            live[0].lane = Lane.URGENT if lane is Lane.URGENT else live[0].lane
        else:
            assert build not in {one.id for one in self.model}, "a number is given once"
            self.model.append(Modelled(build, service, commit, lane))

    @rule(workers=st.integers(1, 4))
    def claim(self, workers: int) -> None:
        async def claim_at_once() -> list[Any]:
            return await asyncio.gather(*(self.queue.claim(f"w{number}") for number in range(workers)))

        claims = self.run(claim_at_once())
        assert [None if claim is None else claim.build.id for claim in claims] == self._turns(workers)
        for claim in filter(None, claims):
            one = self._of(claim.build.id)
            assert claim.build.attempt == one.attempt, "an attempt is counted once"
            assert claim.token not in one.tokens
            one.holder = claim.token
            one.tokens.append(claim.token)

    def _turns(self, workers: int) -> list[BuildId | None]:
        """Whose turn it is, found out the slow way; they run from then on."""
        turns: list[BuildId | None] = []
        for _ in range(workers):
            able = [one for one in self.model if one.status is BuildStatus.QUEUED and one.hold_s <= 0 and self._room(one)]
            first = min(able, key=lambda one: one.place, default=None)
            turns.append(None if first is None else first.id)
            if first is not None:
                first.status, first.attempt = BuildStatus.RUNNING, first.attempt + 1
                first.claimed_s = first.silent_s = 0
        return turns

    def _room(self, one: Modelled) -> bool:
        running = sum(other.status is BuildStatus.RUNNING and other.service == one.service for other in self.model)
        return running < LIMITS.service_running_max + (one.lane is Lane.URGENT)

    @precondition(lambda self: any(one.holder for one in self.model))
    @rule(data=st.data(), what=st.sampled_from(SAID))
    def the_holder_speaks(self, data: st.DataObject, what: str) -> None:
        one = data.draw(st.sampled_from([one for one in self.model if one.holder]))
        assert one.holder is not None
        self._speak(one, one.holder, what)

    @precondition(lambda self: any(one.stale for one in self.model))
    @rule(data=st.data(), what=st.sampled_from(SAID))
    def somebody_speaks_who_held_it_once(self, data: st.DataObject, what: str) -> None:
        one, token = data.draw(st.sampled_from([(one, token) for one in self.model for token in one.stale]))
        self._speak(one, token, what)

    def _speak(self, one: Modelled, token: Token, what: str) -> None:
        try:
            self.run(self._say(one.id, token, what))
        except Stale:
            assert one.holder != token, "whoever holds a build is heard"
        except NotFound:
            raise AssertionError("a build that was not forgotten is known") from None
        else:
            assert self._accepted(one, token, what), f"a stale {what} was taken"

    async def _say(self, build: BuildId, token: Token, what: str) -> None:
        if what == "heartbeat":
            await self.queue.heartbeat(build, token)
        elif what == "succeed":
            async with self.database.transaction() as tx:
                await self.queue.succeed(tx, build, token, "blob")
        else:
            await self.queue.fail(build, token, "reason", hand_back=what == "hand back")

    def _accepted(self, one: Modelled, token: Token, what: str) -> bool:
        """Bring the model up to date with what was accepted; whether it may have been."""
        if one.holder != token:
            # Repeating what ended it, by the attempt that did.
            again = {"succeed": BuildStatus.SUCCEEDED, "fail": BuildStatus.FAILED, "hand back": BuildStatus.FAILED}
            return what in again and one.status is again[what] and token == one.tokens[-1]
        if what == "heartbeat":
            one.silent_s = 0
        elif what == "hand back":
            one.lose()
        else:
            one.end(BuildStatus.SUCCEEDED if what == "succeed" else BuildStatus.FAILED)
        return True

    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        if not self.model:
            return
        one = data.draw(st.sampled_from(self.model))
        live = one in self._live()
        try:
            self.run(self.queue.abort(one.id))
        except Refused:
            assert not live
        else:
            assert live
            one.end(BuildStatus.FAILED)
            one.tokens.append(Token("void"))  # nobody's: no attempt ended it

    @rule(reapers=st.integers(1, 3))
    def reap(self, reapers: int) -> None:
        async def at_once() -> list[tuple[BuildId, ...]]:
            return await asyncio.gather(*(self.queue.reap() for _ in range(reapers)))

        changed = [build for one in self.run(at_once()) for build in one]
        doomed = [one for one in self._live() if self._doomed(one)]
        assert sorted(changed) == sorted(one.id for one in doomed), "each of them once"
        for one in doomed:
            if one.status is BuildStatus.QUEUED or one.claimed_s > LIMITS.running_s_max:
                one.end(BuildStatus.FAILED)
            else:
                one.lose()

    def _doomed(self, one: Modelled) -> bool:
        if one.status is BuildStatus.QUEUED:
            return one.queued_s > LIMITS.queued_s_max
        return one.claimed_s > LIMITS.running_s_max or one.silent_s > LIMITS.silence_s_max

    @rule(seconds=st.sampled_from(STEP_S))
    def time_passes(self, seconds: int) -> None:
        async def move() -> None:
            names = (
                "created_at",
                "place",
                "queued_at",
                "claimed_at",
                "started_at",
                "last_heartbeat",
                "not_before",
                "finished_at",
            )
            async with self.database.transaction() as tx:
                await tx.execute(update(jobs).values({name: jobs.c[name] - seconds * 1000 for name in names}))

        self.run(move())
        for one in self.model:
            one.age_s += seconds
            one.queued_s += seconds
            one.claimed_s += seconds
            one.silent_s += seconds
            one.ended_s += seconds
            one.hold_s -= seconds

    @rule(days=st.sampled_from([0, KEPT_DAYS]))
    def forget(self, days: int) -> None:
        """With 0 all that has ended goes, however young."""
        gone = {one.id for one in self.model if one not in self._live() and one.ended_s > days * 86_400}
        assert set(self.run(forget_builds(self.database, days or 1e-9))) >= gone
        kept = set(self._rows())
        self.forgotten += sum(one.id not in kept for one in self.model)
        assert all(one.id in kept for one in self._live())
        self.model = [one for one in self.model if one.id in kept]

    @invariant()
    def the_table_is_the_model(self) -> None:
        rows = self._rows()
        assert {one.id: (one.status, one.attempt, one.lane) for one in self.model} == {
            id_: (row.status, row.attempt, row.lane) for id_, row in rows.items()
        }
        for one in self.model:
            if one.status is BuildStatus.RUNNING:
                assert rows[one.id].token == one.holder
            assert (one.status is BuildStatus.QUEUED) <= (rows[one.id].token is None)
            assert (rows[one.id].finished_at is None) == (one in self._live())

    @invariant()
    def what_is_forgotten_is_counted(self) -> None:
        async def count() -> int:
            async with self.database.reading() as reading:
                return sum((await reading.execute(select(build_days.c.builds))).scalars().all())

        assert self.run(count()) == self.forgotten

    def teardown(self) -> None:
        """What still lives ends within its bounds, whatever was done before."""
        for _ in range(LIMITS.attempts_max + 1):
            if self._live():
                self.time_passes(max(STEP_S) * 2)
                self.reap(1)
        assert not self._live()

    def _live(self) -> list[Modelled]:
        return [one for one in self.model if not one.status.ended]

    def _of(self, build: BuildId) -> Modelled:
        return next(one for one in self.model if one.id == build)

    def _rows(self) -> dict[BuildId, Any]:
        async def read() -> dict[BuildId, Any]:
            async with self.database.reading() as reading:
                return {BuildId(row.id): row for row in await reading.execute(select(jobs))}

        return self.run(read())


@pytest.mark.timeout(110)
def test_the_queue_keeps_its_promises_whatever_happens(database_url: str) -> None:
    with asyncio.Runner() as runner:
        database = runner.run(Database.open(database_url))
        try:
            machine = type("Machine", (QueueMachine,), {"runner": runner, "database": database})
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=10 if database_url.startswith("sqlite") else 25,  # which has a commit to a real disk each time
                    stateful_step_count=30,
                    deadline=None,
                    # To make a failure shorter would take longer than a test may.
                    phases=(Phase.explicit, Phase.reuse, Phase.generate),
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
                ),
            )
        finally:
            runner.run(database.close())
