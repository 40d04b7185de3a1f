"""Mirrors stay within their bound: the least recently used go, never one in use, and whatever went is fetched again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fleetcast.worker.mirrors import Mirror, given_up
from fleetcast.worker.source import Source

MIRRORS = st.lists(
    st.builds(Mirror, st.uuids().map(str), st.integers(0, 100), st.floats(0, 100), st.booleans()), unique_by=lambda m: m.name
)


@given(MIRRORS, st.integers(0, 500))
def test_as_few_as_will_do_are_given_up_and_the_oldest(mirrors: list[Mirror], bytes_max: int) -> None:
    names = set(given_up(mirrors, bytes_max))
    gone, kept = [m for m in mirrors if m.name in names], [m for m in mirrors if m.name not in names]
    assert not any(mirror.in_use for mirror in gone)
    left = sum(mirror.size_bytes for mirror in kept)
    idle = [mirror for mirror in kept if not mirror.in_use]
    assert left <= bytes_max or not idle
    assert all(one.used_at_s <= other.used_at_s for one in gone for other in idle)
    if gone:
        newest = max(gone, key=lambda mirror: (mirror.used_at_s, mirror.name))
        assert left + newest.size_bytes > bytes_max, "it could have stayed"


def mirrors_in(workspace: Path) -> set[str]:
    return {path.name for path in (workspace / "mirrors").glob("*.git")}


async def test_mirrors_beyond_the_bound_go_when_nobody_uses_them(repository: Any, tmp_path: Path) -> None:
    commit = repository.commit({"page": "hello"})
    other = tmp_path / "other"
    repository.git("clone", "--quiet", "--bare", str(repository.path), str(other))
    source = Source(tmp_path / "workspace", mirrors_bytes_max=1)
    source.open()
    first, second = tmp_path / "first", tmp_path / "second"
    await source.check_out(str(repository.path), commit, "main", first)
    await source.check_out(str(other), commit, "main", second)
    assert len(mirrors_in(tmp_path / "workspace")) == 2, "both are in use"

    await source.drop(str(other), commit, second)
    assert mirrors_in(tmp_path / "workspace") == {source.mirror(str(repository.path), commit).name}
    await source.check_out(str(other), commit, "main", second)
    assert (second / "page").read_text() == "hello"
    for place, tree in ((str(repository.path), first), (str(other), second)):
        await source.drop(place, commit, tree)
    assert mirrors_in(tmp_path / "workspace") == set()
