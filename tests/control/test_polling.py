"""Looks at branches of real repositories, by real git: what they trigger, who makes them, and what is said when they fail."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from fleetcast.builds.queue import BuildQueue, QueueLimits
from fleetcast.cli.doctor.control import control as doctor
from fleetcast.control.polling import Polling
from fleetcast.control.remote_heads import git_error, remote_heads
from fleetcast.http.tokens import Role, load_or_create
from fleetcast.model.errors import Unavailable
from fleetcast.model.ids import CommitSha, ServiceName
from fleetcast.model.limits import POLL_BACKOFF_S_MAX
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.model.push import OnPush, Push
from fleetcast.rollouts.look_schedule import delay_s
from fleetcast.rollouts.pushes import Pushes
from fleetcast.rollouts.services import put_service
from fleetcast.rollouts.triggers import Triggers
from fleetcast.rollouts.trunk_looks import claim_looks, failing, seen
from fleetcast.schema.push_tables import trunk_heads
from fleetcast.schema.tables import jobs
from fleetcast.stores.database import Database, now_ms

pytestmark = pytest.mark.one_engine

WEB, API = ServiceName("web"), ServiceName("api")
SOON_S = 60.0


class Repository:
    """A repository on this machine, that grows by empty commits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self._git("init", "--quiet", "--initial-branch=main")

    def commit(self) -> CommitSha:
        self._git("commit", "--quiet", "--allow-empty", "--message", "a change")
        return CommitSha(self._git("rev-parse", "HEAD"))

    def _git(self, *arguments: str) -> str:
        who = {f"GIT_{role}_{what}": "a@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"], **who}
        done = subprocess.run(["git", *arguments], cwd=self.path, env=alone, check=True, capture_output=True, text=True)
        return done.stdout.strip()


@dataclass
class Looker:
    """What looks at branches, and its database."""

    database: Database
    pushes: Pushes
    asked: list[str] = field(default_factory=list)

    def polling(self) -> Polling:
        return Polling(self.database, self.pushes, lambda: None, ask=self._ask)

    async def _ask(self, repository: str, branches: Iterable[str]) -> Mapping[str, str]:
        self.asked.append(repository)
        return await remote_heads(repository, branches)

    async def put(self, name: ServiceName, repository: object, **more: Any) -> None:
        async with self.database.transaction() as tx:
            await put_service(tx, ServiceSpec(name, str(repository), on_push=OnPush.BUILD, poll_every_s=60, **more))

    async def look(self) -> None:
        """One look at everything, as if it were due."""
        async with self.database.transaction() as tx:
            await tx.execute(update(trunk_heads).values(look_at=0))
        polling = self.polling()
        await polling.turn()
        await polling.settle()

    async def built(self) -> list[tuple[str, str]]:
        async with self.database.reading() as reading:
            rows = await reading.execute(select(jobs.c.service, jobs.c.commit_sha).order_by(jobs.c.id))
            return [(row.service, row.commit_sha) for row in rows]

    async def alarms(self) -> list[str]:
        async with self.database.reading() as reading:
            return list(await failing(reading))

    async def due_in_s(self) -> float:
        async with self.database.reading() as reading:
            return float((await reading.execute(select(func.max(trunk_heads.c.look_at) - now_ms()))).scalar_one()) / 1000


@contextlib.asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Looker]:
    database = await Database.open(url)
    queue = BuildQueue(database, QueueLimits(attempts_max=1, queued_s_max=7200, silence_s_max=600))
    yield Looker(database, Pushes(database, Triggers(database, queue)))
    await database.close()


@pytest.fixture
async def looker(database_url: str) -> AsyncIterator[Looker]:
    async with _opened(database_url) as looker:
        yield looker


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "web")
    made.commit()
    return made


async def test_the_first_look_remembers_and_each_new_head_triggers_once(looker: Looker, repository: Repository) -> None:
    await looker.put(WEB, repository.path)
    await looker.look()
    assert await looker.built() == []
    sha = repository.commit()
    for _ in range(2):
        await looker.look()
        assert await looker.built() == [(WEB, sha)]
    newer = repository.commit()
    await looker.look()
    assert await looker.built() == [(WEB, sha), (WEB, newer)]
    assert await looker.due_in_s() <= 70
    assert await looker.alarms() == []


async def test_a_repository_is_asked_once_for_all_of_its_services(looker: Looker, repository: Repository) -> None:
    await looker.put(WEB, repository.path)
    await looker.put(API, repository.path)
    await looker.look()
    sha = repository.commit()
    await looker.look()
    assert looker.asked == [str(repository.path)] * 2
    assert await looker.built() == [(API, sha), (WEB, sha)]


