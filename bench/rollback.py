"""How long it takes until every machine is back on the release before: ``python -m bench.rollback --json``.

A company of real processes on this machine (that of the demo: control, workers, regions, agents), in which two releases went
to all machines. The clock starts before ``fleetcast rollback``, which a person would type, is started, and ends when the last
machine's health check has passed, as that machine wrote it down: by the same clock. Once with regions for which control holds
the question for goals (watch), once with regions that only ask every so often (poll), the command coming at a random moment in
between. Every machine is watched meanwhile (``bench/fleet.py`` says how).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shlex
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import program
from bench.fleet import SERVICE, Services, deploy_well, fleet_options, services_of, to_the_end, watching
from bench.options import telling
from fleetcast.agent import records
from fleetcast.agent.state import ServiceState
from fleetcast.cli.demo.company import Company, CompanySize
from fleetcast.cli.demo.repository import make_example
from fleetcast.launch.installation import SETTINGS_NAME
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.ids import CommitSha, DeploymentId, ServiceName
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.stores import boots
from lab.errors import LabError

POLL_SETTING_S: Final = 10
WATCH_S_MAX: Final = 3.0
POLL_OVER_SETTING_S_MAX: Final = 2.0
RUNS_MAX: Final = 100


@dataclass(frozen=True)
class Asked:
    machines: int
    regions: int
    runs: int
    """Rollbacks each way."""
    json: bool
    save: Path | None


@dataclass(frozen=True, slots=True)
class Back:
    """One rollback."""

    took_s: float
    """To the last machine."""
    machines: int
    """That are back."""
    bytes_fetched: int
    """By all of them, from the origin or from peers."""


def main(arguments: Sequence[str]) -> int:
    """Returns an exit code: 1 where it took too long, fetched something or left somebody behind. Raises :class:`LabError`."""
    asked, say = _parse(arguments), program.teller()
    told = asyncio.run(_measure(asked, say))
    command = ["python", "-m", "bench.rollback", "--machines", str(asked.machines), "--regions", str(asked.regions)]
    program.finish(shlex.join([*command, "--runs", str(asked.runs)]), asked, told)
    return 0 if kept(told) else 1


def kept(told: Mapping[str, Any]) -> bool:
    """Whether the figures are as they ought to be."""
    in_time = told["watch_s"] < WATCH_S_MAX and told["poll_s"] <= told["poll_setting_s"] + POLL_OVER_SETTING_S_MAX
    nobody_lost = told["machines_back"] == told["machines"] and told["left_without"] == 0
    return bool(in_time and nobody_lost and told["bytes_fetched"] == 0)


def figures(asked: Asked, watched: Sequence[Back], polled: Sequence[Back], left_without: int) -> dict[str, Any]:
    """What is told of all rollbacks: of times the median, of the rest what was worst."""
    everything = [*watched, *polled]
    times = {"watch_s": [back.took_s for back in watched], "poll_s": [back.took_s for back in polled]}
    return {
        "machines": asked.machines,
        "regions": asked.regions,
        "machines_back": min(back.machines for back in everything),
        "bytes_fetched": max(back.bytes_fetched for back in everything),
        **{name: round(statistics.median(took), 2) for name, took in times.items()},
        "poll_setting_s": POLL_SETTING_S,
        "left_without": left_without,
        "spread": {name: [round(min(took), 2), round(max(took), 2)] for name, took in times.items()},
    }


async def _measure(asked: Asked, say: Callable[[str], None]) -> dict[str, Any]:
    watched, without = await _one_way(asked, say, watch=True)
    polled, without_too = await _one_way(asked, say, watch=False)
    return figures(asked, watched, polled, without + without_too)


async def _one_way(asked: Asked, say: Callable[[str], None], *, watch: bool) -> tuple[list[Back], int]:
    """Every rollback, and how many machines were without service."""
    way = f"regions {'watch' if watch else 'poll'}"
    region = {"kv_poll_interval_s": float(POLL_SETTING_S), "kv_watch": watch}
    size = CompanySize(asked.regions, asked.machines, 0)
    async with Company(size, keep=False, tell=lambda _event: None, region=region) as company:
        say(f"{way}: {asked.machines} machines in {asked.regions} regions report")
        repository = company.directory / "web.git"
        before, after, *_ = await asyncio.to_thread(make_example, repository, 0)
        await company.control.put_service(ServiceSpec(ServiceName(SERVICE.service), str(repository)))
        await deploy_well(company.control, before.sha)
        say(f"{way}: the first release runs everywhere")
        services, backs = services_of(company), []
        async with watching(services) as seen:
            for _ in range(asked.runs):
                await deploy_well(company.control, after.sha)
                await asyncio.sleep(0.0 if watch else random.uniform(0, POLL_SETTING_S))
                backs.append(await _go_back(company, services, before.sha))
                say(f"{way}: {backs[-1].machines} machines back after {backs[-1].took_s:.2f} s")
        return backs, seen.left_without()


async def _go_back(company: Company, services: Services, commit: CommitSha) -> Back:
    """By the command, with which a deployment is only triggered: its own end is no part of the measure."""
    began_ms = boots.uptime_ms()
    argv = ["rollback", SERVICE.service, "--no-wait", "--json", "--settings", str(company.directory / SETTINGS_NAME)]
    command = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("fleetcast")), *argv, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await command.communicate()
    if command.returncode:
        raise LabError(f"fleetcast rollback ended with {command.returncode}")
    ended = await to_the_end(company.control, DeploymentId(json.loads(said)["id"]))
    if ended.state is not DeploymentState.SUCCEEDED:
        raise LabError(f"the rollback did not succeed: {ended.state}: {ended.reason}")
    since_ms = [_back_since_ms(layout.state, commit) for _, layout in services.values()]
    back = [ms for ms in since_ms if ms is not None and ms >= began_ms]
    if not back:
        raise LabError("no machine has gone back")
    return Back((max(back) - began_ms) / 1000, len(back), ended.progress.bytes.origin + ended.progress.bytes.peer)


def _back_since_ms(state: Path, commit: CommitSha) -> int | None:
    """Since when a machine has run that commit's release, healthy; uptime. ``None``: it does not."""
    active = (records.read(state, ServiceState) or ServiceState()).active
    if active is None or not active.passed or active.release.artifact != f"{SERVICE.service}/{commit}":
        return None
    return active.since_ms


def _parse(arguments: Sequence[str]) -> Asked:
    parser = argparse.ArgumentParser(prog="python -m bench.rollback", description=__doc__)
    fleet_options(parser)
    parser.add_argument("--runs", type=int, default=3, help="rollbacks each way, of which the median is told; default 3")
    telling(parser)
    given = parser.parse_args(arguments)
    asked = Asked(given.machines, given.regions, given.runs, given.json, given.save)
    if not 1 <= asked.regions <= asked.machines:
        raise LabError("say at least one machine a region")
    if not 1 <= asked.runs <= RUNS_MAX:
        raise LabError(f"--runs {asked.runs}: choose 1 to {RUNS_MAX}")
    return asked


if __name__ == "__main__":
    program.run("bench.rollback", main)
