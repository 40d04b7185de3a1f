"""All that is measured, and the object that is told of it."""

from __future__ import annotations

import contextlib
import random
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.queue import through_api
from bench.queue.a_control import a_control
from bench.queue.asked import Asked
from bench.queue.contestant import CONNECTIONS, Contestant
from bench.queue.counting import queries_per_s
from bench.queue.ours import Fleetcast
from bench.queue.rate import WARM_S, rate
from bench.queue.settings import Setting, measured, prepare
from bench.queue.waiting import Latencies, latencies
from bench.queue.with_pgqueuer import Pgqueuer
from bench.queue.with_procrastinate import Procrastinate
from fleetcast.cli.demo.engines.postgres import PostgresServer, postgres_server
from fleetcast.launch import logging
from fleetcast.launch.ports import free_ports
from fleetcast.launch.settings import LOOPBACK

CYCLES_PER_S_MAX: Final = 8000
"""So many jobs wait for each second that is measured."""
CONTESTANTS: Final[tuple[Contestant, ...]] = (Fleetcast(), Procrastinate(), Pgqueuer())
Tell = Callable[[str], None]


def measure(asked: Asked, directory: Path, tell: Tell) -> dict[str, Any]:
    """Figures of each run are told as they come; medians are returned, with the spread beside them. Fleetcast's queue logs as
    it does in control, into a file."""
    with (directory / "fleetcast.log").open("w") as file, contextlib.redirect_stderr(file):
        logging.set_up("bench", json=True)
        return _measure(asked, directory, tell)


def _measure(asked: Asked, directory: Path, tell: Tell) -> dict[str, Any]:
    (port,) = free_ports(1, LOOPBACK, random.Random())
    with postgres_server(durable=True, port=port, parent=directory) as server:
        with server.administrator() as administrator:
            version = administrator.info.parameter_status("server_version")
        rates = {setting: _contest(asked, server, setting, tell) for setting in Setting}
        api = _through_api(asked, server, directory, tell)
    sqlite = [_sqlite(asked, directory / f"{run}.db") for run in range(asked.runs)]
    tell(f"sqlite: {', '.join(f'{each:.0f}' for each in sqlite)} cycles/s")
    medians = {setting.value: {name: _median(runs) for name, runs in of.items()} for setting, of in rates.items()}
    return {
        **medians,
        "over_the_faster": {name: _over_the_faster(of) for name, of in medians.items()},
        **api,
        "sqlite": _median(sqlite),
        "spread": {
            **{setting.value: {name: _spread(runs) for name, runs in of.items()} for setting, of in rates.items()},
            "sqlite": _spread(sqlite),
        },
        "connections": CONNECTIONS,
        "callers": asked.callers,
        "history": asked.history,
        "postgresql": version,
    }


def _contest(asked: Asked, server: PostgresServer, setting: Setting, tell: Tell) -> Mapping[str, list[float]]:
    """Cycles per second of each contestant, run by run, taking turns."""
    rates: dict[str, list[float]] = {contestant.name: [] for contestant in CONTESTANTS}
    waiting = int((asked.seconds + WARM_S) * CYCLES_PER_S_MAX)
    for run in range(asked.runs):
        for contestant in CONTESTANTS:
            database = f"{setting}_{contestant.name}_{run}"
            url = server.create_database(database).replace("+psycopg", "")
            uvloop.run(prepare(contestant, setting, url, waiting=waiting, history=asked.history))
            with server.administrator() as administrator:
                administrator.execute("CHECKPOINT")
            found = uvloop.run(measured(contestant, setting, url, callers=asked.callers, seconds=asked.seconds))
            server.drop_database(database)
            rates[contestant.name].append(found)
        tell(f"{setting}, run {run + 1}: " + ", ".join(f"{name} {runs[-1]:.0f}" for name, runs in rates.items()) + " cycles/s")
    return rates


def _through_api(asked: Asked, server: PostgresServer, directory: Path, tell: Tell) -> dict[str, float]:
    url = server.create_database("through_api")

    async def queries(seconds: float) -> float:
        return await queries_per_s(server, seconds)

    with a_control(directory / "control", url) as control:
        idle_per_s, cycles_per_s = uvloop.run(through_api.measure(control, asked.callers, asked.seconds, queries))
    url = server.create_database("waiting")
    waited = uvloop.run(_waiting(url, asked))
    told = {
        "claim_p99_ms": round(waited.p99_ms, 1),
        "claim_p50_ms": round(waited.p50_ms, 1),
        "offered_per_s": round(waited.offered_per_s, 1),
        "idle_queries_per_s": round(idle_per_s, 1),
        "through_api": round(cycles_per_s, 1),
    }
    tell(", ".join(f"{name} {value:g}" for name, value in told.items()))
    return told


async def _waiting(url: str, asked: Asked) -> Latencies:
    await Fleetcast().install(url)
    return await latencies(url, asked.callers, asked.seconds)


def _sqlite(asked: Asked, file: Path) -> float:
    async def measured_there() -> float:
        contestant, url = Fleetcast(), f"sqlite+aiosqlite:///{file}"
        await contestant.install(url)
        await contestant.add_waiting(url, int((asked.seconds + WARM_S) * CYCLES_PER_S_MAX))
        return await rate(contestant, url, asked.callers, asked.seconds)

    return uvloop.run(measured_there())


def _over_the_faster(rates: Mapping[str, float]) -> float:
    """Ours as a multiple of the faster of the others."""
    ours = Fleetcast.name
    return round(rates[ours] / max(rate for name, rate in rates.items() if name != ours), 3)


def _median(runs: list[float]) -> float:
    return round(statistics.median(runs), 1)


def _spread(runs: list[float]) -> list[float]:
    return [round(min(runs), 1), round(max(runs), 1)]