async def test_nobody_looks_before_it_is_due(looker: Looker, repository: Repository) -> None:
    await looker.put(WEB, repository.path)
    await looker.look()
    await looker.polling().turn()
    assert len(looker.asked) == 1


async def test_of_two_control_processes_one_looks(looker: Looker, repository: Repository, database_url: str) -> None:
    await looker.put(WEB, repository.path)
    async with _opened(database_url) as other:
        polls = [looker.polling(), other.polling()]
        await asyncio.gather(*(poll.turn() for poll in polls))
        await asyncio.gather(*(poll.settle() for poll in polls))
        assert len(looker.asked + other.asked) == 1


async def test_another_process_looks_when_one_died_and_the_dead_one_is_not_believed(
    looker: Looker, repository: Repository
) -> None:
    await looker.put(WEB, repository.path)
    await looker.look()
    async with looker.database.transaction() as tx:
        await tx.execute(update(trunk_heads).values(look_at=0))
    (dead,) = await claim_looks(looker.database, 8)
    assert await claim_looks(looker.database, 8) == ()
    async with looker.database.transaction() as tx:
        await tx.execute(update(trunk_heads).values(claim_expires_at=1))
    (alive,) = await claim_looks(looker.database, 8)
    sha = repository.commit()
    assert await seen(looker.database, looker.pushes, dead, "d" * 40, Random(1)) is None
    assert await seen(looker.database, looker.pushes, alive, sha, Random(1)) is not None
    assert await looker.built() == [(WEB, sha)]


async def test_what_cannot_be_looked_at_is_an_alarm_until_it_can(looker: Looker, repository: Repository) -> None:
    away = repository.path.with_name("moved")
    await looker.put(WEB, repository.path)
    repository.path.rename(away)
    delays = []
    for failures in range(1, 4):
        await looker.look()
        (alarm,) = await looker.alarms()
        assert alarm.startswith(f"web: control cannot follow its trunk main ({failures} in a row): ")
        delays.append(await looker.due_in_s())
    assert delays[0] < delays[1] < delays[2]
    away.rename(repository.path)
    await looker.look()
    assert await looker.alarms() == []


async def test_a_trunk_that_is_not_there_is_an_alarm(looker: Looker, repository: Repository) -> None:
    await looker.put(WEB, repository.path, trunk="release")
    await looker.look()
    assert "there is no branch release" in (await looker.alarms())[0]


async def test_one_that_fails_keeps_no_other_from_its_own(looker: Looker, repository: Repository, tmp_path: Path) -> None:
    await looker.put(API, tmp_path / "nowhere")
    await looker.put(WEB, repository.path)
    await looker.look()
    sha = repository.commit()
    await looker.look()
    assert await looker.built() == [(WEB, sha)]
    assert len(await looker.alarms()) == 1


async def test_what_cannot_be_triggered_yet_is_tried_again(looker: Looker, repository: Repository) -> None:
    async with looker.database.transaction() as tx:
        await put_service(tx, ServiceSpec(WEB, str(repository.path), on_push=OnPush.DEPLOY, poll_every_s=60))
    await looker.look()
    repository.commit()
    for failures in (1, 2):
        await looker.look()
        (alarm,) = await looker.alarms()
        assert f"({failures} in a row): web selects no machine" in alarm


async def test_a_webhook_makes_control_look_at_once_also_while_it_looks(looker: Looker, repository: Repository) -> None:
    await looker.put(WEB, "https://git.example.com/team/web")
    (look,) = await claim_looks(looker.database, 8)
    push = Push(("https://git.example.com/team/web.git",), "main", repository.commit(), "0" * 40)
    (outcome,) = await looker.pushes.take(push)
    assert (outcome.triggered, outcome.said) == ("", "web is polled: control looks at main now")
    await seen(looker.database, looker.pushes, look, "a" * 40, Random(1))
    (again,) = await claim_looks(looker.database, 8)
    assert again.service == WEB
    await seen(looker.database, looker.pushes, again, push.head, Random(1))
    assert await looker.built() == [(WEB, push.head)]
    assert await claim_looks(looker.database, 8) == ()


async def test_a_service_that_is_no_longer_polled_is_not_looked_at(looker: Looker, repository: Repository) -> None:
    await looker.put(WEB, repository.path)
    (look,) = await claim_looks(looker.database, 8)
    async with looker.database.transaction() as tx:
        await put_service(tx, ServiceSpec(WEB, str(repository.path)))
    assert await seen(looker.database, looker.pushes, look, "a" * 40, Random(1)) is None
    await looker.polling().turn()
    assert looker.asked == []


