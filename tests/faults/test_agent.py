"""An agent is killed, or stopped, while it fetches, while it switches, and while it serves others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

import victims
from company import Company
from founding import found
from running import wait_until

Strike = Callable[..., AbstractContextManager[None]]
Figure = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """The one machine in ``solo`` has no peers, the two in ``pair`` have each other."""
    company = found(tmp_path_factory.mktemp("agent"), regions=("pair", "solo"), machines=3)
    yield company
    company.close()


def test_while_it_fetches(company: Company, strike: Strike, figure: Figure, fault: str) -> None:
    """What is on its disk by then it does not fetch again."""
    origin = company.buckets["solo"].down
    origin.hold_after(company.content_bytes // 2)
    before = origin.passed
    deploying = company.deploy()

    def fetched() -> float:
        return company.share_fetched("solo-1", deploying.sha)

    def in_the_middle() -> bool:
        return company.state(deploying.sha) == "DISTRIBUTING" and 0.25 <= fetched() <= 0.75

    pid = victims.stop_in(in_the_middle, lambda: company.pid("agent-solo-1"), "a part of the release is on disk")
    with figure(f"{fault} with {fetched():.0%} of a release"):
        with strike(company, "agent-solo-1", pid, in_the_middle):
            pass
        origin.open()
        deployment = company.settle(deploying)
    assert deployment["progress"]["bytes"]["origin"] >= 2 * company.content_bytes, (
        "pair has it from its bucket, and so has solo"
    )
    assert origin.passed - before < 1.25 * company.content_bytes, "half of it twice would be 1.5"


def test_while_it_switches(company: Company, strike: Strike, figure: Figure, fault: str) -> None:
    """Between the stop of the old release and the health of the new: what it has started is found, and not started twice."""
    company.shut("health")
    old = {machine: company.instance(machine) for machine in company.machines}
    deploying = company.deploy()

    def new_is_up_and_not_healthy_yet() -> bool:
        if company.state(deploying.sha) != "DISTRIBUTING" or company.answer("pair-1") != deploying.sha:
            return False
        activation = company.activation("pair-1")
        return activation is not None and company.instance("pair-1")["activation"] == activation["id"]

    pid = victims.stop_in(new_is_up_and_not_healthy_yet, lambda: company.pid("agent-pair-1"), "the new release is up")
    assert not victims.alive(old["pair-1"]["process"]["pid"])
    started = company.instance("pair-1")
    with figure(f"{fault} while it switches"):
        with strike(company, "agent-pair-1", pid, new_is_up_and_not_healthy_yet):
            pass
        company.open_all()
        company.settle(deploying)
    assert company.instance("pair-1") == started


def test_while_it_serves_others(company: Company, strike: Strike, figure: Figure, fault: str) -> None:
    """Hit with bytes on their way to a neighbour that has nobody else to ask."""
    taker = company.pid("agent-pair-2")
    victims.stop(taker)
    deploying = company.deploy()
    wait_until(lambda: company.state(deploying.sha) == "DISTRIBUTING", "it is distributed")
    wait_until(lambda: company.share_fetched("pair-1", deploying.sha) == 1, "the giver has all of it")
    company.buckets["pair"].down.hold_after(0)
    port = int(company.told("agent-pair-1")["peer"].rpartition(":")[2])

    def serving() -> bool:
        return 0.1 <= company.share_fetched("pair-2", deploying.sha) <= 0.9 and victims.under_way(port) > 0

    victims.step_to(serving, taker, "it takes from its neighbour")
    pid = company.pid("agent-pair-1")
    victims.stop(pid)
    assert serving()
    with figure(f"{fault} while it serves others"):
        with strike(company, "agent-pair-1", pid, lambda: company.share_fetched("pair-2", deploying.sha) < 1):
            victims.resume(taker)
        company.open_all()
        deployment = company.settle(deploying)
    assert deployment["progress"]["bytes"]["peer"] > 0
    assert company.pid("agent-pair-2") == taker
