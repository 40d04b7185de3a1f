"""A worker with a real control: from an ordered commit to a signed artifact in the main store, or to a reason why not."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fleetcast.artifacts.manifest import decode, manifest_digest
from fleetcast.artifacts.signing import load_public, verify_root
from fleetcast.builds.queue import BuildQueue, QueueLimits
from fleetcast.client.builds import Builds
from fleetcast.http.session import Session
from fleetcast.model.build import BuildStatus
from fleetcast.model.errors import Invalid, Refused
from fleetcast.model.ids import BuildId, Token
from fleetcast.model.messages.builds import BuildAccepted
from fleetcast.stores.database import Database
from fleetcast.worker.process import serve
from fleetcast.worker.workspace import Held, Workspace

RECIPE = """\
[build]
command = '''{command}'''
output = "dist"

[run]
activate = "exec ./server"
health_timeout_s = 5
"""

MAKE = "echo making $FLEETCAST_SERVICE; mkdir dist; head -c 20000000 /dev/urandom > dist/payload; cp page dist/; echo made >&2"


def recipe(command: str) -> dict[str, str]:
    return {"fleetcast.toml": RECIPE.format(command=command), "page": "hello"}


async def requeue(database_path: Path) -> None:
    """Be a reaper without any patience."""
    database = await Database.open(f"sqlite+aiosqlite:///{database_path}")
    try:
        queue = BuildQueue(database, QueueLimits(attempts_max=3, queued_s_max=100, silence_s_max=-1))
        async with asyncio.timeout(10):
            while not await queue.reap():  # a heartbeat came between its look and its write
                pass
    finally:
        await database.close()


def processes_in(directory: Path) -> list[str]:
    """What runs with its working directory below ``directory``."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink().is_relative_to(directory):
                found.append(link.parent.name)
        except OSError:
            continue
    return found


async def test_a_commit_becomes_a_signed_artifact(company: Any, working: Any, repository: Any) -> None:
    commit = repository.commit(recipe(MAKE))
    build = await company.order(repository, commit)
    async with working(company.worker):
        ended = await company.ended()
    assert (ended.status, ended.reason) == (BuildStatus.SUCCEEDED, "")

    detail = await company.people.artifact(f"web/{commit}")
    root = verify_root(detail.envelope, [load_public(company.home / "worker.pub")])
    assert (root.commit_sha, root.build, root.activate, root.health_timeout_s) == (commit, build, "exec ./server", 5.0)
    blobs = {path.stat().st_size: path for path in (company.home / "bucket").rglob("*") if path.is_file()}
    assert hashlib.sha256(blobs[root.content_size].read_bytes()).hexdigest() == root.content_sha256
    encoded = blobs[root.manifest_size].read_bytes()
    assert manifest_digest(encoded) == root.digest
    assert [entry.path for entry in decode(encoded).entries] == [b"page", b"payload"]

    log = await company.log(build)
    assert "making web\nmade\n" in log
    assert f"==> source: {repository.path} at {commit}\n" in log
    assert list((company.home / "workspace" / "attempts").iterdir()) == []


async def test_files_of_the_commit_itself_can_be_the_output(company: Any, working: Any, repository: Any) -> None:
    commit = repository.commit({"fleetcast.toml": '[build]\noutput = "."\n', "page": "hello"})
    await company.order(repository, commit)
    async with working(company.worker):
        assert (await company.ended()).status is BuildStatus.SUCCEEDED
    detail = await company.people.artifact(f"web/{commit}")
    assert verify_root(detail.envelope, [load_public(company.home / "worker.pub")]).files == 2


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (recipe("echo no compiler here; exit 3"), "the build command exited 3: its log says why"),
        (recipe("sleep 1000"), "the build command took longer than the 3 s it may"),
        (recipe("true"), "does the build command make it?"),
        (recipe("mkdir dist; mkfifo dist/pipe"), "device, socket or pipe"),
        (recipe("ln -s /etc dist"), "leads out of the repository"),
        ({"fleetcast.toml": "[build]\noutput = 7\n"}, "fleetcast.toml, line 2: output must be text in quotes"),
        ({"page": "hello"}, "fleetcast.toml does not exist at this commit"),
    ],
)
async def test_a_build_that_cannot_succeed_fails_with_its_reason(
    company: Any, working: Any, repository: Any, files: dict[str, str], reason: str
) -> None:
    build = await company.order(repository, repository.commit(files))
    async with working(company.worker):
        ended = await company.ended()
    assert ended.status is BuildStatus.FAILED
    assert reason in ended.reason
    assert ended.attempt == 1
    assert f"==> failed: {ended.reason}\n" in await company.log(build)
    assert processes_in(company.home) == []


async def test_a_commit_off_the_trunk_fails(company: Any, working: Any, repository: Any) -> None:
    repository.commit(recipe(MAKE))
    repository.git("switch", "--quiet", "--create", "feature")
    await company.order(repository, repository.commit({"page": "feature"}))
    async with working(company.worker):
        assert "is not on main" in (await company.ended()).reason


async def test_a_stopped_worker_hands_its_build_back(company: Any, working: Any, repository: Any) -> None:
    build = await company.order(repository, repository.commit(recipe(f"test -e {repository.path}/go || sleep 1000; {MAKE}")))
    async with working(company.worker) as stop:
        await company.until(lambda build: build.status is BuildStatus.RUNNING)
        stop.set()
    handed_back = await company.build()
    assert (handed_back.status, handed_back.attempt) == (BuildStatus.QUEUED, 1)
    assert "stopped" in handed_back.reason
    assert processes_in(company.home) == []

    (repository.path / "go").touch()
    async with working(company.worker):
        ended = await company.ended()
    assert (ended.status, ended.attempt) == (BuildStatus.SUCCEEDED, 2)
    assert "attempt 2 on worker-1" in await company.log(build)


