"""The loops that tell the servers: one gathers, one a server sends, so that a server that is away holds up nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import structlog

from fleetcast.control import outboxes
from fleetcast.control.config import ControlConfig
from fleetcast.control.loops import regularly
from fleetcast.control.statuses.outbox import Claimed, claim, gather, not_told, told
from fleetcast.control.statuses.showing import GITHUB, GITLAB, Forge, already_so, telling
from fleetcast.http import tokens
from fleetcast.http.session import Session
from fleetcast.model.errors import FleetcastError, Invalid
from fleetcast.model.limits import STATUS_BACKOFF_S_MAX, STATUS_BACKOFF_S_MIN, STATUS_INTERVAL_S, STATUS_SEND_S_MAX
from fleetcast.stores.database import Database

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ForgeApi:
    """A server, and how its API is reached."""

    forge: Forge
    api_url: str
    token_file: Path


class Gatherer:
    """From events to the outbox."""

    def __init__(self, database: Database, forges: tuple[Forge, ...]) -> None:
        self._database = database
        self._forges = forges

    async def turn(self) -> None:
        while await gather(self._database, self._forges):
            pass


class Sender:
    """From the outbox to one server. Safe to run in several control processes."""

    def __init__(self, database: Database, api: ForgeApi, rng: Random | None = None) -> None:
        self._database = database
        self._api = api
        self._rng = rng or Random()

    async def turn(self) -> None:
        """Tell all that is due, a few at a time."""
        while claimed := await claim(self._database, self._api.forge):
            try:
                # Read each time: a token is replaced by writing its file.
                token = await asyncio.to_thread(tokens.load, self._api.token_file)
            except FleetcastError as error:
                for one in claimed:
                    await self._not_told(one, error)
                return
            session = Session(self._api.api_url, token)
            async with aclosing(session):
                ends = await asyncio.gather(*(self._tell(session, one) for one in claimed), return_exceptions=True)
            for end in ends:
                if isinstance(end, BaseException):
                    raise end

    async def _tell(self, session: Session, one: Claimed) -> None:
        what = telling(self._api.forge, one.status)
        try:
            await session.call("POST", what.path, what.body, reply=dict[str, Any], timeout_s=STATUS_SEND_S_MAX)
        except FleetcastError as error:
            if not already_so(self._api.forge, error.message):
                await self._not_told(one, error)
                return
        await told(self._database, one)

    async def _not_told(self, one: Claimed, error: FleetcastError) -> None:
        # 400, 413, 422: the server will not answer otherwise. Tokens and rights (401, 403, 404) can be set right.
        final = isinstance(error, Invalid) and error.code.startswith("http_")
        again_in_s = None if final else backoff_s(one.failures + 1, self._rng)
        log.warning(
            "status_not_told",
            forge=self._api.forge.name,
            repository=one.status.repository,
            commit=one.status.commit_sha,
            error=error.message,
            again_in_s=again_in_s,
        )
        await not_told(self._database, one, error.message, again_in_s)


def status_loops(database: Database, config: ControlConfig, stop: asyncio.Event) -> dict[str, Coroutine[Any, Any, None]]:
    """What control runs for the servers that its settings name a token for; nothing where they name none."""
    apis = [
        ForgeApi(Forge(name, url, config.commit_status_link), api_url, file)
        for name, url, api_url, file in (
            (GITHUB, config.github_url, config.github_api_url, config.github_status_token),
            (GITLAB, config.gitlab_url, config.gitlab_api_url, config.gitlab_status_token),
        )
        if file != Path()
    ]
    if not apis:
        return {}
    gatherer = Gatherer(database, tuple(api.forge for api in apis))
    turns = {"commit statuses": gatherer.turn, **{f"{api.forge.name} statuses": Sender(database, api).turn for api in apis}}
    return {name: regularly(name, turn, STATUS_INTERVAL_S, stop) for name, turn in turns.items()}


def backoff_s(failures: int, rng: Random) -> float:
    """Seconds to wait after ``failures`` (from 1) in a row."""
    return outboxes.backoff_s(failures, rng, at_least_s=STATUS_BACKOFF_S_MIN, at_most_s=STATUS_BACKOFF_S_MAX)
