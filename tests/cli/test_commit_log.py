"""The commits between two releases, asked of real repositories."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleetcast.cli.commit_log import Commit, between, between_text
from fleetcast.model.errors import Invalid, Unavailable
from fleetcast.model.ids import CommitSha
from fleetcast.model.limits import PROMOTED_COMMITS_MAX
from place import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "web")


def commits(repository: Repository, *subjects: str) -> list[CommitSha]:
    return [CommitSha(repository.commit({"text": subject}, subject)) for subject in subjects]


def test_what_comes_is_told_newest_first_and_what_goes_too(repository: Repository) -> None:
    first, second, third = commits(repository, "one", "two\x1b[31m", "three\n\nand more")
    found = between(str(repository.path), first, third)
    assert (found.come, found.coming, found.go) == (2, [Commit(third, "three"), Commit(second, "two")], 0)
    back = between(str(repository.path), third, second)
    assert between_text(back) == f"1 commit is taken back:\n  {third[:12]} three"
    assert between_text(between(str(repository.path), first, first)) == "it is the same commit"
    repository.git("checkout", "--quiet", first)
    (aside,) = commits(repository, "aside")
    apart = between(str(repository.path), third, aside)
    assert (apart.come, apart.go) == (1, 2)


def test_of_many_some_are_named(repository: Repository) -> None:
    all_of_them = commits(repository, *map(str, range(PROMOTED_COMMITS_MAX + 5)))
    found = between(str(repository.path), all_of_them[0], all_of_them[-1])
    assert (found.come, len(found.coming)) == (PROMOTED_COMMITS_MAX + 4, PROMOTED_COMMITS_MAX)
    assert between_text(found).endswith("  and 4 more")


def test_a_repository_elsewhere_is_asked_for_its_commits_and_not_its_files(repository: Repository) -> None:
    first, second, third = commits(repository, "one", "two", "three")
    repository.git("config", "uploadpack.allowFilter", "true")
    repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    found = between(repository.path.as_uri(), first, third)
    assert [commit.sha for commit in found.coming] == [third, second]


def test_what_git_does_not_know_is_said(repository: Repository, tmp_path: Path) -> None:
    (first,) = commits(repository, "one")
    missing = CommitSha("f" * 40)
    with pytest.raises((Invalid, Unavailable)):
        between(str(repository.path), first, missing)
    with pytest.raises(Unavailable, match="does not say"):
        between((tmp_path / "nowhere").as_uri(), first, missing)
