"""From a push to what it triggers: for each service of the repository what that service wants, through the same intake as what
people ask for.

A service's head is written in the transaction of what it triggers. So a push that is heard of twice triggers once, whatever
dies in between, and however many control processes hear of it. One transaction a service: one that is refused keeps no other
from its own.
"""

from __future__ import annotations

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.model.clone_url import normalised
from fleetcast.model.errors import Invalid, NotFound, Refused
from fleetcast.model.ids import CommitSha
from fleetcast.model.messages.hooks import HookOutcome
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.push import OnPush, Push
from fleetcast.rollouts.push_order import Head, Verdict, judge, remembered
from fleetcast.rollouts.services import get_service, list_services
from fleetcast.rollouts.triggers import Triggers
from fleetcast.rollouts.trunk_heads import head_of, locked, look_now, write_head
from fleetcast.stores.database import Database

log = structlog.get_logger(__name__)


class Pushes:
    """Call the controller's ``wake`` after each of these that triggered something."""

    def __init__(self, database: Database, triggers: Triggers) -> None:
        self._database = database
        self._triggers = triggers

    async def take(self, push: Push) -> tuple[HookOutcome, ...]:
        """What it triggers, service by service, by name; empty: no service has this repository."""
        meant = {url for text in push.repositories if (url := normalised(text)) is not None}
        async with self._database.reading() as reading:
            services = await list_services(reading)
        outcomes = [await self._take(spec, push) for spec in services if normalised(spec.repository) in meant]
        self._triggers.wake(any(each.triggered for each in outcomes))
        return tuple(outcomes)

    def wake(self) -> None:
        """To be called after the commit of what :meth:`order` has triggered."""
        self._triggers.wake()

    async def order(self, tx: AsyncConnection, spec: ServiceSpec, sha: CommitSha, head: Head) -> str:
        """Trigger what ``spec`` wants for a new head, and remember that, as part of ``tx``. Returns the build's number or the
        deployment's id; call :meth:`wake` after the commit. Raises as :meth:`Triggers.deploy`."""
        await write_head(tx, spec.name, head)
        subject = await self._triggers.order(tx, spec.name, sha, spec.on_push)
        log.info("push_taken", service=spec.name, commit=sha, triggered=spec.on_push, subject=subject)
        return subject

    async def _take(self, spec: ServiceSpec, push: Push) -> HookOutcome:
        if (idle := _idle(spec, push)) is not None:
            return HookOutcome(spec.name, "", "", idle)
        try:
            async with self._database.transaction() as tx:
                return await self._in(tx, await get_service(tx, spec.name), push)
        except (Refused, NotFound, Invalid) as error:
            log.warning("push_refused", service=spec.name, commit=push.head, reason=error.message)
            return HookOutcome(spec.name, "", "", error.message, refused=True)

    async def _in(self, tx: AsyncConnection, spec: ServiceSpec, push: Push) -> HookOutcome:
        if (idle := _idle(spec, push)) is not None:
            return HookOutcome(spec.name, "", "", idle)
        row = await locked(tx, spec.name)
        if spec.poll_every_s is not None:
            # Where control can look, it rests on that: the repository knows best where its branch is.
            await look_now(tx, spec.name)
            return HookOutcome(spec.name, "", "", f"{spec.name} is polled: control looks at {spec.trunk} now")
        known = head_of(row)
        verdict = judge(known, push)
        head = remembered(known, push, verdict)
        if verdict is Verdict.NEWS:
            subject = await self.order(tx, spec, push.head, head)
            return HookOutcome(spec.name, spec.on_push, subject, f"{spec.on_push} of {push.head} is triggered")
        await write_head(tx, spec.name, head)
        why = f"{push.head} is known" if verdict is Verdict.KNOWN else f"{push.head} is overtaken by {head.sha}"
        return HookOutcome(spec.name, "", "", f"{why}: nothing is to be done")


def _idle(spec: ServiceSpec, push: Push) -> str | None:
    """Why a push is nothing to a service."""
    if spec.on_push is OnPush.NOTHING:
        return (
            f"{spec.name} wants nothing on a push: fleetcast service add {spec.name} REPOSITORY --on-push deploy changes that"
        )
    if push.branch != spec.trunk:
        return f"{push.branch} is not the trunk of {spec.name}, {spec.trunk} is"
    return None
