"""SERVICE@REV: how it is read, and what git makes of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fleetcast.cli import git
from fleetcast.cli.commits import Wanted, parse, parse_artifact, same_repository
from fleetcast.cli.demo.repository import make_example
from fleetcast.model.branches import no_trunk
from fleetcast.model.errors import Invalid, NotFound
from fleetcast.model.ids import ServiceName

WEB, SHA = ServiceName("web"), "7e583c86d2de" + "0" * 28


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("web@main", Wanted(WEB, "main")),
        (f"web@{SHA}", Wanted(WEB, SHA)),
        (f"web/{SHA}", Wanted(WEB, SHA)),
        (f"web/{SHA}.2", Wanted(WEB, SHA, 2)),
        ("web@7e583c86.3", Wanted(WEB, "7e583c86", 3)),
        ("web@feature/x@1", Wanted(WEB, "feature/x@1")),
        ("web@release-1.2", Wanted(WEB, "release-1.2")),
    ],
)
def test_an_artifact_is_read_as_people_write_it(text: str, wanted: Wanted) -> None:
    assert parse_artifact(text, "show") == wanted


@pytest.mark.parametrize("text", ["web", "web@", "@main", "Web!@main"])
def test_what_names_no_commit_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://example.org/team/web.git", "https://example.org/team/web", True),
        ("git@example.org:team/web.git", "ssh://git@Example.org/team/web", True),
        ("https://bo@example.org/team/web", "git@example.org:team/web", True),
        ("https://example.org/team/web", "https://example.org/team/webber", False),
        ("https://example.org/web", "https://example.com/web", False),
        ("/srv/git/web", "file:///srv/git/web.git", True),
        ("../web", "/top/web", True),
        ("./web", "/elsewhere/web", False),
    ],
)
def test_two_locations_of_one_repository(one: str, other: str, same: bool) -> None:
    assert same_repository(one, other, Path("/top/clone")) is same


def test_names_of_a_repository_elsewhere(tmp_path: Path) -> None:
    commits = make_example(tmp_path / "web", 0)
    subprocess.run(["git", "branch", "feature/main", commits[0].sha], cwd=tmp_path / "web", check=True)
    who = ["-c", "user.name=Bo", "-c", "user.email=bo@example.org"]
    subprocess.run(["git", *who, "tag", "-a", "v1", "-m", "one", commits[1].sha], cwd=tmp_path / "web", check=True)
    url = f"file://{tmp_path / 'web'}"
    assert git.remote_commits(url, "main") == {"refs/heads/main": commits[2].sha}, "not feature/main"
    assert git.remote_commits(url, "v1") == {"refs/tags/v1": commits[1].sha}, "the commit, not the tag's own object"
    assert git.remote_commits(url, "HEAD") == {"HEAD": commits[2].sha}
    assert git.remote_commits(url, "nothing") == {}


def test_commits_by_their_beginning(tmp_path: Path) -> None:
    first, *_ = make_example(tmp_path / "web", 0)
    assert git.commits_beginning(first.sha[:6], tmp_path / "web") == {first.sha: first.subject}
    tree = git.git(["rev-parse", f"{first.sha}^{{tree}}"], tmp_path / "web")
    assert git.commits_beginning(tree[:12], tmp_path / "web") == {}, "a tree is no commit"


def test_where_somebody_stands(tmp_path: Path) -> None:
    make_example(tmp_path / "web", 0)
    subprocess.run(["git", "clone", "--quiet", "web", "mine"], cwd=tmp_path, check=True)
    (tmp_path / "mine" / "deep").mkdir()
    assert git.standing_in(tmp_path / "mine" / "deep") == (tmp_path / "mine", frozenset({str(tmp_path / "web")}))
    (tmp_path / "plain").mkdir()
    assert git.standing_in(tmp_path / "plain") is None


def test_a_repository_is_a_path_that_git_can_clone_or_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_example(tmp_path / "web", 0)
    subprocess.run(["git", "init", "--quiet", "--bare", "empty"], check=True)
    (tmp_path / "web" / "inner").mkdir()
    (tmp_path / "loose").mkdir()
    (tmp_path / "file").touch()
    assert git.located("web") == (str(tmp_path / "web"), ("main",))
    assert git.located("empty") == (str(tmp_path / "empty"), ())
    for address in ("https://example.org/web.git", "git@example.org:web.git", "file:///nowhere", "ssh://git@example.org/web"):
        assert git.located(address) == (address, None)
    for missing in ("src/web", "/nowhere/at/all", "./a:b"):
        with pytest.raises(NotFound, match=f"no repository {missing}, seen from {tmp_path}: give its path or a URL"):
            git.located(missing)
    for other in ("loose", "file"):
        with pytest.raises(Invalid, match=f"{tmp_path / other} is no git repository"):
            git.located(other)
    with pytest.raises(Invalid, match=f"is in the git repository {tmp_path / 'web'}: give that one"):
        git.located("web/inner")


def test_a_trunk_that_is_not_there_is_told_with_one_that_is() -> None:
    assert no_trunk("main", ["master"], "say --trunk").message == (
        "the repository has no branch 'main' (it has: master): say --trunk master"
    )
    assert no_trunk("x", [], "say --trunk").message.endswith("nor any other: push to it first")
    assert "9 and 2 more): say --trunk 0" in no_trunk("x", [str(number) for number in range(12)], "say --trunk").message
