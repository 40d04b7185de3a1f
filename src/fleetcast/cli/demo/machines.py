"""Looking at the machines themselves: what ``current`` points to, and what the service says when it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from fleetcast.agent.layout import MachineLayout, ServiceKey
from fleetcast.http.session import Session
from fleetcast.launch.settings import LOOPBACK, AgentSettings
from fleetcast.model.errors import FleetcastError

ASK_S_MAX: Final = 10.0


@dataclass(frozen=True, slots=True)
class Found:
    """What one machine really runs."""

    machine: str
    release: str
    """Digest that ``current`` points to; empty: there is no such link."""
    commit: str
    """What the running service says it is; empty: no answer."""


class Version(msgspec.Struct, frozen=True):
    """The example's answer to ``GET /version``."""

    commit: str


async def look(agents: Sequence[AgentSettings], environment: str, service: str, *, ask: bool) -> list[Found]:
    """Every machine's link, and with ``ask`` its service's answer on the machine's own port."""
    return list(await asyncio.gather(*(_look(agent, ServiceKey(environment, service), ask) for agent in agents)))


async def _look(agent: AgentSettings, key: ServiceKey, ask: bool) -> Found:
    current = MachineLayout(agent.directory).service(key).current
    release = current.readlink().parent.name if current.is_symlink() else ""
    return Found(agent.machine, release, await _version(agent.environment.get("PORT", "")) if ask else "")


async def _version(port: str) -> str:
    session = Session(f"http://{LOOPBACK}:{port}")
    try:
        return (await session.ask("GET", "/version", reply=Version, timeout_s=ASK_S_MAX)).commit
    except FleetcastError:
        return ""
    finally:
        await session.aclose()
