"""Asking regions about machines, and what a word means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from fleetcast.model.ids import MachineId, RegionName
from fleetcast.model.limits import MACHINE_QUESTION_S_MAX, MACHINE_QUESTIONS_MAX
from fleetcast.model.messages.fleet import Kind, Named
from fleetcast.model.report import MachineAnswer
from fleetcast.rollouts import questions
from fleetcast.rollouts.names import meaning
from fleetcast.schema.machine_tables import machine_questions

if TYPE_CHECKING:
    from conftest import Company

EU, US = RegionName("eu"), RegionName("us")
ONE = MachineId("eu-1")


async def ask(company: Company, machine: MachineId = ONE) -> int | None:
    async with company.database.transaction() as tx:
        return await questions.ask(tx, machine, EU)


async def wanted(company: Company, region: RegionName = EU) -> tuple[MachineId, ...]:
    async with company.database.reading() as reading:
        return await questions.wanted(reading, region)


async def answer(company: Company, region: RegionName = EU) -> MachineAnswer:
    told = MachineAnswer(ONE, 5)
    async with company.database.transaction() as tx:
        await questions.record_answer(tx, region, told)
    return told


async def found(company: Company, asked: int | None) -> MachineAnswer | None:
    assert asked is not None
    async with company.database.reading() as reading:
        return await questions.answer_since(reading, ONE, asked)


async def test_a_question_is_asked_of_its_region_until_that_answers(company: Company) -> None:
    asked = await ask(company)
    assert await ask(company) == asked, "who asks the same shares the question"
    assert (await wanted(company), await wanted(company, US)) == ((ONE,), ())
    await answer(company, US)
    assert await found(company, asked) is None, "it was not asked"
    told = await answer(company)
    assert await found(company, asked) == told
    assert await wanted(company) == ()


async def test_an_answer_does_not_answer_a_later_question(company: Company) -> None:
    asked = await ask(company)
    await answer(company)
    async with company.database.transaction() as tx:
        earlier = {"asked_at": machine_questions.c.asked_at - 10, "answered_at": machine_questions.c.answered_at - 10}
        await tx.execute(update(machine_questions).values(earlier))
    again = await ask(company)
    assert again is not None
    assert asked is not None
    assert await found(company, again) is None
    assert await wanted(company) == (ONE,)


async def test_questions_are_bounded_and_old_ones_go(company: Company) -> None:
    for number in range(MACHINE_QUESTIONS_MAX):
        assert await ask(company, MachineId(f"m{number}")) is not None
    assert await ask(company) is None
    assert len(await wanted(company)) == MACHINE_QUESTIONS_MAX
    async with company.database.transaction() as tx:
        await tx.execute(
            update(machine_questions).values(asked_at=machine_questions.c.asked_at - MACHINE_QUESTION_S_MAX * 1000 - 1)
        )
    assert await wanted(company) == (), "nobody waits for so long"
    assert await ask(company) is not None
    async with company.database.reading() as reading:
        assert (await reading.execute(select(func.count()).select_from(machine_questions))).scalar_one() == 1


async def test_words_that_nearly_mean_something(company: Company) -> None:
    near = {
        "wbe": [Named(Kind.SERVICE, "web")],
        "eu-3": [Named(Kind.MACHINE, "eu-2"), Named(Kind.MACHINE, "eu-1"), Named(Kind.REGION, "eu")],
        "u": [Named(Kind.REGION, "us"), Named(Kind.REGION, "eu"), Named(Kind.MACHINE, "us-1")],
        "something-else": [],
        "": [],
        "web\0": [],
    }
    for word, named in near.items():
        async with company.database.reading() as reading:
            told = await meaning(reading, word)
        assert told.named == ()
        assert set(told.near) == set(named), word


async def test_a_word_may_mean_several_things(company: Company) -> None:
    deployment = await company.deploy("a")
    company.machines["eu"] = ("eu-1", "web")
    await company.report("eu")
    async with company.database.reading() as reading:
        assert (await meaning(reading, "web")).named == (Named(Kind.SERVICE, "web"), Named(Kind.MACHINE, "web"))
        assert (await meaning(reading, deployment)).named == (Named(Kind.DEPLOYMENT, deployment),)
        assert (await meaning(reading, deployment[:6])).named == (Named(Kind.DEPLOYMENT, deployment),)
