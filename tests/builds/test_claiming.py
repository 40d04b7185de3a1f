"""The rules in SQL are the rules: what is claimed of a random table is what the policy says."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from fleetcast.builds.policy import Job, claimed_next, place_ms
from fleetcast.builds.queue import BuildQueue, QueueLimits
from fleetcast.model.build import BuildStatus, Lane, Recipe
from fleetcast.model.ids import BuildId, ServiceName
from fleetcast.model.limits import BUILD_URGENT_AHEAD_S
from fleetcast.schema.tables import jobs
from fleetcast.stores.database import Database, now_ms, read_clock_ms

# As many as an hour has: urgent builds stand beside ordinary ones of the same place, and the id decides.
STEP_MS = BUILD_URGENT_AHEAD_S * 1000 // 4
LATER_MS = 10**9
"""Far from now, so that nothing becomes ready while a test runs."""

rows = st.lists(
    st.fixed_dictionaries(
        {
            "service": st.sampled_from(["web", "api", "db"]),
            "status": st.sampled_from([*[BuildStatus.QUEUED] * 4, BuildStatus.RUNNING, *BuildStatus]),
            "lane": st.sampled_from(Lane),
            "age": st.integers(0, 8),
            "not_before": st.sampled_from([None, None, -LATER_MS, LATER_MS]),
        }
    ),
    max_size=16,
)


async def _fill(database: Database, drawn: list[dict[str, Any]]) -> list[Job]:
    """The table as drawn; its live rows as the policy sees them."""
    async with database.transaction() as tx:
        await tx.execute(delete(jobs))
        now = await read_clock_ms(tx)
        for number, row in enumerate(drawn, 1):
            created_at = now - STEP_MS * row["age"]
            ended = BuildStatus(row["status"]).ended
            await tx.execute(
                insert(jobs).values(
                    id=number,
                    created_at=created_at,
                    place=place_ms(created_at, row["lane"]),
                    queued_at=now,
                    status=row["status"],
                    lane=row["lane"],
                    not_before=None if row["not_before"] is None else now + row["not_before"],
                    name=f"{row['service']}/{number}",
                    service=row["service"],
                    commit_sha="a" * 40,
                    build_number=1,
                    repository="/repo",
                    trunk="main",
                    recipe=Recipe(build="make"),
                    finished_at=now_ms() if ended else None,
                )
            )
        found = (await tx.execute(select(jobs).where(jobs.c.finished_at.is_(None)))).all()
    return [
        Job(
            BuildId(row.id),
            ServiceName(row.service),
            BuildStatus(row.status),
            Lane(row.lane),
            row.created_at,
            row.not_before or 0,
        )
        for row in found
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(drawn=rows, bound=st.integers(1, 3), workers=st.integers(1, 8), at_once=st.booleans())
async def test_sql_and_policy_claim_the_same(
    database: Database, drawn: list[dict[str, Any]], bound: int, workers: int, at_once: bool
) -> None:
    known = await _fill(database, drawn)
    queue = BuildQueue(database, QueueLimits(3, 7200, 600, service_running_max=bound))
    names = [f"w{number}" for number in range(workers)]
    claims = (
        await asyncio.gather(*(queue.claim(name) for name in names)) if at_once else [await queue.claim(name) for name in names]
    )
    async with database.reading() as reading:
        now = await read_clock_ms(reading)
        held = {row.id: (row.worker, row.token) for row in await reading.execute(select(jobs).where(jobs.c.worker != ""))}

    assert [claim.build.id for claim in claims if claim is not None] == claimed_next(known, now, bound, workers)
    assert held == {claim.build.id: (claim.build.worker, claim.token) for claim in claims if claim is not None}
    assert len({claim.token for claim in claims if claim is not None}) == len(held)
