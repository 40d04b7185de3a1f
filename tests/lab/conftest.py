"""One company in a lab for all that its swarm survives: ten machines on slow links, so that a test finds them at work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from disks import Disk, disks
from lab.company import Company
from lab.network import Network
from lab.plan import HostPlan, Plan
from swarming import DISK_OF, MACHINES, RATE_MBIT, Swarming

PLAN = Plan([HostPlan("origin"), HostPlan("stranger"), *(HostPlan(name, RATE_MBIT) for name in MACHINES)])


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Swarming, Disk]]:
    directory = tmp_path_factory.mktemp("lab") / "company"
    with Network(PLAN) as network:
        network.limit()
        hosts = [network.hosts[name] for name in MACHINES]
        with (
            Company(directory, hub=network.hub, origin=network.hosts["origin"]) as company,
            # Before the machine's agent: a host's programs see what is mounted when they begin.
            disks(directory / "machines" / DISK_OF) as mounted,
        ):
            company.join(hosts)
            yield Swarming(network, company, hosts), mounted[DISK_OF]


@pytest.fixture
def swarming(installation: tuple[Swarming, Disk]) -> Iterator[Swarming]:
    """Everything runs, before and after each test; nobody has anything of what it publishes."""
    swarming, _ = installation
    yield swarming
    swarming.recover()


@pytest.fixture
def disk(installation: tuple[Swarming, Disk]) -> Disk:
    """Of one of the machines, ``DISK_OF``."""
    return installation[1]
