"""Outside checks in SQL: which are due, who asks, and what the answer was.

A check is claimed by row, with a lease by the database's clock and a token that the answer names (law 1). So of several control
processes one asks, another does when that one died, and the answer of one that was thought dead is dropped. Only the checks of
the wave under way are asked, and only while everybody in it is healthy.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.check import Check, CheckAnswer, CheckOutcome, CheckPicture
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.event import EventKind
from fleetcast.model.ids import CommitSha, DeploymentId, ServiceName
from fleetcast.model.limits import CHECK_EVERY_S_MAX, CHECK_LEASE_S
from fleetcast.model.lines import one_line
from fleetcast.model.plan import Plan
from fleetcast.rollouts.outside_checks import CheckFacts, taken_in
from fleetcast.schema.columns import AnyRow
from fleetcast.schema.events import record_event
from fleetcast.schema.rollout_tables import outside_checks, rollouts
from fleetcast.schema.tables import deployments
from fleetcast.stores.database import Database, now_ms, read_clock_ms

_LEASE_MS: Final = CHECK_LEASE_S * 1000


@dataclass(frozen=True, slots=True)
class Ask:
    """A check that this process is to ask, and the token that its answer names."""

    check: Check
    deployment: DeploymentId
    service: ServiceName
    environment: str
    commit_sha: CommitSha
    wave: int
    number: int
    token: str


async def prepare(tx: AsyncConnection, deployment: str, plan: Plan, wave: int) -> None:
    """The wave is let in: its checks are to be asked."""
    rows = [{"deployment": deployment, "wave": wave, "number": number} for number in range(len(plan.waves[wave].checks))]
    if rows:
        await tx.execute(insert(outside_checks), rows)


async def check_facts(reading: AsyncConnection, row: AnyRow) -> tuple[CheckFacts, ...]:
    """Of the wave under way, of a row of :func:`~fleetcast.rollouts.deployments.deployment_rows`."""
    if row.plan is None or row.wave is None or not row.plan.waves[row.wave].checks:
        return ()
    known = select(outside_checks).where(outside_checks.c.deployment == row.id, outside_checks.c.wave == row.wave)
    rows = {found.number: found for found in await reading.execute(known)}
    checks = enumerate(row.plan.waves[row.wave].checks)
    return tuple(_facts(check, rows[number]) if number in rows else CheckFacts(check) for number, check in checks)


async def check_pictures(reading: AsyncConnection, deployment: DeploymentId) -> tuple[CheckPicture, ...]:
    """Of the wave that was let in last, for people to look at."""
    wave = select(rollouts.c.wave, rollouts.c.plan).where(rollouts.c.deployment == deployment, rollouts.c.plan.is_not(None))
    row = (await reading.execute(wave)).one_or_none()
    if row is None or not row.plan.waves[row.wave].checks:
        return ()
    known = select(outside_checks).where(outside_checks.c.deployment == deployment, outside_checks.c.wave == row.wave)
    checks = row.plan.waves[row.wave].checks
    return tuple(
        CheckPicture(
            checks[found.number].title,
            None if found.outcome is None else CheckOutcome(found.outcome),
            found.figures,
            found.failures,
            found.output,
        )
        for found in await reading.execute(known.order_by(outside_checks.c.number))
    )


async def claim_asks(database: Database, at_most: int) -> Sequence[Ask]:
    """Those that are due, those that wait longest first."""
    due = (
        select(
            outside_checks.c.deployment,
            outside_checks.c.wave,
            outside_checks.c.number,
            rollouts.c.plan,
            deployments.c.service,
            deployments.c.environment,
            deployments.c.commit_sha,
        )
        .join_from(outside_checks, rollouts, outside_checks.c.deployment == rollouts.c.deployment)
        .join(deployments, deployments.c.id == outside_checks.c.deployment)
        .where(
            deployments.c.state == DeploymentState.DISTRIBUTING,
            rollouts.c.wave == outside_checks.c.wave,
            rollouts.c.healthy_at.is_not(None),
            # What lies further ahead than it may was stamped before the clock was set back.
            or_(
                outside_checks.c.ask_at.is_(None),
                outside_checks.c.ask_at <= now_ms(),
                outside_checks.c.ask_at > now_ms() + CHECK_EVERY_S_MAX * 1000,
            ),
            or_(
                outside_checks.c.token.is_(None),
                outside_checks.c.claim_expires_at < now_ms(),
                outside_checks.c.claim_expires_at > now_ms() + _LEASE_MS,
            ),
        )
        .order_by(outside_checks.c.ask_at, outside_checks.c.deployment, outside_checks.c.number)
        .limit(at_most)
    )
    async with database.reading() as reading:
        if (await reading.execute(due.limit(1))).first() is None:
            return ()
    token = secrets.token_hex(16)
    async with database.transaction() as tx:
        rows = (await tx.execute(due)).all()
        for row in rows:
            ours = _of(row.deployment, row.wave, row.number)
            await tx.execute(update(outside_checks).where(*ours).values(token=token, claim_expires_at=now_ms() + _LEASE_MS))
    return tuple(
        Ask(
            row.plan.waves[row.wave].checks[row.number],
            DeploymentId(row.deployment),
            ServiceName(row.service),
            row.environment,
            CommitSha(row.commit_sha),
            row.wave,
            row.number,
            token,
        )
        for row in rows
    )


async def answered(database: Database, ask: Ask, answer: CheckAnswer) -> bool:
    """Take in an answer. Returns whether it counts: the claim may have run out, and somebody else asked meanwhile."""
    async with database.transaction() as tx:
        ours = (*_of(ask.deployment, ask.wave, ask.number), outside_checks.c.token == ask.token)
        row = (await tx.execute(select(outside_checks).where(*ours))).one_or_none()
        if row is None:
            return False
        now = await read_clock_ms(tx)
        before = _facts(ask.check, row)
        facts = taken_in(before, answer, now)
        await tx.execute(
            update(outside_checks)
            .where(*ours)
            .values(
                token=None,
                claim_expires_at=None,
                ask_at=now + ask.check.every_s * 1000,
                outcome=facts.outcome,
                figures=facts.figures,
                output=answer.output,
                answered_at=now,
                failures=facts.failures,
                not_passed_since=facts.not_passed_since_ms,
            )
        )
        if facts.outcome is not before.outcome or facts.outcome is CheckOutcome.FAILED:
            _told(tx, ask, facts, answer.output)
    return True


def _told(tx: AsyncConnection, ask: Ask, facts: CheckFacts, output: str) -> None:
    passed = facts.outcome is CheckOutcome.PASSED
    text = f"check {facts.check.title} passed: {facts.figures}" if passed else facts.words
    last = output.strip().splitlines()[-1:] if not passed else []
    said = one_line("; ".join((text, *last)))
    state = DeploymentState.DISTRIBUTING
    record_event(tx, EventKind.DEPLOYMENT_CHECKED, ask.deployment, service=ask.service, state=state, text=said)


def _facts(check: Check, row: AnyRow) -> CheckFacts:
    outcome = None if row.outcome is None else CheckOutcome(row.outcome)
    return CheckFacts(check, outcome, row.figures, row.answered_at, row.failures, row.not_passed_since)


def _of(deployment: str, wave: int, number: int) -> tuple[ColumnElement[bool], ...]:
    return (outside_checks.c.deployment == deployment, outside_checks.c.wave == wave, outside_checks.c.number == number)
