"""Control is dead, and somebody takes a region back past it: its machines go back and stay so, control puts that on record when
it is back and writes nothing, and the next deployment goes everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from company import Company
from founding import found
from running import wait_until

EU = ("eu-1", "eu-2")
US = ("us-1", "us-2")


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    company = found(tmp_path_factory.mktemp("glass"), regions=("eu", "us"), machines=4, content_mib=16)
    yield company
    company.close()


def answers(company: Company) -> tuple[set[str | None], set[str | None]]:
    """What the machines of either region run."""
    return {company.answer(machine) for machine in EU}, {company.answer(machine) for machine in US}


def goal(company: Company) -> tuple[Any, ...]:
    """As control has decided it last."""
    (row,) = company.rows("SELECT epoch, counter, value FROM goals WHERE service = 'web'")
    return tuple(row)


def recorded(company: Company) -> bool:
    return bool(company.rows("SELECT id FROM region_rollbacks WHERE over_at IS NULL"))


def test_a_region_goes_back_alone(company: Company) -> None:
    first = company.deploy()
    company.settle(first)
    second = company.deploy()
    company.settle(second)
    decided = goal(company)
    with company.without_control():
        assert company.fleetcast("rollback", "web").returncode == 5
        back = company.fleetcast("region", "rollback", "web", "--region", "eu", "--why", "checkout is down", "--by", "ada")
        assert (back.returncode, back.stderr) == (0, "")
        assert back.stdout.splitlines()[0] == f"eu: web goes back from web/{second.sha} to web/{first.sha}"
        assert "2 of 2 machines back" in back.stdout
        assert answers(company) == ({first.sha}, {second.sha})
        for machine in EU:
            state = json.loads((company.service(machine) / "state.json").read_text())
            assert state["fetched"]["root"] != state["active"]["release"]["root"], "nothing was fetched for it"
        for arguments, code, said in (
            (("api",), 3, "[unknown_service]"),
            (("web", "--to", "f" * 40), 3, "[not_in_region]"),
            (("web", "--to", first.sha), 4, "[already_there]"),
        ):
            refused = company.fleetcast("region", "rollback", *arguments, "--region", "eu")
            assert (refused.returncode, len(refused.stderr.splitlines())) == (code, 1)
            assert refused.stderr.rstrip().endswith(said)
    wait_until(lambda: recorded(company), "control has heard of it")
    told = f"region eu: web was rolled back from web/{second.sha} to web/{first.sha} past control"
    status = company.fleetcast("status").stdout
    assert told in status
    assert "by ada (checkout is down); nothing new is written for web until somebody deploys it" in status
    assert goal(company) == decided
    assert answers(company) == ({first.sha}, {second.sha})

    third = company.deploy()
    company.settle(third)
    assert told not in company.fleetcast("status").stdout
    assert told in company.fleetcast("status", "web").stdout
    again = json.loads(company.fleetcast("rollback", "web", "--json").stdout)
    assert (again["state"], again["commit_sha"]) == ("SUCCEEDED", second.sha)
    assert answers(company) == ({second.sha}, {second.sha})


def test_in_the_middle_of_a_deployment(company: Company) -> None:
    """Its release comes up nowhere yet; in the region that went back it never will."""
    before = company.deploy()
    company.settle(before)
    company.shut("health")
    sick = company.deploy()

    def under_way() -> bool:
        return company.state(sick.sha) == "DISTRIBUTING" and all(company.activation(machine) for machine in company.machines)

    wait_until(under_way, "every machine changes over", 120)
    decided = goal(company)
    with company.without_control():
        begun = company.fleetcast("region", "rollback", "web", "--region", "eu", "--no-wait", "--json")
        assert json.loads(begun.stdout)["rollback"]["target"]["artifact"] == f"web/{before.sha}"
        company.open_all()
        wait_until(lambda: answers(company) == ({before.sha}, {sick.sha}), "each region runs what was decided last for it", 60)
    out, _ = sick.process.communicate(timeout=60)  # who waited for it all the time
    ended = json.loads(out)
    assert (sick.process.returncode, ended["state"]) == (1, "FAILED")
    assert f"eu was rolled back to web/{before.sha} past control" in ended["reason"]
    assert goal(company) == decided
    assert answers(company) == ({before.sha}, {sick.sha})
    company.settle(company.deploy())
