"""An old backup is restored while regions and machines run on that are ahead of it: everything ends right, nothing by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import victims
from company import Company
from founding import found
from running import wait_until

Figure = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    company = found(tmp_path_factory.mktemp("restore"), regions=("eu", "us"), machines=4, content_mib=16)
    yield company
    company.close()


def epoch_of(company: Company) -> int:
    (row,) = company.rows("SELECT epoch FROM goals WHERE service = 'web'")
    epoch: int = row["epoch"]
    return epoch


@pytest.mark.parametrize("lost", ["the database", "all that control keeps"])
def test_an_old_backup_and_regions_that_are_ahead(company: Company, tmp_path: Path, figure: Figure, lost: str) -> None:
    wanted = company.deploy()
    company.settle(wanted)
    company.shut("build")
    under_way = company.deploy()
    wait_until(lambda: company.running(under_way.sha), "its build runs")
    file = tmp_path / "old.backup"
    done = company.fleetcast("backup", str(file))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    company.open_all()
    company.settle(under_way)
    company.settle(company.deploy())
    later = company.deploy()
    company.settle(later)
    epoch_before = epoch_of(company)

    control = company.directory / "control"
    with figure(f"{lost} lost, an old backup restored"):
        with company.without_control():
            if lost != "the database":
                for path in [*control.glob("kv.db*"), *control.glob("fleetcast.db*")]:
                    path.unlink()
            arguments = ["--replace"] if lost == "the database" else []
            done = company.fleetcast("restore", str(file), *arguments, "--json")
            assert (done.returncode, done.stderr) == (0, "")
            told = json.loads(done.stdout)
            assert (told["builds_requeued"], told["deployments_unfinished"], told["without_blobs"]) == (1, 1, [])
            assert told["epoch"] > epoch_before
            assert {company.answer(machine) for machine in company.machines} == {later.sha}

        # What was under way then is built again, and gets to machines that have run two later ones.
        wait_until(lambda: company.state(under_way.sha) == "SUCCEEDED", "the deployment of then goes on to its end", 120)
        company.check_machines(under_way.sha)
        company.check_copies(under_way.sha)
    assert company.state(later.sha) == ""
    assert company.state(wanted.sha) == "SUCCEEDED"
    job = company.job(under_way.sha)
    assert job is not None
    assert (job["status"], job["attempt"]) == ("SUCCEEDED", 2)

    company.settle(company.deploy())
    done = company.fleetcast("rollback", "web", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    company.check_machines(under_way.sha)
    regions = json.loads(company.fleetcast("status", "--json").stdout)["regions"]
    assert [region["alarms"] for region in regions] == [[], []]


def test_control_is_not_robbed_of_what_it_works_on(company: Company, tmp_path: Path) -> None:
    file = tmp_path / "x.backup"
    assert company.fleetcast("backup", str(file)).returncode == 0
    before = company.rows("SELECT * FROM deployments ORDER BY id")
    done = company.fleetcast("restore", str(file), "--replace")
    assert (done.returncode, done.stdout) == (4, "")
    assert "stop control" in done.stderr
    # Killed, it says nothing any more; for a moment it may only be slow.
    supervisor = company.run.process.pid
    victims.stop(supervisor)
    victims.kill(company.pid("control"))
    done = company.fleetcast("restore", str(file), "--replace")
    assert (done.returncode, done.stdout) == (4, "")
    assert "did a moment ago" in done.stderr
    assert company.rows("SELECT * FROM deployments ORDER BY id") == before
    victims.resume(supervisor)