async def test_what_a_killed_worker_had_claimed_is_not_waited_for(company: Any, working: Any, repository: Any) -> None:
    """Its successor hands it back at once, long before the reaper would; what was not its own any more is left alone."""
    await company.order(repository, repository.commit(recipe(MAKE)))
    workspace = Workspace(company.worker.workspace)
    workspace.open()
    async with aclosing(Session(company.worker.control_url, company.worker.token)) as session:
        claimed = await Builds(session).claim("worker-1", 1)
        await company.until(lambda build: build.status is BuildStatus.RUNNING)
    workspace.attempt("1-1", Held(claimed.build, claimed.token))
    workspace.attempt("1-0", Held(claimed.build, Token("void")))
    (workspace.attempt("0-0", Held(claimed.build, claimed.token)) / "claim").write_text("{")
    workspace.close()

    with capture_logs() as logs:
        async with working(company.worker):
            ended = await company.ended()
    requeued = [line["reason"] for line in logs if line["event"] == "build_requeued"]
    assert requeued == ["attempt 1 of 3: its worker was killed"]
    assert (ended.status, ended.attempt) == (BuildStatus.SUCCEEDED, 2)
    assert list((company.worker.workspace / "attempts").iterdir()) == []


async def test_a_daemon_of_a_build_ends_with_it(company: Any, working: Any, repository: Any) -> None:
    await company.order(repository, repository.commit(recipe(f"setsid sleep 1000 & {MAKE}")))
    async with working(company.worker):
        assert (await company.ended()).status is BuildStatus.SUCCEEDED
    assert processes_in(company.home) == []


async def test_a_worker_whose_token_is_void_drops_the_build(company: Any, working: Any, repository: Any) -> None:
    go = repository.path / "go"
    build = await company.order(repository, repository.commit(recipe(f"echo on; test -e {go} || sleep 1000; {MAKE}")))
    async with working(company.worker):
        await company.until(lambda build: build.status is BuildStatus.RUNNING)
        go.touch()
        await requeue(company.home / "fleetcast.db")
        ended = await company.until(lambda build: build.attempt == 2 and build.status is not BuildStatus.RUNNING)
    assert (ended.id, ended.status) == (build, BuildStatus.SUCCEEDED)
    assert "failed:" not in await company.log(build)


async def test_a_worker_whose_token_is_void_does_not_wait_for_its_log_to_be_taken(
    company: Any, working: Any, repository: Any
) -> None:
    """It learns that the token is void from the log that it sends with its verdict."""
    go, first = repository.path / "go", company.worker.workspace / "attempts" / "1-1"
    await company.order(repository, repository.commit(recipe(f"until test -e {go}; do sleep 0.01; done; exit 3")))
    async with working(company.worker):
        await company.until(lambda build: build.status is BuildStatus.RUNNING)
        async with asyncio.timeout(10):
            while not processes_in(first):  # noqa: ASYNC110 -- its processes have no event for us
                await asyncio.sleep(0.01)
        await requeue(company.home / "fleetcast.db")
        go.touch()
        async with asyncio.timeout(10):
            while first.exists():  # noqa: ASYNC110 -- likewise
                await asyncio.sleep(0.01)
        assert (await company.ended()).attempt == 2


async def test_a_worker_whose_build_nobody_wants_ends_it_long_before_its_next_heartbeat(
    slow: Any, working: Any, repository: Any
) -> None:
    build = await slow.order(repository, repository.commit(recipe("echo hanging; sleep 1000")))
    async with working(slow.worker):
        async with asyncio.timeout(20):
            while "\nhanging\n" not in await slow.log(build):  # noqa: ASYNC110 -- nor has its log
                await asyncio.sleep(0.05)
        await slow.people.abort(slow.deployment)
        async with asyncio.timeout(10):
            while processes_in(slow.home):  # noqa: ASYNC110 -- its processes have no event for us
                await asyncio.sleep(0.05)
        await slow.order(repository, repository.commit(recipe(MAKE)))
        assert (await slow.ended()).status is BuildStatus.SUCCEEDED
    assert (await slow.log(build)).endswith("==> stopped: nobody wants it any more: its deployment was aborted\n")


async def test_a_control_that_cannot_be_watched_is_told_by_heartbeats(
    company: Any, working: Any, repository: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def elsewhere(builds: Builds, build: BuildId, token: Token, wait_s: float = 1.0) -> Any:
        asked.append("")
        return await builds._session.ask("POST", f"/v1/builds/{build}/no-such-call", reply=BuildAccepted)

    monkeypatch.setattr(Builds, "watch", elsewhere)
    await company.order(repository, repository.commit(recipe(f"sleep 1.5; {MAKE}")))
    async with working(company.worker):
        ended = await company.ended()
    assert (ended.status, ended.attempt, len(asked)) == (BuildStatus.SUCCEEDED, 1, 1)


async def test_it_stops_at_once_while_control_is_away(company: Any, working: Any) -> None:
    lost = dataclasses.replace(company.worker, control_url="http://127.0.0.1:9", workspace=company.home / "other")
    async with asyncio.timeout(5):
        async with working(lost):
            pass


async def test_what_it_cannot_start_with_is_said(company: Any, working: Any, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"copy secrets/worker\.key from the installation's first host"):
        await serve(dataclasses.replace(company.worker, signing_key=tmp_path / "none"), asyncio.Event(), lambda _: None)
    async with working(company.worker):
        with pytest.raises(Refused, match="another worker"):
            await serve(company.worker, asyncio.Event(), lambda _: None)
