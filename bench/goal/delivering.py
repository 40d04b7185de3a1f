"""Goals are written into the global store, as control does; when each agent has its own is noted."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any, Final

import msgspec

from bench.goal.a_region import REGION, Region, a_region
from bench.goal.agents import GROUP, Agent
from bench.goal.asked import Asked
from bench.goal.figures import summary
from bench.swarm.place import place
from fleetcast.cli.demo.engines.etcd import EtcdServer, etcd_server
from fleetcast.http.session import Session
from fleetcast.model.artifact import goal_key
from fleetcast.model.generation import Generation
from fleetcast.model.goal import EVERYONE, Cohort, Goal, Limits, ReleaseRef
from fleetcast.model.ids import ArtifactName, DeploymentId, Digest, ServiceName
from fleetcast.model.limits import KV_POLL_INTERVAL_S
from fleetcast.model.machine import Selector
from fleetcast.stores.kv_engines import open_kv
from lab.errors import LabError

AGENTS: Final = 10
WRITING_S: Final = {"poll": 9.5 * KV_POLL_INTERVAL_S, "watch": 50.0}
"""Over so long the writes of each way are spread."""
ARRIVED_S_MAX: Final = 60.0
SEED: Final = 20_261
_ENVIRONMENT: Final = "production"
_DAY_MS: Final = 86_400_000
_SPARE_BYTES: Final = 64 << 20

Say = Callable[[str], None]


def measure(asked: Asked, say: Say) -> dict[str, Any]:
    """The result as JSON has it. Raises :class:`LabError`."""
    told: dict[str, Any] = {"engine": asked.engine, "writes": asked.writes, "services": asked.services, "agents": AGENTS}
    told["interval_s"] = KV_POLL_INTERVAL_S
    with _etcd(asked) as server:
        for way in ("poll", "watch"):
            with (
                place(_SPARE_BYTES) as directory,
                a_region(
                    directory / "company", f"{server.url}/{way}" if server else "", KV_POLL_INTERVAL_S, watch=way == "watch"
                ) as region,
            ):
                took_s = asyncio.run(_deliver(asked, region, WRITING_S[way]))
            told[way] = summary(took_s)
            say(f"{asked.engine}, {way}: {told[way]}")
    return told


@contextmanager
def _etcd(asked: Asked) -> Iterator[EtcdServer | None]:
    with etcd_server(durable=True) if asked.engine == "etcd" else nullcontext() as server:
        yield server


async def _deliver(asked: Asked, region: Region, spread_s: float) -> list[float]:
    """Seconds from the moment before each write to the agent's having it."""
    rng = random.Random(SEED)
    store = await open_kv(region.store.file, region.store.etcd)
    try:
        async with _following(region) as agents:
            for number in range(asked.services):
                await store.put(*_goal(number, 1))
            await _until(agents, range(asked.services), 1)
            begun: dict[int, float] = {}
            started = time.monotonic()
            moments = sorted(rng.uniform(0, spread_s) for _ in range(asked.writes))
            for number, moment in zip(rng.sample(range(asked.services), asked.writes), moments, strict=True):
                await asyncio.sleep(started + moment - time.monotonic())
                begun[number] = time.monotonic()
                await store.put(*_goal(number, 2))
            await _until(agents, list(begun), 2)
            return [agents[number % AGENTS].known[_service(number)][1] - at for number, at in begun.items()]
    finally:
        await store.close()


@asynccontextmanager
async def _following(region: Region) -> AsyncIterator[Sequence[Agent]]:
    sessions = [Session(region.url, region.agent_token) for _ in range(AGENTS)]
    agents = [Agent(number, REGION, session) for number, session in enumerate(sessions)]
    following = [asyncio.create_task(agent.follow()) for agent in agents]
    try:
        yield agents
    finally:
        for task in following:
            task.cancel()
        ended = await asyncio.gather(*following, return_exceptions=True)
        for session in sessions:
            await session.aclose()
    for error in ended:
        if not isinstance(error, asyncio.CancelledError):
            raise LabError(f"an agent has ended: {error!r}")


async def _until(agents: Sequence[Agent], numbers: Sequence[int], counter: int) -> None:
    for which, agent in enumerate(agents):
        wanted = {_service(number): Generation(1, counter) for number in numbers if number % AGENTS == which}
        try:
            async with asyncio.timeout(ARRIVED_S_MAX):
                await agent.until(wanted)
        except TimeoutError:
            raise LabError(f"goals are not at their agents after {ARRIVED_S_MAX:g} s") from None


def _goal(number: int, counter: int) -> tuple[str, bytes]:
    """Key and value, as control writes them."""
    release = ReleaseRef(ArtifactName(f"service-{number}/{counter:040}"), Digest(f"{counter:064}"), Digest(f"{counter:064}"))
    goal = Goal(
        service=_service(number),
        environment=_ENVIRONMENT,
        generation=Generation(1, counter),
        deployment=DeploymentId(f"d{number}-{counter}"),
        rollback=False,
        selector=Selector(labels={GROUP: str(number % AGENTS)}),
        target=release,
        baseline=None,
        cohorts=(Cohort(Selector(), EVERYONE),),
        limits=Limits(),
        expires_at_ms=round(time.time() * 1000) + _DAY_MS,
    )
    return goal_key(_ENVIRONMENT, goal.service), msgspec.json.encode(goal, order="deterministic")


def _service(number: int) -> ServiceName:
    return ServiceName(f"service-{number}")
