"""Two hundred builds while workers, control, the reaper and the database are struck at every named step of an attempt.

Whatever happens: each build ends once, its artifact is whole, and nothing of an attempt that had lost it counts or stays.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import victims
from company import hash_of
from fleetcast.cli.demo.engines.postgres import PostgresServer, postgres_server
from running import wait_until
from works import SILENCE_S_MAX, WORKERS, Works, works

BUILDS = 200
AT_ONCE = 2
"""So many builds are ordered for each moment that is looked for: one to be struck, others to go on meanwhile."""
END_S_MAX = 240.0
STEPS = ("claimed", "checked_out", "built", "uploading", "uploaded", "committed")
SPIN_S = 0.001
SLICE_S = 0.003
Figure = Callable[[str], AbstractContextManager[None]]

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def _watched() -> None:
    """No service of another test runs here that could be watched."""


@dataclass(frozen=True)
class Moment:
    """A worker, stopped in an attempt at a step."""

    worker: str
    pid: int
    build: int
    attempt: int
    step: str


@dataclass
class Campaign:
    place: Works
    restart_database: Callable[[], None]
    ordered: list[int] = field(default_factory=list)

    def stopped_at(self, step: str) -> Moment:
        """The next attempt that can be stopped at that step, and is. Those that slip by go on."""
        while True:
            wait_until(lambda: len(self.ordered) - self.place.ended() < WORKERS, "workers have little to do")
            steps = {worker: _Steps(self.place.log(worker)) for worker in self.place.workers}
            for commit in self.place.commits[len(self.ordered) :][:AT_ONCE]:
                self.ordered.append(self.place.order(commit))
            assert len(self.ordered) < BUILDS, f"no attempt could be stopped at {step}"
            moment = self._stopped_at(step, steps)
            if moment is not None:
                return moment

    def _stopped_at(self, step: str, steps: Mapping[str, _Steps]) -> Moment | None:
        end = time.monotonic() + 60
        while True:
            assert time.monotonic() < end, "nobody claims anything"
            time.sleep(SPIN_S)
            worker, begun = next(((worker, told) for worker, log in steps.items() if (told := log.more())), ("", []))
            if begun and self.place.up(worker):
                break
        pid = self.place.pid(worker)
        victims.stop(pid)
        build, attempt, _ = begun[0]
        reached = ""

        def there() -> bool:
            nonlocal reached
            of_it = [each for each in begun + steps[worker].more() if each[:2] == (build, attempt)]
            begun[:] = of_it
            reached = of_it[-1][2]
            return STEPS.index(reached) >= STEPS.index(step) or not self._holds(build, attempt)

        victims.step_to(there, pid, f"{worker} gets to {step}", SLICE_S)
        if reached == step and self._is_as_it_says(build, attempt, step):
            return Moment(worker, pid, build, attempt, step)
        victims.resume(pid)
        return None

    def _holds(self, build: int, attempt: int) -> bool:
        """Whether nobody has put the build back."""
        job = self.place.job(build)
        return bool(job["attempt"] == attempt and job["status"] in ("RUNNING", "SUCCEEDED"))

    def _is_as_it_says(self, build: int, attempt: int, step: str) -> bool:
        """What the database and the store say at that moment."""
        job, key = self.place.job(build), f"builds/{build}/{attempt}"
        content, manifest = (self.place.received(f"{key}/{blob}") for blob in ("content", "manifest"))
        if job["attempt"] != attempt:
            return False
        match step:
            case "committed":
                return bool(job["status"] == "SUCCEEDED")
            case "uploaded":  # its commit may be on the way
                return content and manifest
            case "uploading":
                return bool(job["status"] == "RUNNING") and content and not manifest
            case _:
                return bool(job["status"] == "RUNNING") and not content

    def kill(self, name: str) -> None:
        pid = self.place.pid(name)
        victims.kill(pid)
        self.place.replaced(name, pid)

    def stopped(self, name: str) -> int:
        """Stop a process that opens the database, but not in the middle of a transaction, for which all would wait where the
        database is a file. Its id.
        """
        return victims.stop_in(self.place.writable, lambda: self.place.pid(name), f"{name} holds no transaction")

    def past_the_lease(self, moment: Moment) -> None:
        """Until longer than it has passed, and the build that was RUNNING is somebody else's, or nobody's."""
        began_at = time.monotonic()
        wait_until(lambda: time.monotonic() > began_at + SILENCE_S_MAX, "the lease is over")
        job = self.place.job(moment.build)
        if (job["status"], job["attempt"]) == ("RUNNING", moment.attempt):
            wait_until(lambda: not self._holds(moment.build, moment.attempt), f"build {moment.build} is put back")

    # Strikes: each in a moment in which a worker is stopped, and at the end of which nobody is

    def worker_killed(self, moment: Moment) -> None:
        victims.kill(moment.pid)
        self.place.replaced(moment.worker, moment.pid)

    def worker_paused(self, moment: Moment) -> None:
        self.past_the_lease(moment)
        victims.resume(moment.pid)

    def control_killed(self, moment: Moment) -> None:
        self.kill("control")
        victims.resume(moment.pid)

    def control_paused(self, moment: Moment) -> None:
        control = self.stopped("control")
        self.past_the_lease(moment)
        victims.resume(control)
        victims.resume(moment.pid)

    def reaper_killed(self, moment: Moment) -> None:
        self.kill("reaper")
        victims.resume(moment.pid)

    def reaper_paused(self, moment: Moment) -> None:
        reaper = self.stopped("reaper")
        self.past_the_lease(moment)
        victims.resume(reaper)
        victims.resume(moment.pid)

    def database_restarted(self, moment: Moment) -> None:
        self.restart_database()
        victims.resume(moment.pid)


STRIKES = (
    Campaign.worker_killed,
    Campaign.worker_paused,
    Campaign.control_killed,
    Campaign.control_paused,
    Campaign.reaper_killed,
    Campaign.reaper_paused,
    Campaign.database_restarted,
)


class _Steps:
    """What a worker's log tells of steps from here on: (build, attempt, step)."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset = log.stat().st_size
        self._left = b""

    def more(self) -> list[tuple[int, int, str]]:
        with self._log.open("rb") as file:
            file.seek(self._offset)
            read = file.read()
        self._offset += len(read)
        *lines, self._left = (self._left + read).split(b"\n")
        told = (json.loads(line) for line in lines if b'"attempt_step"' in line)
        return [(int(each["build"]), int(each["attempt"]), str(each["step"])) for each in told]


