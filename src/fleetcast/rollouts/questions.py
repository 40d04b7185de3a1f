"""Questions about single machines. Control has sums only (law 4), so it asks the machine's region, in the answer to its next
report; whichever control process the region tells writes the answer down, and whoever waits for it sees it there.
"""

from __future__ import annotations

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.limits import MACHINE_QUESTION_S_MAX, MACHINE_QUESTIONS_MAX
from fleetcast.model.report import MachineAnswer
from fleetcast.schema.machine_tables import machine_questions
from fleetcast.schema.upsert import upsert
from fleetcast.stores.database import now_ms, read_clock_ms

_OPEN = or_(machine_questions.c.answered_at.is_(None), machine_questions.c.answered_at < machine_questions.c.asked_at)


async def ask(tx: AsyncConnection, machine: MachineId, region: RegionName) -> int | None:
    """Ask; an answer counts from the returned time on. ``None``: too many of this region's machines are asked about already.

    Who asks about a machine that is asked about shares the question. Old ones go.
    """
    now = await read_clock_ms(tx)
    await tx.execute(delete(machine_questions).where(machine_questions.c.asked_at < now - MACHINE_QUESTION_S_MAX * 1000))
    asked = select(machine_questions.c.asked_at).where(
        machine_questions.c.machine == machine, machine_questions.c.region == region, _OPEN
    )
    at: int | None = (await tx.execute(asked)).scalar_one_or_none()
    if at is not None:
        return at
    here = select(func.count()).select_from(machine_questions).where(machine_questions.c.region == region, _OPEN)
    if (await tx.execute(here)).scalar_one() >= MACHINE_QUESTIONS_MAX:
        return None
    row = {"machine": machine, "region": region, "asked_at": now, "answered_at": None, "answer": None}
    await upsert(tx, machine_questions, [row], update=["region", "asked_at", "answered_at", "answer"])
    return now


async def wanted(reading: AsyncConnection, region: RegionName) -> tuple[MachineId, ...]:
    """Machines that this region is asked about."""
    fresh = machine_questions.c.asked_at > now_ms() - MACHINE_QUESTION_S_MAX * 1000
    waiting = select(machine_questions.c.machine).where(machine_questions.c.region == region, _OPEN, fresh)
    found = await reading.execute(waiting.order_by(machine_questions.c.asked_at).limit(MACHINE_QUESTIONS_MAX))
    return tuple(MachineId(machine) for machine in found.scalars())


async def record_answer(tx: AsyncConnection, region: RegionName, answer: MachineAnswer) -> None:
    """Write an answer down. One that nobody waits for, or of a region that was not asked, is none."""
    asked = machine_questions.c.machine == answer.machine, machine_questions.c.region == region
    await tx.execute(update(machine_questions).where(*asked).values(answered_at=now_ms(), answer=answer))


async def answer_since(reading: AsyncConnection, machine: MachineId, asked_at_ms: int) -> MachineAnswer | None:
    """The answer to a question; ``None``: there is none yet."""
    newer = machine_questions.c.machine == machine, machine_questions.c.answered_at >= asked_at_ms
    found: MachineAnswer | None = (await reading.execute(select(machine_questions.c.answer).where(*newer))).scalar_one_or_none()
    return found
