"""How far a sick release gets, and who is without service meanwhile: ``python -m bench.sick_release --json``.

A company of real processes on this machine (that of the demo: control, workers, regions, agents). A good release goes to all
machines; then one whose health check fails, by a plan with a canary. Until its rollback has ended every machine is asked every
100 ms whether its service answers. One that does not is without service, unless its own change-over is under way: then it
holds a permit to be down. What ever ran is read from the output of the services.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import program
from fleetcast.agent.layout import MachineLayout, ServiceKey, ServiceLayout
from fleetcast.cli.demo.company import Company, CompanySize
from fleetcast.cli.demo.repository import make_example
from fleetcast.cli.git import git
from fleetcast.client.control import ControlClient
from fleetcast.model.deployment import Deployment, DeploymentState
from fleetcast.model.ids import CommitSha, DeploymentId, ServiceName, commit_sha
from fleetcast.model.messages.deployments import DeployRequest
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.plan import Policy, Stage
from lab.errors import LabError

SERVICE = ServiceKey("production", "web")
SAMPLE_S = 0.1
ANSWER_S_MAX = 2.0
DEPLOYMENT_WAIT_S = 30.0
SHORT = 12
"""Characters of its commit that the example prints when it serves."""
_SICK_CHECK = '"""This release is sick."""\n\nimport sys\n\nsys.exit("sick on purpose")\n'


@dataclass(frozen=True, slots=True)
class Asked:
    machines: int
    regions: int
    canary: int
    json: bool


@dataclass(slots=True)
class Watch:
    """Asks every machine in turn, in a thread of its own, until it is ended."""

    services: dict[str, tuple[int, ServiceLayout]]
    """Port and place of each machine's service."""
    samples: int = 0
    without: set[str] = field(default_factory=set)
    """Machines that did not answer and were not in a change-over."""
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            self.look()
            self._over.wait(max(0.0, SAMPLE_S - (time.monotonic() - began)))

    def end(self) -> None:
        self._over.set()

    def look(self) -> None:
        """One sample of each."""
        for machine, (port, layout) in self.services.items():
            permitted = _changing_over(layout)
            if not _answers(port) and not (permitted or _changing_over(layout)):
                self.without.add(machine)
        self.samples += 1


def main(arguments: Sequence[str]) -> int:
    """Returns an exit code: 1 where the release got further, or somebody was without service. Raises :class:`LabError`."""
    asked, tell = _parse(arguments), program.teller()
    figures = asyncio.run(_measure(asked, tell))
    text = json.dumps(figures) if asked.json else "\n".join(f"{name}: {value}" for name, value in figures.items())
    print(text)
    kept = figures["ever_ran"] <= figures["canary"] and figures["left_without"] == 0
    return 0 if kept and figures["outcome"] == DeploymentState.ROLLED_BACK else 1


async def _measure(asked: Asked, tell: Any) -> dict[str, Any]:
    async with Company(CompanySize(asked.regions, asked.machines, 0), keep=False, tell=lambda _event: None) as company:
        tell(f"{asked.machines} machines in {asked.regions} regions report")
        repository = company.directory / "web.git"
        good = (await asyncio.to_thread(make_example, repository, 0))[0].sha
        sick = await asyncio.to_thread(_commit_sick, repository)
        canary = Policy(stages=(Stage("canary", count=asked.canary, bake_s=5), Stage("everyone")))
        await company.control.put_service(ServiceSpec(ServiceName(SERVICE.service), str(repository), plan=canary))
        first = await _deploy(company.control, good, Policy())
        if first.state is not DeploymentState.SUCCEEDED:
            raise LabError(f"the good release did not get out: {first.state}: {first.reason}")
        tell("the good release runs everywhere")
        watch = Watch(
            {
                agent.machine: _service(company.directory / "machines" / agent.machine, agent.environment)
                for agent in company.settings.agents
            }
        )
        thread = threading.Thread(target=watch.run, name="watch")
        thread.start()
        began = time.monotonic()
        try:
            ended = await _deploy(company.control, sick, None)
            tell(f"the sick one {ended.state}: {ended.reason}")
            if ended.rolled_back_by is not None:
                back = await _to_the_end(company.control, ended.rolled_back_by)
                tell(f"its rollback {back.state}: {back.reason}")
        finally:
            watch.end()
            await asyncio.to_thread(thread.join)
        took_s = time.monotonic() - began
        at_the_end = {machine for machine, (port, _) in watch.services.items() if not _answers(port)}
        return {
            "machines": asked.machines,
            "regions": asked.regions,
            "canary": asked.canary,
            "ever_ran": sum(_ran(layout, sick) for _, layout in watch.services.values()),
            "left_without": len(watch.without | at_the_end),
            "outcome": ended.state,
            "took_s": round(took_s, 2),
            "samples": watch.samples,
        }


async def _deploy(control: ControlClient, commit: CommitSha, policy: Policy | None) -> Deployment:
    triggered = await control.deploy(DeployRequest(ServiceName(SERVICE.service), commit, plan=policy))
    return await _to_the_end(control, triggered.id)


async def _to_the_end(control: ControlClient, deployment: DeploymentId) -> Deployment:
    seen = ""
    while True:
        detail = await control.deployment(deployment, wait_s=DEPLOYMENT_WAIT_S, seen=seen)
        if detail.deployment.state.ended:
            return detail.deployment
        seen = detail.version


def _commit_sick(repository: Path) -> CommitSha:
    (repository / "check.py").write_text(_SICK_CHECK)
    (repository / "page.html").write_text("<!doctype html>\n<title>Sick</title>\n")
    who = {f"GIT_{role}_{what}": "sick@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    git(["add", "--all"], repository)
    git(["commit", "--quiet", "--no-verify", "--message=Be sick"], repository, who)
    return commit_sha(git(["rev-parse", "HEAD"], repository))


def _service(directory: Path, environment: Any) -> tuple[int, ServiceLayout]:
    return int(environment["PORT"]), MachineLayout(directory).service(SERVICE)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S_MAX) as connection:
            connection.settimeout(ANSWER_S_MAX)
            connection.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.0 200")
    except OSError:
        return False


def _changing_over(layout: ServiceLayout) -> bool:
    return json.loads(layout.state.read_text())["activation"] is not None


def _ran(layout: ServiceLayout, commit: CommitSha) -> bool:
    """Whether the service has said so itself."""
    said = f"serving {commit[:SHORT]}"
    return any(said in path.read_text(errors="replace") for path in layout.log.iterdir() if path.is_file())


def _parse(arguments: Sequence[str]) -> Asked:
    parser = argparse.ArgumentParser(prog="python -m bench.sick_release", description=__doc__)
    parser.add_argument("--machines", type=int, default=24, help="real agents; default 24")
    parser.add_argument("--regions", type=int, default=3, help="default 3")
    parser.add_argument("--canary", type=int, default=3, help="machines that try it first; default 3")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of standard output")
    given = parser.parse_args(arguments)
    asked = Asked(given.machines, given.regions, given.canary, given.json)
    if not 1 <= asked.regions <= asked.machines or not 1 <= asked.canary <= asked.machines:
        raise LabError("say at least one machine a region, and a canary of 1 to all of them")
    return asked


if __name__ == "__main__":
    program.run("bench.sick_release", main)
