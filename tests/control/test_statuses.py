"""Commit statuses, told to a server on this machine that writes down what it hears."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import select, update

from fleetcast.builds.queue import BuildQueue, QueueLimits
from fleetcast.control.statuses.outbox import claim, forget_statuses, gather, not_told, untold
from fleetcast.control.statuses.sending import ForgeApi, Gatherer, Sender, backoff_s
from fleetcast.control.statuses.showing import GITHUB, GITLAB, Forge
from fleetcast.http.tokens import Role
from fleetcast.model.deployment import DeploymentKind, DeploymentState
from fleetcast.model.event import EventKind
from fleetcast.model.ids import BuildId, CommitSha, ServiceName
from fleetcast.model.limits import STATUS_BACKOFF_S_MAX, STATUS_DESCRIPTION_CHARS_MAX, STATUS_TOLD_S_MAX
from fleetcast.model.messages.artifacts import BuildRequest
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.rollouts.services import put_service
from fleetcast.rollouts.triggers import Triggers
from fleetcast.schema.events import record_event
from fleetcast.schema.push_tables import commit_statuses
from fleetcast.schema.tables import deployments
from fleetcast.stores.database import Database, now_ms
from recorder import Heard, Recorder, listening

pytestmark = pytest.mark.one_engine

WEB, API = ServiceName("web"), ServiceName("api")
A = CommitSha("a" * 40)
SOON_S = 60.0


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with listening() as recorder:
        yield recorder


@dataclass
class Place:
    """A database in which things happen, and who tells of them."""

    database: Database
    queue: BuildQueue
    api: ForgeApi

    async def build(self, service: ServiceName = WEB) -> BuildId:
        return await Triggers(self.database, self.queue).build(BuildRequest(service, A))

    async def fail(self, reason: str) -> None:
        claimed = await self.queue.claim("w1")
        assert claimed is not None
        await self.queue.fail(claimed.build.id, claimed.token, reason)

    async def tell(self) -> None:
        await Gatherer(self.database, (self.api.forge,)).turn()
        await Sender(self.database, self.api).turn()

    async def tell_again(self) -> None:
        """As when the next attempt is due."""
        async with self.database.transaction() as tx:
            waiting = commit_statuses.c.send_at.is_not(None)
            await tx.execute(update(commit_statuses).where(waiting).values(send_at=0))
        await self.tell()

    async def alarms(self) -> list[str]:
        async with self.database.reading() as reading:
            return list(await untold(reading))

    async def happened(self, kind: EventKind, deployment: str, state: str, text: str = "") -> None:
        async with self.database.transaction() as tx:
            record_event(tx, kind, deployment, service=WEB, state=state, text=text)


def _api(name: str, recorder: Recorder, home: Path, **more: Any) -> ForgeApi:
    token = home / f"{name}.token"
    token.write_text("t0k3n\n")
    token.chmod(0o600)
    return ForgeApi(Forge(name, "https://git.example.com", **more), f"{recorder.url}/api/v4", token)


@contextlib.asynccontextmanager
async def _place(url: str, api: ForgeApi) -> AsyncIterator[Place]:
    database = await Database.open(url)
    queue = BuildQueue(database, QueueLimits(attempts_max=1, queued_s_max=7200, silence_s_max=600))
    place = Place(database, queue, api)
    async with database.transaction() as tx:
        for service in (WEB, API):
            await put_service(tx, ServiceSpec(service, "git@git.example.com:Team/Web.git"))
    await place.tell()  # from here on
    yield place
    await database.close()


@pytest.fixture
async def place(database_url: str, recorder: Recorder, tmp_path: Path) -> AsyncIterator[Place]:
    async with _place(database_url, _api(GITHUB, recorder, tmp_path, link="https://fc.example.com/{kind}/{id}")) as place:
        yield place


async def test_github_is_told_when_a_build_is_queued_and_how_it_ended(place: Place, recorder: Recorder) -> None:
    build = await place.build()
    await place.tell()
    await place.fail("make: exit 2")
    await place.tell()
    await place.tell()
    pending, failure = recorder.heard
    assert pending == Heard(
        f"/api/v4/repos/Team/Web/statuses/{A}",
        "Bearer t0k3n",
        {
            "state": "pending",
            "context": "fleetcast/web/build",
            "description": f"build {build} is under way",
            "target_url": f"https://fc.example.com/build/{build}",
        },
    )
    assert (failure.said["state"], failure.said["description"]) == ("failure", f"build {build} failed: make: exit 2")


async def test_gitlab_is_told_in_its_own_words(database_url: str, recorder: Recorder, tmp_path: Path) -> None:
    async with _place(database_url, _api(GITLAB, recorder, tmp_path)) as place:
        await place.build()
        await place.tell()
        await place.fail("x" * 1000)
        await place.tell()
        assert recorder.states == ["pending", "failed"]
        assert {one.path for one in recorder.heard} == {f"/api/v4/projects/Team%2FWeb/statuses/{A}"}
        assert recorder.heard[0].said["name"] == "fleetcast/web/build"
        assert len(recorder.heard[1].said["description"]) == STATUS_DESCRIPTION_CHARS_MAX, STATUS_TOLD_S_MAX
        assert "target_url" not in recorder.heard[0].said


async def test_what_is_on_no_such_server_is_not_told(place: Place, recorder: Recorder) -> None:
    async with place.database.transaction() as tx:
        await put_service(tx, ServiceSpec(WEB, "https://elsewhere.example.com/team/web.git"))
    await place.build()
    await place.tell()
    assert recorder.heard == []


async def test_only_the_newest_state_is_sent(place: Place, recorder: Recorder) -> None:
    await place.build()
    await place.fail("no")
    await place.tell()
    assert recorder.states == ["failure"]


async def test_what_happened_before_it_was_set_up_is_not_told(database_url: str, recorder: Recorder, tmp_path: Path) -> None:
    database = await Database.open(database_url)
    async with database.transaction() as tx:
        await put_service(tx, ServiceSpec(WEB, "https://git.example.com/team/web"))
    queue = BuildQueue(database, QueueLimits(attempts_max=1, queued_s_max=7200, silence_s_max=600))
    await Triggers(database, queue).build(BuildRequest(WEB, A))
    place = Place(database, queue, _api(GITHUB, recorder, tmp_path))
    await place.tell()
    await place.fail("later")
    await place.tell()
    await database.close()
    assert recorder.states == ["failure"]


async def test_a_server_that_is_away_is_told_when_it_is_back(place: Place, recorder: Recorder) -> None:
    recorder.answer = lambda _heard: (503, b"<html>maintenance</html>")
    await place.build()
    await place.tell()
    assert await place.alarms() == ["1 commit statuses wait for github: the other side answered HTTP 503 and no reason"]
    recorder.answer = Recorder("").answer
    await place.tell_again()
    assert set(recorder.states) == {"pending"}
    assert await place.alarms() == []


async def test_a_server_that_is_not_there_holds_up_no_other(place: Place, recorder: Recorder, tmp_path: Path) -> None:
    labs = ForgeApi(Forge(GITLAB, "https://lab.example.com"), "http://127.0.0.1:1/api/v4", place.api.token_file)
    async with place.database.transaction() as tx:
        await put_service(tx, ServiceSpec(API, "https://lab.example.com/team/api"))
    await place.build(API)
    await place.build(WEB)
    await Gatherer(place.database, (place.api.forge, labs.forge)).turn()
    await Sender(place.database, labs).turn()
    await Sender(place.database, place.api).turn()
    assert [one.said["context"] for one in recorder.heard] == ["fleetcast/web/build"]
    (alarm,) = await place.alarms()
    assert "wait for gitlab" in alarm


async def test_what_will_never_be_taken_is_given_up(place: Place, recorder: Recorder) -> None:
    recorder.answer = lambda _heard: (422, b'{"message": "No commit found for SHA"}')
    await place.build()
    await place.tell()
    await place.tell_again()
    assert len(recorder.heard) == 1
    assert await place.alarms() == []


async def test_gitlab_that_shows_it_already_is_content(database_url: str, recorder: Recorder, tmp_path: Path) -> None:
    async with _place(database_url, _api(GITLAB, recorder, tmp_path)) as place:
        recorder.answer = lambda _heard: (400, b'{"message": "Cannot transition status via :enqueue from :pending"}')
        await place.build()
        await place.tell()
        async with place.database.reading() as reading:
            row = (await reading.execute(select(commit_statuses))).one()
        assert (row.told_event_id, row.send_at, row.error) == (row.event_id, None, "")


async def test_a_token_that_is_wrong_is_an_alarm_until_it_is_replaced(place: Place, recorder: Recorder) -> None:
    recorder.answer = lambda heard: (201, b"{}") if heard.token == "Bearer right" else (401, b'{"message": "Bad credentials"}')
    await place.build()
    await place.tell()
    assert "HTTP 401 and Bad credentials" in (await place.alarms())[0]
    assert "t0k3n" not in str(await place.alarms())
    place.api.token_file.unlink()
    await place.tell_again()
    assert "there is no token file" in (await place.alarms())[0]
    place.api.token_file.write_text("right\n")
    place.api.token_file.chmod(0o600)
    await place.tell_again()
    assert await place.alarms() == []


async def test_two_control_processes_tell_each_once(place: Place, recorder: Recorder, database_url: str) -> None:
    other = Place(await Database.open(database_url), place.queue, place.api)
    await asyncio.gather(*(place.build(service) for service in (WEB, API)))
    both = (place, other)
    await asyncio.gather(*(Gatherer(each.database, (place.api.forge,)).turn() for each in both))
    await asyncio.gather(*(Sender(each.database, place.api).turn() for each in both))
    await other.database.close()
    assert sorted(one.said["context"] for one in recorder.heard) == ["fleetcast/api/build", "fleetcast/web/build"]


async def test_what_happens_while_it_is_told_is_told_next(place: Place, recorder: Recorder) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def answer(heard: Heard) -> tuple[int, bytes]:
        if heard.said["state"] == "pending":
            asked.set()
            go_on.wait(SOON_S)
        return 201, b"{}"

    recorder.answer = answer
    await place.build()
    telling = asyncio.create_task(place.tell())
    assert await asyncio.to_thread(asked.wait, SOON_S)
    await place.fail("no")
    await Gatherer(place.database, (place.api.forge,)).turn()
    go_on.set()
    await telling
    await place.tell()
    assert recorder.states == ["pending", "failure"]


async def test_one_that_died_is_followed_by_another(place: Place, recorder: Recorder) -> None:
    await place.build()
    await gather(place.database, (place.api.forge,))
    (dead,) = await claim(place.database, place.api.forge)
    assert await claim(place.database, place.api.forge) == ()
    async with place.database.transaction() as tx:
        await tx.execute(update(commit_statuses).values(claim_expires_at=1))
    await place.tell()
    await not_told(place.database, dead, "too late to be believed", 1)
    assert (recorder.states, await place.alarms()) == (["pending"], [])


async def _deployment(place: Place, name: str, sequence: int) -> None:
    async with place.database.transaction() as tx:
        await tx.execute(
            deployments.insert().values(
                id=name,
                service=WEB,
                environment="production",
                kind=DeploymentKind.DEPLOY,
                sequence=sequence,
                commit_sha=A,
                selector={},
                state=DeploymentState.BUILDING,
                created_at=now_ms(),
            )
        )
    await place.happened(EventKind.DEPLOYMENT_TRIGGERED, name, "BUILDING")


async def test_deployments_are_told_and_the_end_of_a_replaced_one_is_not(place: Place, recorder: Recorder) -> None:
    await _deployment(place, "d1", 1)
    await place.tell()
    await _deployment(place, "d2", 2)
    await place.happened(EventKind.DEPLOYMENT_ENDED, "d1", "SUPERSEDED")
    await place.tell()
    await place.happened(EventKind.DEPLOYMENT_ENDED, "d2", "SUCCEEDED")
    await place.tell()
    assert [(one.said["state"], one.said["description"]) for one in recorder.heard] == [
        ("pending", "deployment d1 is under way"),
        ("pending", "deployment d2 is under way"),
        ("success", "deployment d2 succeeded"),
    ]
    assert {one.said["context"] for one in recorder.heard} == {"fleetcast/web/deploy"}


@pytest.mark.parametrize(("state", "told"), [("ABORTED", "error"), ("ROLLED_BACK", "error"), ("FAILED", "failure")])
async def test_how_a_deployment_ended_is_told(place: Place, recorder: Recorder, state: str, told: str) -> None:
    await _deployment(place, "d1", 1)
    await place.happened(EventKind.DEPLOYMENT_ENDED, "d1", state, "why")
    await place.tell()
    assert recorder.states == [told]


async def test_what_nobody_tells_any_more_is_no_alarm_after_a_day(place: Place, recorder: Recorder) -> None:
    recorder.answer = lambda _heard: (503, b"")
    await place.build()
    await place.tell()
    assert len(await place.alarms()) == 1
    async with place.database.transaction() as tx:
        await tx.execute(update(commit_statuses).values(updated_at=now_ms() - (STATUS_TOLD_S_MAX + 1) * 1000))
    assert await place.alarms() == []


async def test_old_statuses_are_forgotten(place: Place) -> None:
    await place.build()
    await place.tell()
    async with place.database.transaction() as tx:
        assert await forget_statuses(tx) == 0
        await tx.execute(update(commit_statuses).values(updated_at=1))
        assert await forget_statuses(tx) == 1


def test_attempts_become_rarer_and_never_stop() -> None:
    rng = Random(1)
    delays = [backoff_s(failures, rng) for failures in range(1, 100)]
    assert delays[0] < delays[3] < delays[6]
    assert max(delays) <= STATUS_BACKOFF_S_MAX


async def test_a_control_process_tells_by_itself(control: Any, recorder: Recorder, tmp_path: Path) -> None:
    api = _api(GITHUB, recorder, tmp_path)
    settings = {"github_url": "https://git.example.com", "github_api_url": recorder.url, "github_status_token": api.token_file}
    async with control(**settings) as installation:
        admin = await installation.client(Role.ADMIN)
        await admin.put_service(ServiceSpec(WEB, "https://git.example.com/team/web", trunk=""))
        await _until(lambda: _has_a_cursor(installation.home))
        await admin.order_build(BuildRequest(WEB, A))
        await _until(lambda: asyncio.sleep(0, set(recorder.states) == {"pending"}))


async def _has_a_cursor(home: Path) -> bool:
    database = await Database.open(f"sqlite+aiosqlite:///{home / 'fleetcast.db'}")
    async with database.reading() as reading:
        found = (await reading.exec_driver_sql("SELECT 1 FROM event_cursors")).one_or_none()
    await database.close()
    return found is not None


async def _until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(SOON_S):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.05)
