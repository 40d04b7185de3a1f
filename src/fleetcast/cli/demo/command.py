"""The command ``fleetcast demo``."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from fleetcast.cli.demo.sizes import parse_size
from fleetcast.cli.output import print_json
from fleetcast.model.build import Recipe
from fleetcast.model.errors import Invalid
from fleetcast.model.ids import service_name

if TYPE_CHECKING:
    from fleetcast.cli.demo.figures import DeploymentFigures
    from fleetcast.cli.demo.narration import Narrator
    from fleetcast.cli.demo.story import Foreign

INTERRUPTED: Final = 130
PAYLOAD: Final = "16MiB"
MACHINES_MAX: Final = 200
REGIONS_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class _Wanted:
    repo: str | None
    sha: str
    recipe: Recipe
    machines: int
    regions: int
    payload_bytes: int
    real_engines: bool
    json: bool
    keep: bool


def demo(
    *,
    repo: str | None = None,
    sha: str = "HEAD",
    build: str | None = None,
    output: str | None = None,
    activate: str | None = None,
    health: str | None = None,
    machines: int = 12,
    regions: int = 3,
    size: str | None = None,
    engines: Literal["embedded", "real"] = "embedded",
    json: bool = False,
    keep: bool = False,
) -> int:
    """Show all of it on this machine: a company of control, 2 workers, 3 regions and 12 machines, and a web service.

    Deploys commit A; deploys B, a small change; triggers C while B is going out; rolls back. With --repo it does one
    deployment of that repository instead. Everything happens in real processes on loopback and in one temporary directory;
    at the end, or on Ctrl-C, nothing is left of it.

    For example: `fleetcast demo --size 1GiB --machines 8`, or
    `fleetcast demo --repo . --sha HEAD --build 'make dist' --output dist --health './program --version'`

    Parameters
    ----------
    repo
        Path or URL of a git repository to deploy from, instead of the example.
    sha
        Commit, branch or tag of it, merged or not.
    build
        Build command; this and the next three win over the repository's fleetcast.toml.
    output
        File or directory that the build makes. A directory's contents become the release's directory, in which the next two
        run; a file is there under its own name.
    activate
        Command that runs the service, in the release's directory; none: nothing is started.
    health
        Command that exits 0 when the machine is well.
    machines
        How many machines, in all regions together.
    regions
        How many regions.
    size
        Size of the example's incompressible payload, for instance 64MiB or 1GiB; default 16MiB.
    engines
        What the company keeps its data in: files (embedded), or PostgreSQL, etcd and an S3 store (real), whose servers are
        started on loopback, and gone afterwards too. Their programs come with fleetcast[engines].
    json
        Print the figures as JSON, as the last line of standard output; everything else goes to standard error.
    keep
        Leave the directory (databases, buckets, machines, logs) behind to be looked at.
    """
    if not 1 <= regions <= min(REGIONS_MAX, machines):
        raise Invalid(
            "bad_regions", f"--regions {regions}: choose 1 to {min(REGIONS_MAX, machines)}, so that each has a machine"
        )
    if machines > MACHINES_MAX:
        raise Invalid("bad_machines", f"--machines {machines}: each is a process, choose at most {MACHINES_MAX}")
    recipe = Recipe(build=build, output=output, activate=activate, health=health)
    if repo is None and recipe != Recipe():
        raise Invalid("no_repo", "--build, --output, --activate and --health are for a repository: add --repo")
    if repo is not None and size is not None:
        raise Invalid("no_size", "--size is for the example service: leave it out with --repo")
    payload_bytes = parse_size(size or PAYLOAD) if repo is None else 0
    wanted = _Wanted(repo, sha, recipe, machines, regions, payload_bytes, engines == "real", json, keep)

    from fleetcast.cli.demo.narration import Narrator

    return asyncio.run(_until_interrupted(wanted, Narrator(sys.stderr if json else sys.stdout)))


async def _until_interrupted(wanted: _Wanted, narrator: Narrator) -> int:
    """The play's exit code. A signal cancels it, and it clears up; further ones are ignored meanwhile."""
    task = asyncio.create_task(_play(wanted, narrator))
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            narrator.say("interrupted: clearing up")
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, interrupt)
    async with narrator:
        try:
            return await task
        except asyncio.CancelledError:
            return INTERRUPTED


async def _play(wanted: _Wanted, narrator: Narrator) -> int:
    from fleetcast.cli.demo.company import Company, CompanySize
    from fleetcast.cli.demo.figures import DemoFigures, figures_of, figures_table
    from fleetcast.cli.demo.story import Story

    foreign = None if wanted.repo is None else await asyncio.to_thread(_foreign, wanted.repo, wanted)
    size = CompanySize(wanted.regions, wanted.machines, wanted.payload_bytes, wanted.real_engines)
    company = Company(size, keep=wanted.keep, tell=narrator.child)
    narrator.introduce(company.directory, company.regions, wanted.machines)
    if wanted.real_engines:
        narrator.say("  PostgreSQL, an S3 store, etcd for control and for each region: their servers are started")
    told: tuple[DeploymentFigures, ...] = ()
    try:
        async with company:
            narrator.say(f"all {wanted.machines} machines report")
            story = Story(company, narrator)
            try:
                await (story.of_a_repository(foreign) if foreign else story.of_the_example())
            finally:
                told = tuple(figures_of(deployment) for deployment in story.told)
                if told:
                    narrator.show(figures_table(told, narrator.width))
                narrator.say("stopping everything")
    finally:
        narrator.say(f"left behind: {company.directory}" if company.directory.exists() else "nothing is left behind")
        if wanted.json and told:
            print_json(DemoFigures(wanted.machines, wanted.regions, told))
    return 0


def _foreign(repository: str, wanted: _Wanted) -> Foreign:
    """What to deploy of somebody's repository: its service is named after the last part of the path or URL."""
    from fleetcast.cli.demo.story import Foreign
    from fleetcast.cli.git import resolve

    location, commit = resolve(repository, wanted.sha)
    last = location.rstrip("/").rpartition("/")[2].removesuffix(".git").lower()
    name = re.sub("[^a-z0-9]+", "-", last)[:63].strip("-") or "service"
    return Foreign(service_name(name), location, commit, wanted.recipe)
