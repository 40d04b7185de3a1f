"""A worker is killed, or stopped, while its build is RUNNING."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

import victims
from company import PART_BYTES, Company
from founding import SILENCE_S_MAX, found
from running import wait_until

Figure = Callable[[str], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    company = found(tmp_path_factory.mktemp("worker"), regions=("eu",), machines=1, workers=2)
    yield company
    company.close()


def holder(company: Company, sha: str) -> str:
    """The worker that holds the commit's build."""
    job = company.job(sha)
    assert job is not None
    return str(job["worker"])


def while_it_runs_the_command(company: Company, sha: str) -> tuple[str, int]:
    """Its worker, stopped in that state."""

    def runs() -> bool:
        return company.running(sha) and bool(company.commands(holder(company, sha)))

    pid = victims.stop_in(runs, lambda: company.pid(holder(company, sha)), "the build command runs")
    return holder(company, sha), pid


def while_it_uploads(company: Company, sha: str) -> tuple[str, int]:
    """Its worker, stopped with half of the content's parts in the main store."""

    def half() -> bool:
        job = company.job(sha)
        key = f"builds/{job['id']}/1/content" if job else ""
        return company.running(sha) and 0.25 <= company.share_received(company.main_bucket, key) <= 0.75

    pid = victims.stop_in(half, lambda: company.pid(holder(company, sha)), "half of the parts are uploaded")
    assert not company.commands(holder(company, sha))
    return holder(company, sha), pid


def hold_up_the_upload(company: Company) -> None:
    company.main.up.hold_after(3 * PART_BYTES + PART_BYTES // 2)


def test_killed_while_the_command_runs(company: Company, figure: Figure) -> None:
    company.shut("build")
    deploying = company.deploy()
    worker, pid = while_it_runs_the_command(company, deploying.sha)
    orphans = company.commands(worker)
    with figure("killed while RUNNING"):
        victims.kill(pid)
        assert any(map(victims.alive, orphans)), "they outlive it, until its successor comes"
        company.restarted(worker, pid)
        wait_until(lambda: not any(map(victims.alive, orphans)), "its successor has ended what it had started")
        company.open_all()
        company.settle(deploying, attempts=2)


def test_killed_while_it_uploads(company: Company, figure: Figure) -> None:
    hold_up_the_upload(company)
    deploying = company.deploy()
    worker, pid = while_it_uploads(company, deploying.sha)
    with figure("killed with half of the parts uploaded"):
        victims.kill(pid)
        company.restarted(worker, pid)
        company.open_all()
        company.settle(deploying, attempts=2)


@pytest.mark.parametrize("moment", ["command", "upload"])
def test_stopped_for_less_than_its_lease(company: Company, figure: Figure, moment: str) -> None:
    """Nobody else gets the build; it goes on where it was."""
    if moment == "command":
        company.shut("build")
    else:
        hold_up_the_upload(company)
    deploying = company.deploy()
    worker, pid = (while_it_runs_the_command if moment == "command" else while_it_uploads)(company, deploying.sha)
    with figure(f"stopped for {SILENCE_S_MAX / 3:g} s during the {moment}"):
        time.sleep(SILENCE_S_MAX / 3)
        assert company.running(deploying.sha)
        assert victims.stopped(pid)
        victims.resume(pid)
        company.open_all()
        company.settle(deploying)
    assert company.pid(worker) == pid


@pytest.mark.parametrize("moment", ["command", "upload"])
def test_stopped_past_its_lease(company: Company, figure: Figure, moment: str) -> None:
    """Another takes over. What the stopped one does afterwards is refused, and nothing of it counts or stays."""
    if moment == "command":
        company.shut("build")
    else:
        hold_up_the_upload(company)
    deploying = company.deploy()
    worker, pid = (while_it_runs_the_command if moment == "command" else while_it_uploads)(company, deploying.sha)
    void = len(company.log_lines(worker, "attempt_void"))
    with figure(f"stopped past its lease during the {moment}"):
        company.shut("build")
        wait_until(lambda: company.running(deploying.sha, attempt=2), "another attempt holds the build")
        other = holder(company, deploying.sha)
        assert other != worker
        wait_until(lambda: bool(company.commands(other)), "the other attempt's command runs")

        assert victims.stopped(pid)
        victims.resume(pid)
        company.main.open()
        wait_until(lambda: len(company.log_lines(worker, "attempt_void")) == void + 1, "its late words are refused")
        wait_until(lambda: not company.commands(worker), "its command's processes are gone")
        assert company.running(deploying.sha, attempt=2)
        company.open_all()
        company.settle(deploying, attempts=2)
    artifact = company.artifact(deploying.sha)
    assert artifact["content_blob"] == f"builds/{artifact['build_id']}/2/content"
    assert not (company.main_bucket / "blobs" / "builds" / str(artifact["build_id"]) / "1").exists()
    assert company.pid(worker) == pid, "it is the process that it was"


def test_stopped_until_all_is_over(company: Company) -> None:
    """It wakes up in a world in which its build has long been finished by another."""
    hold_up_the_upload(company)
    deploying = company.deploy()
    worker, pid = while_it_uploads(company, deploying.sha)
    void = len(company.log_lines(worker, "attempt_void"))
    wait_until(lambda: company.running(deploying.sha, attempt=2), "another attempt holds the build")
    company.open_all()
    deploying.end()
    before = [dict(row) for row in (company.artifact(deploying.sha), company.job(deploying.sha)) if row]
    assert victims.stopped(pid)
    victims.resume(pid)
    wait_until(lambda: len(company.log_lines(worker, "attempt_void")) == void + 1, "its late words are refused")
    company.settle(deploying, attempts=2)
    assert before == [dict(row) for row in (company.artifact(deploying.sha), company.job(deploying.sha)) if row]
