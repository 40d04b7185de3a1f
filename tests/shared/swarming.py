"""A company in the lab whose swarm a test hits while it is at work: what each machine has by then, and in the end."""

from __future__ import annotations

import json
import mmap
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import victims
from company import files_of
from fleetcast.model.artifact import regional_manifest_blob
from lab.company import Company, Release
from lab.host import Host
from lab.liar import Manner, Order
from lab.network import Network
from lab.payload import Payload
from lab.program import Program
from running import wait_until

MACHINES = [f"host-{number}" for number in range(1, 11)]
DISK_OF = "host-10"
"""The machine whose disk can be filled."""
SIZE_BYTES = 12 << 20
RATE_MBIT = 16.0
"""Of each machine; the origin and the stranger, from whom others get what they cannot use, have no limit."""
WHOLE_S_MAX = 90.0
TRIES_MAX = 3
SAMPLE_BYTES = 16 << 10
"""A piece is written as a whole and is longer than this, so looking this often sees each."""
FEW, MANY = 0.25, 0.75
REPOSITORY = Path(__file__).parents[2]

Samples = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Artifact:
    release: Release
    root: str
    """Digest of its signed root."""
    files: dict[str, str]
    """SHA-256 by path, as built here by nobody but the commit's own script."""
    samples: dict[str, Samples]


