"""Somebody changes what an agent has released: it is noticed, told, and put right without the service noticing."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent import spawning
from fleetcast.agent.drift import Sweep
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.processes import ServiceProcess
from fleetcast.agent.releases import ReleaseStore
from fleetcast.agent.retention import Surplus
from fleetcast.agent.under_way import UnderWay
from fleetcast.artifacts.manifest import decode
from fleetcast.artifacts.packing import Packed, pack
from fleetcast.artifacts.tree import seal

Until = Callable[[Callable[[], bool]], Awaitable[None]]
Agents = Callable[..., Any]

FILES = {"bin/app": "the program" * 1000, "etc/conf": "mode = fast\n", "etc/empty": "", "large": "x" * 700_000}
ARE_BACK = "and was put right"


def web(region: Any, source: Path, **more: Any) -> Any:
    return region.publish(source, FILES, activate="exec sleep 60", health="true", **more)


def pid(agent: Any) -> int | None:
    instance = ServiceProcess(ServiceLayout(agent.service())).instance
    return instance.process.pid if instance is not None and spawning.alive(instance.process) else None


def overwrite(path: Path, text: str) -> None:
    path.chmod(0o644)
    path.write_text(text)


async def test_a_changed_file_is_put_right_and_the_service_does_not_notice(
    region: Any, agents: Agents, tmp_path: Path, until: Until
) -> None:
    release = web(region, tmp_path)
    agent = agents(drift_look_s=0.05)
    await agent.start()
    goal = region.want(release, 1)
    await region.reported(goal, "ACTIVE")
    process, asked = pid(agent), len(region.asked)
    tree = agent.service() / "releases" / release.ref.digest / "tree"
    overwrite(tree / "etc" / "conf", "mode = slow\n")
    (tree / "bin").chmod(0o755)
    (tree / "bin" / "app").unlink()
    (tree / "bin" / "more").write_text("somebody's own")
    await region.until(lambda: any(ARE_BACK in alarm and "etc/conf" in alarm for alarm in region.alarms))
    await until(lambda: agent.current() == {**release.files, "bin/more": b"somebody's own"})
    assert (tree / "etc" / "conf").stat().st_mode & 0o222 == 0
    replaced = agent.service() / "log" / "replaced" / "etc" / "conf"
    assert replaced.read_text() == "mode = slow\n", "what somebody wrote is not lost"
    await region.until(lambda: region.reports["m1", "web"].drift == ())
    assert (pid(agent), len(region.asked)) == (process, asked), "neither restarted nor asked for"
    await until(lambda: not list((agent.service() / "incoming").iterdir()))
    second = agents("m2")
    region.origin_open = False
    await second.start()
    assert (await region.reported(goal, "ACTIVE", machine="m2")).bytes.peer == release.root.content_size, (
        "it is served as it is"
    )


async def test_a_repair_that_is_ended_because_all_is_well_again_is_told(
    region: Any, agents: Agents, tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended, ended, remove, end = threading.Event(), threading.Event(), ReleaseStore._remove, UnderWay.end

    def held_up(store: ReleaseStore, surplus: Surplus) -> None:
        mended.set()
        assert ended.wait(30)
        remove(store, surplus)

    async def seen(under_way: UnderWay[Any]) -> None:
        ended.set()
        await end(under_way)

    monkeypatch.setattr(ReleaseStore, "_remove", held_up)
    monkeypatch.setattr(UnderWay, "end", seen)
    release = web(region, tmp_path)
    agent = agents(drift_look_s=0.05)
    await agent.start()
    await region.reported(region.want(release, 1), "ACTIVE")
    overwrite(agent.service() / "current" / "etc" / "conf", "mode = slow\n")
    await until(mended.is_set)
    region.want(release, 2)
    await until(ended.is_set)
    await region.until(lambda: any(ARE_BACK in alarm and "etc/conf" in alarm for alarm in region.alarms))


async def test_a_link_that_was_moved_is_put_right(region: Any, agents: Agents, tmp_path: Path, until: Until) -> None:
    release = web(region, tmp_path)
    agent = agents()
    await agent.start()
    await region.reported(region.want(release, 1), "ACTIVE")
    process = pid(agent)
    current = agent.service() / "current"
    current.unlink()
    current.symlink_to("/nowhere")
    await region.until(lambda: "web: current led nowhere, and was put right" in region.alarms)
    assert agent.current() == release.files
    assert pid(agent) == process


async def test_who_only_observes_tells_and_leaves_everything(region: Any, agents: Agents, tmp_path: Path) -> None:
    release = web(region, tmp_path)
    agent = agents(drift_look_s=0.05, observe=True)
    await agent.start()
    await region.reported(region.want(release, 1), "ACTIVE")
    overwrite(agent.service() / "current" / "etc" / "conf", "mode = slow\n")
    (agent.service() / "current").unlink()
    expected = ("current leads nowhere, not to what was released", "'etc/conf' has another content")
    await region.until(lambda: region.reports["m1", "web"].drift == expected)
    assert not (agent.service() / "current").exists()
    assert region.reports["m1", "web"].phase == "ACTIVE"


async def test_what_was_changed_while_no_agent_ran_is_noticed(
    region: Any, agents: Agents, tmp_path: Path, until: Until
) -> None:
    release = web(region, tmp_path)
    agent = agents(drift_look_s=0.05)
    await agent.start()
    await region.reported(region.want(release, 1), "ACTIVE")
    await until((agent.service() / "releases" / release.ref.digest / "seal").exists)
    await agent.stop()
    overwrite(agent.service() / "current" / "etc" / "conf", "mode = slow\n")
    await agent.start()
    await region.until(lambda: any(ARE_BACK in alarm for alarm in region.alarms))
    assert agent.current() == release.files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(text)
    (tmp_path / "tree" / "link").symlink_to("etc/conf")
    return tmp_path / "tree"


@pytest.fixture
def sweep(tree: Path) -> Sweep:
    content = bytearray()
    packed: Packed = pack(tree, content.extend)
    manifest = decode(packed.manifest)
    seal(manifest, tree)
    found = Sweep(manifest, tree, tree.parent / "seal", tree.parent / "replaced")
    found.look()
    assert found.lines() == ()
    return found


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda tree: overwrite(tree / "large", "y" * 700_000), "'large' has another content"),
        (lambda tree: overwrite(tree / "large", "x" * 700_001), "'large' has 700001 bytes, not 700000"),
        (lambda tree: (tree / "large").chmod(0o555), "'large' is executable, and should not be"),
        (lambda tree: shutil.rmtree(tree / "etc"), "'etc' is missing"),
        (lambda tree: _relink(tree / "link", "large"), "'link' leads to 'large', not to 'etc/conf'"),
    ],
)
def test_every_kind_of_change_is_seen_and_mended(sweep: Sweep, tree: Path, change: Callable[[Path], None], line: str) -> None:
    fresh = shutil.copytree(tree, tree.with_name("fresh"), symlinks=True)
    change(tree)
    sweep.look()
    assert line in sweep.lines()
    assert line in sweep.mend(fresh)
    sweep.look()
    assert sweep.lines() == ()
    assert {name: (tree / name).read_text() for name in FILES} == FILES
    assert (tree / "link").readlink() == Path("etc/conf")
    assert not (tree / "large").stat().st_mode & 0o111


def test_a_file_that_was_only_touched_is_read_once(sweep: Sweep, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(tree / "large", (1, 1))
    sweep.look()
    assert sweep.lines() == ()
    monkeypatch.setattr("fleetcast.artifacts.mending.verify", lambda *_: pytest.fail("it was read again"))
    sweep.look()


def test_the_seal_knows_what_was_in_order(sweep: Sweep, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetcast.artifacts.mending.verify", lambda *_: pytest.fail("it was read again"))
    again = Sweep(sweep._manifest, tree, tree.parent / "seal", tree.parent / "replaced")
    again.look()
    assert again.lines() == ()


def _relink(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)