@pytest.fixture(params=["sqlite", "postgresql"])
def campaign(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Campaign]:
    if request.param == "sqlite":
        with works(tmp_path, commits=BUILDS) as place:
            yield Campaign(place, lambda: None)
        return
    with postgres_server(durable=True) as server:
        url = server.create_database("works")
        with works(tmp_path, commits=BUILDS, database_url=url) as place:
            yield Campaign(place, lambda: restart(server))


def restart(server: PostgresServer) -> None:
    """As if it had died, and the next time in order."""
    server.crash()
    server.start()


def test_each_ends_once_whoever_dies(campaign: Campaign, figure: Figure) -> None:
    place = campaign.place
    struck = 0
    with figure(f"{BUILDS} builds, {len(STRIKES) * len(STEPS)} strikes"):
        for strike, step in itertools.product(STRIKES, STEPS):
            strike(campaign, campaign.stopped_at(step))
            struck += 1
        assert struck == len(STRIKES) * len(STEPS)
        campaign.ordered += [place.order(commit) for commit in place.commits[len(campaign.ordered) :]]
        wait_until(lambda: place.ended() == BUILDS, "every build has ended", END_S_MAX)

    jobs = {job["id"]: job for job in place.rows("SELECT * FROM jobs")}
    assert len(jobs) == len(set(campaign.ordered)) == BUILDS
    assert {job["status"] for job in jobs.values()} == {"SUCCEEDED"}, [
        job for job in jobs.values() if job["status"] == "FAILED"
    ]
    assert sum(job["attempt"] > 1 for job in jobs.values()) >= len(STEPS), "builds were lost, or nothing was tried"
    ends = place.rows("SELECT subject, count(*) AS ends FROM events WHERE kind = 'build.ended' GROUP BY subject")
    assert {row["ends"] for row in ends} == {1}
    assert len(ends) == BUILDS
    artifacts = place.rows("SELECT * FROM artifacts")
    assert sorted(row["build_id"] for row in artifacts) == sorted(jobs)
    for row in artifacts:
        job = jobs[row["build_id"]]
        assert row["attempt"] == job["attempt"], "the attempt that ended the build is the one whose content counts"
        assert row["content_blob"] == job["blob"] == f"builds/{job['id']}/{job['attempt']}/content"
        assert hash_of(place.blob(row["content_blob"])) == place.expected(row["commit_sha"])
        assert place.blob(row["manifest_blob"]).stat().st_size == row["manifest_size"]

    counted = {str(Path(row["content_blob"]).parent) for row in artifacts}
    left: list[str] = []

    def nothing_else() -> bool:
        left[:] = [path for path in place.stored("builds") if str(Path(path).parent) not in counted]
        return not left

    with contextlib.suppress(AssertionError):
        wait_until(nothing_else, "nothing of a lost attempt is in the store")
    assert left == []