class Swarming:
    """``hosts`` run agents. What a test takes away it gives back by :meth:`recover`."""

    def __init__(self, network: Network, company: Company, hosts: Sequence[Host]) -> None:
        self.network = network
        self.company = company
        self.hosts = {host.name: host for host in hosts}
        self._seeds = iter(range(1, 1000))

    @property
    def names(self) -> list[str]:
        return list(self.hosts)

    def publish(self) -> Artifact:
        """One that has nothing in common with any other, in the region's bucket and on no machine."""
        release = self.company.publish(Payload(SIZE_BYTES, files=3, seed=next(self._seeds)))
        [row] = self.company.rows("SELECT root FROM artifacts WHERE commit_sha = ?", release.commit)
        place = self.company.directory.parent / "built"
        shutil.copytree(self.company.directory / "repository", place, ignore=shutil.ignore_patterns(".git"))
        subprocess.run([sys.executable, "build.py"], cwd=place, check=True)
        files = files_of(place / "dist")
        samples = {name: _samples(place / "dist" / name) for name in files}
        shutil.rmtree(place)
        return Artifact(release, row["root"], files, samples)

    def begin(self) -> Artifact:
        """Publish one and deploy it."""
        artifact = self.publish()
        self.company.deploy(artifact.release)
        return artifact

    # What machines have

    def has(self, machine: str, artifact: Artifact) -> set[tuple[str, int]]:
        """Which samples of the content are on a machine's disk, in the place where they stay."""
        tree = self._release(machine, artifact) / "tree"
        if not tree.exists():
            tree = self.company.service(machine).incoming / artifact.release.digest / "tree"
        found = set()
        for name, wanted in artifact.samples.items():
            there = _samples(tree / name)
            found |= {(name, number) for number, (one, other) in enumerate(zip(there, wanted, strict=False)) if one == other}
        return found

    def share(self, machine: str, artifact: Artifact) -> float:
        """0 to 1."""
        return len(self.has(machine, artifact)) / _count(artifact)

    def in_the_middle(self, machines: Iterable[str], artifact: Artifact) -> bool:
        """Each of them has a quarter to three quarters."""
        return all(FEW <= self.share(machine, artifact) <= MANY for machine in machines)

    def together(self, machines: Iterable[str], artifact: Artifact) -> float:
        """How much of the content at least one of them has: 0 to 1."""
        return len(set().union(*(self.has(machine, artifact) for machine in machines))) / _count(artifact)

    def whole(self, machine: str, artifact: Artifact) -> bool:
        return self._release(machine, artifact).exists()

    def assert_whole(self, machines: Iterable[str], artifact: Artifact) -> None:
        """Wait until each has the release; its bytes are those that were built, and it knows where each came from."""
        machines = list(machines)

        def left() -> dict[str, float]:
            return {name: round(self.share(name, artifact), 2) for name in machines if not self.whole(name, artifact)}

        try:
            wait_until(lambda: not left(), "every machine is whole", WHOLE_S_MAX)
        except AssertionError:
            pytest.fail(f"not whole within {WHOLE_S_MAX:g} s; what they have: {left()}")
        for machine in machines:
            tree = self._release(machine, artifact) / "tree"
            assert files_of(tree) == artifact.files, machine
            assert sum(self.sources(machine).values()) == artifact.release.content_bytes, machine

    def sources(self, machine: str) -> dict[str, int]:
        """Where the bytes of the last release came from: ``origin``, ``peer``, ``local``."""
        state = json.loads(self.company.service(machine).state.read_text())
        sources: dict[str, int] = state["fetched"]["bytes"]
        return sources

    def _release(self, machine: str, artifact: Artifact) -> Path:
        return self.company.service(machine).release(artifact.release.digest)

    # What happens to them

    def program(self, name: str) -> Program:
        return self.company.programs[name]

    def reach(
        self, state: Callable[[Artifact], bool], what: str, *, among: Sequence[str] = MACHINES, kill: Sequence[str] = ()
    ) -> Artifact:
        """Deploy something, and return when its swarm (``among``) is in a ``state``. A swarm that was whole without having been
        seen in it is no failure of the product's: another is tried. ``kill``: programs that die at a moment in which the state
        holds; it is looked at again when they are stopped.
        """
        for _ in range(TRIES_MAX):
            artifact = self.begin()
            wait_until(lambda artifact=artifact: self._is_over(state, artifact, among, kill), what, WHOLE_S_MAX)  # type: ignore[misc]
            if not all(self.whole(name, artifact) for name in among):
                return artifact
        pytest.fail(f"{TRIES_MAX} swarms were whole and never seen in the state: {what}")

    def _is_over(
        self, state: Callable[[Artifact], bool], artifact: Artifact, among: Sequence[str], kill: Sequence[str]
    ) -> bool:
        if all(self.whole(name, artifact) for name in among):
            return True
        if not state(artifact):
            return False
        pids = [self.program(name).pid for name in kill]
        for pid in pids:
            victims.stop(pid)
        if not state(artifact):
            for pid in pids:
                victims.resume(pid)
            return False
        for name in kill:
            self.end(name, signal.SIGKILL)
        return True

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        program = self.company.programs.pop(name)
        program.signal(number)
        assert program.wait(30), f"{name} did not end"

    def recover(self) -> None:
        """Everything runs, at its rate, with its cable in."""
        self.network.limit()
        for name in self.network.hosts:
            self.network.mend(name)
        if "region" not in self.company.programs:
            self.company.start_region()
        self.company.join([host for name, host in self.hosts.items() if f"agent-{name}" not in self.company.programs])

    @contextmanager
    def liar(self, manner: Manner, artifact: Artifact) -> Iterator[LiarAtWork]:
        """A member of the artifact's swarm with a host of its own."""
        company, host = self.company, self.network.hosts["stranger"]
        order = Order(
            manner=manner,
            machine="liar",
            host=host.address,
            region_url=company.region_url,
            token_file=str(company.directory / "secrets" / "agent.token"),
            root=artifact.root,
            manifest=str(company.directory / "regions/lab/bucket/blobs" / regional_manifest_blob(artifact.release.digest)),
        )
        log = company.directory / "run" / f"liar-{artifact.release.commit}.log"
        with open(log, "wb") as output, subprocess.Popen(order.command(host), cwd=REPOSITORY, stdout=output) as process:
            liar = LiarAtWork(log)
            try:
                wait_until(lambda: bool(liar.told("joined")), "the liar is in the swarm")
                yield liar
            finally:
                process.terminate()


@dataclass(frozen=True)
class LiarAtWork:
    log: Path

    def told(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]
        return [line for line in lines if line["event"] == event]


def _samples(path: Path) -> Samples:
    """Four bytes of every ``SAMPLE_BYTES``; of a file that is not there, or has no size yet: none."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return tuple(zip(*(content[first::SAMPLE_BYTES] for first in range(4)), strict=False))
    except (FileNotFoundError, ValueError):
        return ()


def _count(artifact: Artifact) -> int:
    return sum(map(len, artifact.samples.values()))
