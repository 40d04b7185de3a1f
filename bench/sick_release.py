"""How far a sick release gets, and who is without service meanwhile: ``python -m bench.sick_release --json``.

A company of real processes on this machine (that of the demo: control, workers, regions, agents). A good release goes to all
machines; then one whose health check fails, by a plan with a canary. Until its rollback has ended every machine is watched
(``bench/fleet.py`` says how). What ever ran is read from the output of the services.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import program
from bench.fleet import SERVICE, deploy, deploy_well, fleet_options, services_of, to_the_end, watching
from fleetcast.agent.layout import ServiceLayout
from fleetcast.cli.demo.company import Company, CompanySize
from fleetcast.cli.demo.repository import make_example
from fleetcast.cli.git import git
from fleetcast.model.deployment import DeploymentState
from fleetcast.model.ids import CommitSha, ServiceName, commit_sha
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.plan import Policy, Stage
from lab.errors import LabError

SHORT = 12
"""Characters of its commit that the example prints when it serves."""
_SICK_CHECK = '"""This release is sick."""\n\nimport sys\n\nsys.exit("sick on purpose")\n'


@dataclass(frozen=True, slots=True)
class Asked:
    machines: int
    regions: int
    canary: int
    json: bool


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
        await deploy_well(company.control, good)
        tell("the good release runs everywhere")
        began = time.monotonic()
        async with watching(services_of(company)) as watch:
            ended = await deploy(company.control, sick, None)
            tell(f"the sick one {ended.state}: {ended.reason}")
            if ended.rolled_back_by is not None:
                back = await to_the_end(company.control, ended.rolled_back_by)
                tell(f"its rollback {back.state}: {back.reason}")
        took_s = time.monotonic() - began
        return {
            "machines": asked.machines,
            "regions": asked.regions,
            "canary": asked.canary,
            "ever_ran": sum(_ran(layout, sick) for _, layout in watch.services.values()),
            "left_without": watch.left_without(),
            "outcome": ended.state,
            "took_s": round(took_s, 2),
            "samples": watch.samples,
        }


def _commit_sick(repository: Path) -> CommitSha:
    (repository / "check.py").write_text(_SICK_CHECK)
    (repository / "page.html").write_text("<!doctype html>\n<title>Sick</title>\n")
    who = {f"GIT_{role}_{what}": "sick@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    git(["add", "--all"], repository)
    git(["commit", "--quiet", "--no-verify", "--message=Be sick"], repository, who)
    return commit_sha(git(["rev-parse", "HEAD"], repository))


def _ran(layout: ServiceLayout, commit: CommitSha) -> bool:
    """Whether the service has said so itself."""
    said = f"serving {commit[:SHORT]}"
    return any(said in path.read_text(errors="replace") for path in layout.log.iterdir() if path.is_file())


def _parse(arguments: Sequence[str]) -> Asked:
    parser = argparse.ArgumentParser(prog="python -m bench.sick_release", description=__doc__)
    fleet_options(parser)
    parser.add_argument("--canary", type=int, default=3, help="machines that try it first; default 3")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of standard output")
    given = parser.parse_args(arguments)
    asked = Asked(given.machines, given.regions, given.canary, given.json)
    if not 1 <= asked.regions <= asked.machines or not 1 <= asked.canary <= asked.machines:
        raise LabError("say at least one machine a region, and a canary of 1 to all of them")
    return asked


if __name__ == "__main__":
    program.run("bench.sick_release", main)
