"""Where things are on a machine's disk.

::

    <root>/agent.lock                 held while an agent runs
    <root>/goals.json                 the last goals, and the generations below which none is taken
    <root>/labels.json                the labels that people gave this machine
    <root>/services/<environment>/<service>/
        state.json                    what is active, what is being activated, what failed
        releases/<digest>/            whole releases: root, manifest, tree/, seal (how its files looked when verified)
        incoming/<digest>/            a release being fetched
        roots/<root digest>           verified signed roots; several may name one release
        discarded/                    releases on their way out
        current -> releases/<digest>/tree
        run/                          the process that runs, and how it ended
        log/                          its output
        data/                         the service's own
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleetcast.model.ids import Digest


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """One service in one environment."""

    environment: str
    service: str


@dataclass(frozen=True, slots=True)
class ServiceLayout:
    """The paths of one service. Nothing here touches the disk but :meth:`make`."""

    base: Path

    @property
    def state(self) -> Path:
        return self.base / "state.json"

    @property
    def releases(self) -> Path:
        return self.base / "releases"

    @property
    def incoming(self) -> Path:
        return self.base / "incoming"

    @property
    def roots(self) -> Path:
        return self.base / "roots"

    @property
    def discarded(self) -> Path:
        return self.base / "discarded"

    @property
    def current(self) -> Path:
        return self.base / "current"

    @property
    def run(self) -> Path:
        return self.base / "run"

    @property
    def log(self) -> Path:
        return self.base / "log"

    @property
    def data(self) -> Path:
        return self.base / "data"

    def release(self, digest: Digest) -> Path:
        return self.releases / digest

    def tree(self, digest: Digest) -> Path:
        return self.releases / digest / "tree"

    def seal(self, digest: Digest) -> Path:
        return self.releases / digest / "seal"

    def make(self) -> None:
        """Create the directories that are missing."""
        for directory in (self.releases, self.incoming, self.roots, self.discarded, self.run, self.log, self.data):
            directory.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True, slots=True)
class MachineLayout:
    """The paths of one agent."""

    root: Path

    @property
    def lock(self) -> Path:
        return self.root / "agent.lock"

    @property
    def goals(self) -> Path:
        return self.root / "goals.json"

    @property
    def labels(self) -> Path:
        return self.root / "labels.json"

    def service(self, key: ServiceKey) -> ServiceLayout:
        return ServiceLayout(self.root / "services" / key.environment / key.service)

    def services(self) -> Iterator[ServiceKey]:
        """Every service this machine has ever known, in name order."""
        for path in sorted((self.root / "services").glob("*/*")):
            if path.is_dir():
                yield ServiceKey(path.parent.name, path.name)
