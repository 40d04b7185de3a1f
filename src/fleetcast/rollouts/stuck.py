"""Deployments whose step raises: kept apart, so that no other one waits for them, and ended when that does not stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

import structlog
from sqlalchemy import select, update

from fleetcast.model.deployment import DeploymentState
from fleetcast.model.errors import FleetcastError, Stale, Unavailable
from fleetcast.model.event import EventKind
from fleetcast.model.ids import DeploymentId, Token
from fleetcast.model.limits import OBSTACLE_CHARS_MAX
from fleetcast.model.spans import span
from fleetcast.rollouts.deployments import UNFINISHED
from fleetcast.schema.events import record_event
from fleetcast.schema.tables import deployments
from fleetcast.stores.database import Database, now_ms

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Trouble:
    since_s: float
    """By the steady clock."""
    error: str


class Stuck:
    """One controller's, for deployments that it has claimed by ``token``. ``steady``: seconds that never jump."""

    def __init__(self, database: Database, token: Token, stuck_s_max: float, steady: Callable[[], float]) -> None:
        self._database = database
        self._token = token
        self._stuck_s_max = stuck_s_max
        self._steady = steady
        self._troubles: dict[DeploymentId, _Trouble] = {}

    @property
    def obstacle(self) -> str:
        """What does not go on, in one line; empty: all of them do."""
        for deployment, trouble in self._troubles.items():
            more = f", and {len(self._troubles) - 1} more" if len(self._troubles) > 1 else ""
            bound = f"unless it does, it has FAILED after {span(self._stuck_s_max)}"
            return f"deployment {deployment} cannot go on ({trouble.error}){more}: {bound}"
        return ""

    async def apart(self, deployment: DeploymentId, advance: Callable[[DeploymentId], Awaitable[bool]]) -> bool:
        """Advance one deployment; what it raises is remembered. Returns what ``advance`` does, or whether it was given up.

        Raises:
            Unavailable: an engine is away, for all of them.
        """
        try:
            stepped = await advance(deployment)
        except Stale:  # another controller has it, or a newer deployment has ended it
            stepped = False
        except Unavailable:
            raise
        except Exception as error:  # whatever it is, it is this one's
            return await self._remember(deployment, error)
        self._troubles.pop(deployment, None)
        return stepped

    def only(self, unfinished: Collection[DeploymentId]) -> None:
        """Forget those that have ended, or are somebody else's."""
        self._troubles = {each: trouble for each, trouble in self._troubles.items() if each in unfinished}

    async def _remember(self, deployment: DeploymentId, error: Exception) -> bool:
        said = error.message if isinstance(error, FleetcastError) else f"{type(error).__name__}: {error}"
        line = " ".join(said.split())[:OBSTACLE_CHARS_MAX]
        before = self._troubles.get(deployment)
        if before is None or before.error != line:
            log.error("deployment_stuck", deployment=deployment, error=line, exc_info=error)
        since_s = self._steady() if before is None else before.since_s
        self._troubles[deployment] = _Trouble(since_s, line)
        if self._steady() - since_s <= self._stuck_s_max:
            return False
        await self._give_up(deployment, f"control could not go on with it for {span(self._stuck_s_max)}: {line}")
        del self._troubles[deployment]
        return True

    async def _give_up(self, deployment: DeploymentId, reason: str) -> None:
        """Nothing of its row is read but what has to be: it may be what cannot be read. The goal stays as it is."""
        ours = deployments.c.id == deployment, deployments.c.token == self._token, deployments.c.state.in_(UNFINISHED)
        state = DeploymentState.FAILED
        ended = {"state": state, "reason": reason, "finished_at": now_ms(), "token": None, "claim_expires_at": None}
        async with self._database.transaction() as tx:
            service = (await tx.execute(select(deployments.c.service).where(*ours))).scalar_one_or_none()
            if service is None:
                return  # it has ended meanwhile
            await tx.execute(update(deployments).where(*ours).values(ended))
            record_event(tx, EventKind.DEPLOYMENT_ENDED, deployment, service=service, state=state, text=reason)
        log.error("deployment_given_up", deployment=deployment, service=service, reason=reason)