async def test_a_service_that_changes_just_before_the_claim_is_looked_at_as_it_is(
    looker: Looker, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    await looker.put(WEB, repository.path, trunk="old")
    begin = looker.database.transaction

    @contextlib.asynccontextmanager
    async def changed_meanwhile() -> AsyncIterator[Any]:
        monkeypatch.undo()
        await looker.put(WEB, repository.path, trunk="new")
        async with begin() as tx:
            yield tx

    monkeypatch.setattr(looker.database, "transaction", changed_meanwhile)
    (look,) = await claim_looks(looker.database, 8)
    assert look.trunk == "new"


def _program(directory: Path, script: str) -> None:
    directory.mkdir()
    (directory / "git").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "git").chmod(0o755)


async def test_git_tells_no_secrets_and_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = 'echo "fatal: prompts $GIT_TERMINAL_PROMPT for https://me:secret@h/x, $FLEETCAST_X" >&2; exit 128'
    _program(tmp_path / "bin", words)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("FLEETCAST_X", "ours")
    with pytest.raises(Unavailable) as caught:
        await remote_heads("https://me:secret@h/x", ["main"])
    assert caught.value.message == "fatal: prompts 0 for https://h/x,"


async def test_git_that_does_not_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path / "bin", f"mkfifo {tmp_path}/told 2>/dev/null; echo $$ > {tmp_path}/told; exec sleep 600")
    os.mkfifo(tmp_path / "told")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    looking = asyncio.create_task(remote_heads("/srv/x", ["main"]))
    pid = int(await asyncio.to_thread((tmp_path / "told").read_text))
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_look_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path / "bin", "exec sleep 600")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(Unavailable) as caught:
        await remote_heads("/srv/x", ["main"], timeout_s=0.05)
    assert caught.value.code == "git_too_slow"


async def test_without_git_that_is_said(looker: Looker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    await looker.put(WEB, "/srv/web")
    await looker.look()
    assert "there is no git where control runs" in (await looker.alarms())[0]
    assert git_error()


async def test_a_branch_is_known_by_its_whole_name(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "web")
    sha = repository.commit()
    repository._git("update-ref", "refs/other/refs/heads/main", repository.commit())
    repository._git("branch", "release", sha)
    assert await remote_heads(str(repository.path), ["release", "gone"]) == {"release": sha}
    assert set(await remote_heads(str(repository.path), ["main"])) == {"main"}


@given(st.integers(10, 86_400), st.integers(0, 100), st.randoms(use_true_random=False))
def test_looks_that_fail_become_rarer_and_never_stop(every_s: int, failures: int, rng: Random) -> None:
    delay = delay_s(every_s, failures, rng)
    assert 0.75 * every_s <= delay <= 1.25 * max(every_s, POLL_BACKOFF_S_MAX)


async def test_a_control_process_looks_by_itself(control: Any, repository: Repository) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)
        await admin.put_service(ServiceSpec(WEB, str(repository.path), on_push=OnPush.BUILD, poll_every_s=10))
        database = await Database.open(f"sqlite+aiosqlite:///{installation.home / 'fleetcast.db'}")
        await _until(database, lambda head: head is not None)
        sha = repository.commit()
        async with database.transaction() as tx:
            await tx.execute(update(trunk_heads).values(look_at=0))
        await _until(database, lambda head: head == sha)
        await database.close()
        built = [event for event in (await admin.event_page()).items if event.kind == "build.queued"]
        assert [event.text for event in built] == [f"web/{sha}"]
        assert (await admin.diagnosis()).polled == 1


async def test_doctor_and_status_say_when_control_has_no_git(
    control: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with control() as installation:
        admin = await installation.client(Role.ADMIN)

        def polling() -> list[str]:
            checks = doctor(installation.addresses["api"], load_or_create(installation.home, Role.ADMIN), down_is_fine=False)
            return [f"{check.verdict} {check.says}" for check in checks if check.name == "polling"]

        assert await asyncio.to_thread(polling) == []
        await admin.put_service(ServiceSpec(WEB, "/srv/web", on_push=OnPush.BUILD, poll_every_s=86_400))
        assert await asyncio.to_thread(polling) == ["ok 1 service; control has git"]
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        assert await asyncio.to_thread(polling) == ["fail 1 service, and control cannot look at any"]


async def _until(database: Database, holds: Callable[[str | None], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while True:
            async with database.reading() as reading:
                if holds((await reading.execute(select(trunk_heads.c.head))).scalar_one()):
                    return
            await asyncio.sleep(0.05)
