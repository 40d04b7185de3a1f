"""The commits between two releases, as git has them: in the service's repository, or in a few of its commits fetched for it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetcast.cli.commits import at_hand
from fleetcast.cli.git import git
from fleetcast.cli.output import counted, short
from fleetcast.model.errors import FleetcastError, Invalid, Unavailable
from fleetcast.model.ids import CommitSha
from fleetcast.model.limits import PROMOTED_COMMITS_LOOKED_MAX, PROMOTED_COMMITS_MAX
from fleetcast.model.lines import one_line


@dataclass(frozen=True, slots=True)
class Commit:
    sha: CommitSha
    subject: str


@dataclass(frozen=True, slots=True)
class Between:
    """What comes with a commit, and what goes, compared with another; of both at most ``PROMOTED_COMMITS_MAX`` are named."""

    come: int
    coming: Sequence[Commit]
    """Newest first."""
    go: int
    going: Sequence[Commit]


def between(repository: str, old: CommitSha, new: CommitSha) -> Between:
    """Of a repository as the service names it.

    Raises:
        Unavailable, Invalid: git cannot say.
    """
    here = at_hand(repository)
    if here is not None:
        with contextlib.suppress(Invalid):  # a clone that is behind
            return _compared(here, old, new)
    with _fetched(repository, old, new) as directory:
        return _compared(directory, old, new)


def between_text(found: Between) -> str:
    """In lines, for people."""
    lines = []
    for count, commits, what in ((found.come, found.coming, "come"), (found.go, found.going, "are taken back")):
        if count:
            verb = what if count > 1 else {"come": "comes", "are taken back": "is taken back"}[what]
            lines.append(f"{counted(count, 'commit')} {verb}:")
            lines += [f"  {short(commit.sha)} {commit.subject}" for commit in commits]
            lines += [f"  and {count - len(commits)} more"] if count > len(commits) else []
    return "\n".join(lines) or "it is the same commit"


def _compared(where: Path, old: CommitSha, new: CommitSha) -> Between:
    come, coming = _log(where, old, new)
    go, going = _log(where, new, old)
    return Between(come, coming, go, going)


def _log(where: Path, behind: CommitSha, until: CommitSha) -> tuple[int, Sequence[Commit]]:
    span = f"{behind}..{until}"
    count = int(git(["rev-list", "--count", span, "--"], where))
    said = git(["log", "--no-show-signature", f"--max-count={PROMOTED_COMMITS_MAX}", "--format=%H %s", span, "--"], where)
    commits = (line.partition(" ") for line in said.splitlines())
    return count, [Commit(CommitSha(sha), one_line(subject)) for sha, _, subject in commits]


@contextlib.contextmanager
def _fetched(url: str, old: CommitSha, new: CommitSha) -> Iterator[Path]:
    """A repository that has the two commits and those before them, as far back as is looked, without their files."""
    with tempfile.TemporaryDirectory(prefix="fleetcast-commits-") as name:
        directory = Path(name)
        git(["init", "--quiet", "--bare", "."], directory)
        bounded = ["--no-tags", "--filter=tree:0", f"--depth={PROMOTED_COMMITS_LOOKED_MAX}"]
        git(["fetch", "--quiet", *bounded, "--", url, old, new], directory, failing_is=_unreachable)
        try:
            git(["merge-base", old, new], directory)
        except FleetcastError:
            raise Unavailable(
                "commits_apart", f"the last {PROMOTED_COMMITS_LOOKED_MAX} commits of both have none in common"
            ) from None
        yield directory


def _unreachable(complaint: str) -> Unavailable:
    return Unavailable("no_repository", f"its repository does not say: {complaint}")
