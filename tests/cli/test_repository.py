"""The demo's repositories: real ones, with commits that change a little."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from fleetcast.cli.demo.repository import Commit, make_example
from fleetcast.cli.git import resolve
from fleetcast.model.errors import NotFound, Unavailable

MIB = 1 << 20


def git(where: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=where, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def build(repository: Path, commit: Commit, place: Path) -> dict[str, bytes]:
    """What the example builds at a commit."""
    git(repository, "worktree", "add", "--detach", str(place), commit.sha)
    subprocess.run([sys.executable, "build.py"], cwd=place, check=True, capture_output=True)
    dist = place / "dist"
    return {str(path.relative_to(dist)): path.read_bytes() for path in dist.rglob("*") if path.is_file()}


def test_the_same_size_gives_the_same_commits(tmp_path: Path) -> None:
    first = make_example(tmp_path / "one", 5 * MIB)
    assert first == make_example(tmp_path / "two", 5 * MIB)
    assert len({commit.sha for commit in first}) == 3
    assert first != make_example(tmp_path / "three", 6 * MIB)


def test_commits_are_on_the_trunk_in_order(tmp_path: Path) -> None:
    commits = make_example(tmp_path / "web", 0)
    assert git(tmp_path / "web", "log", "--reverse", "--format=%H", "main").splitlines() == [commit.sha for commit in commits]
    assert git(tmp_path / "web", "status", "--porcelain") == ""


def test_the_payload_is_as_large_as_asked_and_changes_a_little(tmp_path: Path) -> None:
    size = 8 * MIB + 12345
    repository = tmp_path / "web"
    commits = make_example(repository, size)
    built = [build(repository, commit, tmp_path / commit.sha) for commit in commits]
    payloads = [files["payload/0000.bin"] for files in built]
    assert [len(payload) for payload in payloads] == [size] * 3
    blocks = [[payload[start : start + MIB] for start in range(0, size, MIB)] for payload in payloads]
    assert len(set(blocks[0])) == len(blocks[0])
    for before, after in itertools.pairwise(blocks):
        assert sum(one != other for one, other in zip(before, after, strict=True)) == 1
    assert all("check.py" in files and "server.py" in files for files in built)


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    commits = make_example(tmp_path / "web", MIB)
    assert build(tmp_path / "web", commits[1], tmp_path / "x") == build(tmp_path / "web", commits[1], tmp_path / "y")


@pytest.mark.parametrize("revision", ["HEAD", "main", "full"])
def test_revisions_of_a_path_become_commits(tmp_path: Path, revision: str) -> None:
    commits = make_example(tmp_path / "web", 0)
    wanted = commits[-1].sha
    assert resolve(str(tmp_path / "web"), wanted if revision == "full" else revision) == (str(tmp_path / "web"), wanted)


def test_revisions_of_a_url_become_commits(tmp_path: Path) -> None:
    commits = make_example(tmp_path / "web", 0)
    url = f"file://{tmp_path / 'web'}"
    assert resolve(url, "main") == (url, commits[-1].sha)
    assert resolve(url, commits[0].sha) == (url, commits[0].sha)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    make_example(tmp_path / "web", 0)
    with pytest.raises(NotFound, match="no-such-branch"):
        resolve(str(tmp_path / "web"), "no-such-branch")
    with pytest.raises(NotFound, match="no-such-branch"):
        resolve(f"file://{tmp_path / 'web'}", "no-such-branch")
    with pytest.raises(Unavailable, match="cannot reach"):
        resolve(f"file://{tmp_path / 'nothing'}", "main")
