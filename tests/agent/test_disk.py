"""What an agent keeps on disk, for every place at which it may be killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent import records, switch
from fleetcast.agent.goals import GoalBook
from fleetcast.agent.layout import MachineLayout, ServiceKey, ServiceLayout
from fleetcast.agent.logs import bound_log
from fleetcast.agent.memory import ServiceMemory
from fleetcast.agent.releases import ReleaseStore
from fleetcast.agent.retention import Surplus
from fleetcast.agent.state import Active, ServiceState
from fleetcast.artifacts.signing import load_public, verify_root
from fleetcast.model.errors import Refused
from fleetcast.model.goal import ReleaseRef
from fleetcast.model.ids import ArtifactName, Digest

D1, D2 = Digest("1" * 64), Digest("2" * 64)


@pytest.fixture
def layout(tmp_path: Path) -> ServiceLayout:
    layout = MachineLayout(tmp_path).service(ServiceKey("production", "web"))
    layout.make()
    return layout


def make_release(layout: ServiceLayout, digest: Digest, *, incoming: bool = False) -> Path:
    directory = (layout.incoming if incoming else layout.releases) / digest
    (directory / "tree" / "deep").mkdir(parents=True)
    (directory / "tree" / "deep" / "file").write_text(digest)
    (directory / "journal").write_bytes(b"x")
    (directory / "tree" / "deep").chmod(0o555)
    (directory / "tree").chmod(0o555)
    return directory


def test_current_leads_from_one_whole_release_to_the_next(layout: ServiceLayout) -> None:
    make_release(layout, D1)
    make_release(layout, D2)
    assert switch.pointed(layout) is None
    switch.point(layout, D1)
    (layout.base / ".current.next").symlink_to("left by an agent that was killed")
    switch.point(layout, D2)
    assert switch.pointed(layout) == D2
    assert (layout.current / "deep" / "file").read_text() == D2
    assert layout.current.readlink() == Path("releases") / D2 / "tree", "moves with the agent's root"


def test_current_never_leads_to_what_is_not_there(layout: ServiceLayout) -> None:
    make_release(layout, D1)
    switch.point(layout, D1)
    with pytest.raises(Refused):
        switch.point(layout, D2)
    assert switch.pointed(layout) == D1


async def test_a_release_becomes_whole_by_one_rename_and_goes_by_one(layout: ServiceLayout) -> None:
    store = ReleaseStore(layout, [])
    store.scan()
    directory = await store.receive(D1, "the envelope")
    assert (directory / "root").read_text() == "the envelope"
    assert (store.disk.incoming, store.disk.releases) == ({D1}, set())
    (directory / "journal").write_bytes(b"x")
    (directory / "tree").mkdir()
    final = await store.admit(D1)
    assert sorted(path.name for path in final.iterdir()) == ["root", "tree"]
    assert (store.disk.incoming, store.disk.releases) == (set(), {D1})
    await store.discard(Surplus(releases=frozenset({D1})))
    assert list(layout.releases.iterdir()) == list(layout.discarded.iterdir()) == []
    assert store.disk.releases == set()


def test_the_next_agent_finishes_removals_and_finds_the_rest(layout: ServiceLayout) -> None:
    make_release(layout, D1)
    make_release(layout, D2, incoming=True)
    half_removed = make_release(layout, Digest("3" * 64))
    half_removed.rename(layout.discarded / "x")
    (layout.roots / f".{D1}.next").write_text("killed while writing")
    (layout.releases / "lost+found").mkdir()
    store = ReleaseStore(layout, [])
    store.scan()
    assert (store.disk.releases, store.disk.incoming, store.disk.roots) == ({D1}, {D2}, set())
    assert list(layout.discarded.iterdir()) == list(layout.roots.iterdir()) == []
    assert (layout.releases / "lost+found").is_dir(), "what is not ours stays"


async def test_a_root_counts_only_with_a_signature_of_an_installed_key(
    layout: ServiceLayout, region: Any, tmp_path: Path
) -> None:
    release = region.publish(tmp_path, {"file": "x"})
    keys = [load_public(tmp_path / "worker.pub")]
    store = ReleaseStore(layout, keys)
    store.scan()
    await store.keep_root(release.ref.root, release.envelope, verify_root(release.envelope, keys))
    again = ReleaseStore(layout, keys)
    again.scan()
    assert again.root(release.ref.root) == release.root
    forged = ReleaseStore(layout, [])
    forged.scan()
    assert forged.root(release.ref.root) is None
    assert list(layout.roots.iterdir()) == []


async def test_the_state_is_remembered_only_once_it_is_on_disk(layout: ServiceLayout) -> None:
    memory = ServiceMemory(layout.state)
    active = Active(ReleaseRef(ArtifactName("web/a"), D1, D2), "a", True, "boot", 1)
    await memory.change(lambda _: ServiceState(active=active))
    assert ServiceMemory(layout.state).state == memory.state == ServiceState(active=active)
    layout.base.rename(layout.base.with_name("gone"))
    with pytest.raises(OSError, match="No such file"):
        await memory.change(lambda _: ServiceState())
    assert memory.state == ServiceState(active=active)


def test_a_record_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert records.read(path, ServiceState) is None
    path.write_text('{"active": ')
    with pytest.raises(Refused, match=r"state\.json cannot be read .* move it away"):
        records.read(path, ServiceState)
    assert records.read_if_whole(path, ServiceState) is None
    records.write(path, ServiceState())
    assert records.read(path, ServiceState) == ServiceState()


async def test_goals_and_floors_outlive_the_agent(tmp_path: Path, region: Any) -> None:
    release = region.publish(tmp_path, {"file": "x"})
    newer, older = region.want(release, 2), region.want(release, 1)
    book = GoalBook(tmp_path / "goals.json")
    await book.take([newer])
    after = GoalBook(tmp_path / "goals.json")
    assert after.goals() == {ServiceKey("production", "web"): newer}
    await after.take([])
    assert after.goals() == {}
    refused = await GoalBook(tmp_path / "goals.json").take([older])
    assert refused.refused
    assert GoalBook(tmp_path / "goals.json").goals() == {}


def test_a_log_is_cut_where_it_grows_too_large(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    bound_log(path, 10)
    with open(path, "ab") as service:
        service.write(b"0123456789ab")
        service.flush()
        bound_log(path, 100)
        assert path.read_bytes() == b"0123456789ab"
        bound_log(path, 10)
        service.write(b"next")
    assert path.read_bytes() == b"next"
    assert (tmp_path / "service.log.1").read_bytes() == b"0123456789ab"
