"""``fleetcast up`` itself is killed, or stopped: its children end, the services do not, and the next one finds them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

import victims
from company import Company
from fleetcast.model.limits import PROCESS_ORPHANED_S_MAX
from founding import found
from running import Run, wait_until

Figure = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    company = found(tmp_path_factory.mktemp("supervisor"), regions=("eu",), machines=2)
    yield company
    company.close()


def distributing(company: Company, sha: str) -> bool:
    if company.state(sha) != "DISTRIBUTING":
        return False
    return all(0.1 <= company.share_fetched(machine, sha) <= 0.9 for machine in company.machines)


def test_killed_while_distributing(company: Company, figure: Figure) -> None:
    company.buckets["eu"].down.hold_after(company.content_bytes // 2)
    services = {machine: company.instance(machine) for machine in company.machines}
    deploying = company.deploy()
    up = company.run
    victims.stop_in(lambda: distributing(company, deploying.sha), lambda: up.process.pid, "machines have a part")
    children = {name: company.pid(name) for name in company.names()}
    assert all(map(victims.alive, children.values()))
    with figure("up killed while DISTRIBUTING"):
        up.signal(signal.SIGKILL)
        up.close()
        gone_s_max = 2 * PROCESS_ORPHANED_S_MAX
        wait_until(lambda: not any(map(victims.alive, children.values())), "its children have ended", gone_s_max)
        assert all(victims.alive(service["process"]["pid"]) for service in services.values())
        assert company.state(deploying.sha) == "DISTRIBUTING"

        company.run = Run("up", str(company.directory), temporary=company.directory.parent)
        company.run.wait_for("^ready")
        assert services == {machine: company.instance(machine) for machine in company.machines}, "found, not started again"
        company.open_all()
        company.settle(deploying)
    assert not set(children.values()) & {company.pid(name) for name in company.names()}


def test_stopped_while_children_die(company: Company, figure: Figure) -> None:
    """It starts them again as soon as it can."""
    company.buckets["eu"].down.hold_after(company.content_bytes // 2)
    deploying = company.deploy()
    up = company.run.process.pid
    victims.stop_in(lambda: distributing(company, deploying.sha), lambda: up, "machines have a part")
    killed = {name: company.pid(name) for name in ("control", "region-eu", "agent-eu-1")}
    with figure("up stopped while DISTRIBUTING, children killed"):
        for pid in killed.values():
            victims.kill(pid)
        assert victims.stopped(up)
        assert not any(company.up(name) for name in killed)
        victims.resume(up)
        for name, pid in killed.items():
            company.restarted(name, pid)
        company.open_all()
        company.settle(deploying)
