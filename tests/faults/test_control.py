"""Control is killed, or stopped, in the middle of a deployment, in each of its states."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

import victims
from company import PART_BYTES, Company
from founding import SILENCE_S_MAX, found

Strike = Callable[..., AbstractContextManager[None]]
Figure = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    company = found(tmp_path_factory.mktemp("control"), regions=("eu",), machines=2, content_mib=96)
    yield company
    company.close()


def test_while_building(company: Company, strike: Strike, figure: Figure, fault: str) -> None:
    """Stopped, it is away for longer than a worker may be silent: that is not the worker's fault, who keeps its build."""
    company.shut("build")
    deploying = company.deploy()

    def building() -> bool:
        runs = company.running(deploying.sha) and bool(company.commands("worker-1"))
        return company.state(deploying.sha) == "BUILDING" and runs

    pid = victims.stop_in(building, lambda: company.pid("control"), "it is BUILDING, and the build's command runs")
    with figure(f"{fault} while BUILDING"):
        with strike(company, "control", pid, building, SILENCE_S_MAX + 2):
            pass
        company.open_all()
        company.settle(deploying)


def test_while_replicating(company: Company, strike: Strike, figure: Figure, fault: str) -> None:
    # Of the parts on their way at a time each may be almost whole: at least four of twelve are.
    company.main.down.hold_after(7 * PART_BYTES + PART_BYTES // 2)
    deploying = company.deploy()

    def replicating() -> bool:
        if company.state(deploying.sha) != "REPLICATING":
            return False
        key = f"artifacts/{company.artifact(deploying.sha)['digest']}/content"
        return 0.25 <= company.share_received(company.bucket("eu"), key) <= 0.75

    pid = victims.stop_in(replicating, lambda: company.pid("control"), "it is REPLICATING, and a part of the copy is there")
    with figure(f"{fault} while REPLICATING"):
        with strike(company, "control", pid, replicating):
            pass
        company.open_all()
        company.settle(deploying)


def test_while_distributing(company: Company, strike: Strike, figure: Figure, fault: str) -> None:
    """Machines do not notice: stopped, it learns afterwards that all of them are done."""
    company.buckets["eu"].down.hold_after(company.content_bytes // 2)
    deploying = company.deploy()

    def distributing() -> bool:
        if company.state(deploying.sha) != "DISTRIBUTING":
            return False
        return all(0.1 <= company.share_fetched(machine, deploying.sha) <= 0.9 for machine in company.machines)

    pid = victims.stop_in(distributing, lambda: company.pid("control"), "it is DISTRIBUTING, and machines have a part")
    with figure(f"{fault} while DISTRIBUTING"):
        with strike(company, "control", pid, lambda: company.state(deploying.sha) == "DISTRIBUTING"):
            company.open_all()
        company.settle(deploying)
