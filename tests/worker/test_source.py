"""Any commit of any repository can be checked out; the repository is asked only for what is new."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleetcast.model.errors import NotFound, Refused
from fleetcast.model.ids import CommitSha
from fleetcast.worker.source import Source, shown_repository


@pytest.fixture
def source(tmp_path: Path) -> Source:
    source = Source(tmp_path / "workspace")
    source.open()
    return source


async def files_at(source: Source, repository: Path | str, commit: str, tree: Path, trunk: str = "") -> dict[str, str]:
    await source.check_out(str(repository), CommitSha(commit), trunk, tree)
    found = {
        str(path.relative_to(tree)): path.read_text() for path in tree.rglob("*") if path.is_file() and path.name != ".git"
    }
    await source.drop(str(repository), CommitSha(commit), tree)
    assert not tree.exists()
    return found


async def test_every_commit_as_it_was(source: Source, repository: Any, tmp_path: Path) -> None:
    first = repository.commit({"a": "1", "below/b": "2"})
    second = repository.commit({"a": "changed"})
    assert await files_at(source, repository.path, second, tmp_path / "tree") == {"a": "changed", "below/b": "2"}
    assert await files_at(source, repository.path, first, tmp_path / "tree") == {"a": "1", "below/b": "2"}


async def test_a_known_commit_needs_no_repository(source: Source, repository: Any, tmp_path: Path) -> None:
    commit = repository.commit({"a": "1"})
    await files_at(source, repository.path, commit, tmp_path / "tree", trunk="main")
    repository.path.rename(tmp_path / "away")
    assert await files_at(source, repository.path, commit, tmp_path / "tree", trunk="main") == {"a": "1"}
    with pytest.raises(NotFound, match="there is no repository"):
        await source.check_out(str(repository.path), CommitSha("1" * 40), "", tmp_path / "tree")


async def test_a_commit_must_be_on_the_trunk_if_there_is_one(source: Source, repository: Any, tmp_path: Path) -> None:
    repository.commit({"a": "1"})
    repository.git("switch", "--quiet", "--create", "feature")
    commit = repository.commit({"a": "feature"})
    assert await files_at(source, repository.path, commit, tmp_path / "tree") == {"a": "feature"}
    with pytest.raises(Refused, match="allow-unmerged"):
        await source.check_out(str(repository.path), commit, "main", tmp_path / "tree")
    with pytest.raises(NotFound, match="no branch 'trunk'"):
        await source.check_out(str(repository.path), commit, "trunk", tmp_path / "tree")

    repository.git("switch", "--quiet", "main")
    repository.git("merge", "--quiet", "--ff-only", "feature")
    assert await files_at(source, repository.path, commit, tmp_path / "tree", trunk="main") == {"a": "feature"}


async def test_a_commit_on_no_branch(source: Source, repository: Any, tmp_path: Path) -> None:
    repository.commit({"a": "1"})
    repository.git("checkout", "--quiet", "--detach")
    lost = repository.commit({"a": "detached"})
    repository.git("checkout", "--quiet", "main")
    assert await files_at(source, repository.path, lost, tmp_path / "tree") == {"a": "detached"}


async def test_a_shallow_checkout_is_a_repository_too(source: Source, repository: Any, tmp_path: Path) -> None:
    repository.commit({"a": "1"})
    commit = repository.commit({"a": "2"})
    shallow = tmp_path / "shallow"
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.path}", str(shallow))
    assert await files_at(source, shallow, commit, tmp_path / "tree") == {"a": "2"}


async def test_a_rewritten_history_is_followed(source: Source, repository: Any, tmp_path: Path) -> None:
    repository.commit({"a": "1"})
    repository.git("branch", "topic")
    await files_at(source, repository.path, repository.commit({"a": "2"}), tmp_path / "tree")
    repository.git("branch", "--delete", "topic")
    repository.git("branch", "topic/one")
    repository.git("commit", "--quiet", "--amend", "--message", "rewritten")
    rewritten = repository.git("rev-parse", "HEAD")
    assert await files_at(source, repository.path, rewritten, tmp_path / "tree", trunk="main") == {"a": "2"}


async def test_what_is_not_there_is_named(source: Source, repository: Any, tmp_path: Path) -> None:
    repository.commit({"a": "1"})
    with pytest.raises(NotFound, match="has no commit 2222"):
        await source.check_out(str(repository.path), CommitSha("2" * 40), "", tmp_path / "tree")
    (tmp_path / "no-repository").mkdir()
    with pytest.raises(NotFound, match="no git repository at"):
        await source.check_out(str(tmp_path / "no-repository"), CommitSha("2" * 40), "", tmp_path / "tree")


async def test_what_a_build_leaves_is_removed(source: Source, repository: Any, tmp_path: Path) -> None:
    commit = repository.commit({"a": "1"})
    tree = tmp_path / "tree"
    await source.check_out(str(repository.path), commit, "", tree)
    (tree / "read-only" / "below").mkdir(parents=True)
    (tree / "read-only").chmod(0o500)
    (tree / ".git").unlink()
    await source.drop(str(repository.path), commit, tree)
    assert not tree.exists()
    assert await files_at(source, repository.path, commit, tree) == {"a": "1"}


async def test_locks_of_a_killed_git_do_not_stay(source: Source, repository: Any, tmp_path: Path) -> None:
    await files_at(source, repository.path, repository.commit({"a": "1"}), tmp_path / "tree")
    (mirror,) = (tmp_path / "workspace" / "mirrors").glob("*.git")
    (mirror / "packed-refs.lock").touch()
    (mirror / "refs" / "heads" / "main.lock").touch()
    source.open()
    assert await files_at(source, repository.path, repository.commit({"a": "2"}), tmp_path / "tree") == {"a": "2"}


def test_passwords_are_not_shown() -> None:
    assert shown_repository("https://me:secret@git.example/x.git") == "https://git.example/x.git"
    assert shown_repository("/srv/git/x@y") == "/srv/git/x@y"
