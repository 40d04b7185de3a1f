"""Asking git: what a revision means in a repository, and which repository somebody stands in."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from fleetcast.model.errors import FleetcastError, Invalid, NotFound, Unavailable
from fleetcast.model.ids import CommitSha, commit_sha

GIT_S_MAX: Final = 120
REMOTES_MAX: Final = 50
_REPOSITORY_VARIABLES: Final = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"})
"""Set where we are called from a git hook; meant for another repository."""
_FULL_SHA: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SCP_LIKE: Final = re.compile(r"(?:[^@/]+@)?([^:/]+):(?!//)(.+)")
_URL: Final = re.compile(r"[a-z+]+://(?:[^@/]*@)?([^/]*)/(.*)")


def is_full_sha(text: str) -> bool:
    """Whether this names a commit by itself, whatever the repository."""
    return _FULL_SHA.fullmatch(text) is not None


def git(
    arguments: Sequence[str],
    where: Path,
    environment: Mapping[str, str] | None = None,
    *,
    failing_is: Callable[[str], FleetcastError] = lambda complaint: Invalid("git_failed", complaint),
) -> str:
    """What git prints, without the last line's end. It never asks for a password.

    Raises:
        Invalid: git is not there.
        Unavailable: it did not end within ``GIT_S_MAX``.
        FleetcastError: it failed; which one, ``failing_is`` makes of its complaint.
    """
    inherited = {key: value for key, value in os.environ.items() if key not in _REPOSITORY_VARIABLES}
    seen = {**inherited, "GIT_TERMINAL_PROMPT": "0", **(environment or {})}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=where,
            env=seen,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_S_MAX,
            check=False,
        )
    except FileNotFoundError:
        raise Invalid("no_git", "git is not installed, or not on the PATH") from None
    except OSError as error:
        raise Invalid("git_failed", f"cannot run git in {where}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Unavailable("no_repository", f"git {arguments[0]} did not end within {GIT_S_MAX} s") from None
    if done.returncode:
        raise failing_is(_complaint(done.stderr))
    return done.stdout.strip()


def commit_of(revision: str, where: Path) -> CommitSha | None:
    """The commit that a name or an expression (``HEAD~1``, ``v1.2``) means in the repository at ``where``, if any.

    Raises:
        Invalid: ``where`` is no repository, or one that git does not trust.
    """
    git(["rev-parse", "--git-dir"], where, failing_is=lambda complaint: Invalid("no_repository", f"{where}: {complaint}"))
    try:
        return commit_sha(git(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"], where))
    except Invalid:
        return None


def commits_beginning(prefix: str, where: Path) -> dict[CommitSha, str]:
    """Subjects by commit, of those in the repository at ``where`` whose SHA begins with ``prefix`` (at least 4 hex digits)."""
    objects = git(["rev-parse", f"--disambiguate={prefix}"], where).split()
    return {CommitSha(name): subject_of(CommitSha(name), where) for name in objects if _is_commit(name, where)}


def subject_of(commit: CommitSha, where: Path) -> str:
    """First line of its message; empty where the repository has not got it."""
    try:
        return git(["show", "--no-patch", "--no-show-signature", "--format=%s", commit], where)
    except Invalid:
        return ""


def remote_commits(url: str, revision: str = "") -> dict[str, CommitSha]:
    """What a repository calls its commits, by full name (``HEAD``, ``refs/heads/main``): all, or those ``revision`` means.

    An annotated tag stands for the commit it points to. Raises :class:`Unavailable` when the repository cannot be reached.
    """
    wanted = [revision, f"{revision}^{{}}"] if revision else []
    found: dict[str, CommitSha] = {}
    for line in git(["ls-remote", "--", url, *wanted], Path.cwd(), failing_is=_unreachable).splitlines():
        sha, _, name = line.partition("\t")
        found[name.removesuffix("^{}")] = commit_sha(sha)  # the tag itself comes first, and is replaced
    if not revision:
        return found
    meant = (revision, f"refs/{revision}", f"refs/tags/{revision}", f"refs/heads/{revision}")
    return {name: found[name] for name in meant if name in found}


def standing_in(directory: Path) -> tuple[Path, frozenset[str]] | None:
    """The repository around a directory, and the URLs of its remotes; ``None``: it is in none."""
    try:
        top = Path(git(["rev-parse", "--show-toplevel"], directory))
        remotes = git(["remote"], directory).split()[:REMOTES_MAX]
        return top, frozenset(git(["remote", "get-url", remote], directory) for remote in remotes)
    except Invalid:
        return None


def address(location: str) -> tuple[str, str] | None:
    """Host and path of a URL (of ``file://`` the host is empty) or of ``[user@]host:path``; ``None``: it is a path."""
    found = _URL.fullmatch(location) or (None if location.startswith(("/", ".")) else _SCP_LIKE.fullmatch(location))
    return (found[1], found[2]) if found else None


def located(repository: str) -> tuple[str, tuple[str, ...] | None]:
    """A repository as workers will see it, and its branches; ``None``: it is elsewhere, and is not asked.

    A path counts from here, not from where the worker stands.

    Raises:
        NotFound: neither a path that exists nor an address.
        Invalid: a path at which git finds no repository.
    """
    path = Path(repository).expanduser()
    if not repository or not path.exists():
        if address(repository) is None:
            raise NotFound(
                "no_repository",
                f"there is no repository {repository or repr('')}, seen from {Path.cwd()}: give its path or a URL",
            )
        return repository, None
    path = path.resolve()
    # What the worker will do: git looks for a repository in this very directory, not in those around it.
    listed = git(["ls-remote", "--heads", "--", str(path)], Path.cwd(), failing_is=lambda said: _no_repository(path, said))
    return str(path), tuple(line.partition("\t")[2].removeprefix("refs/heads/") for line in listed.splitlines())


def resolve(repository: str, revision: str) -> tuple[str, CommitSha]:
    """A repository as workers will see it, and the commit that ``revision`` means in it.

    Raises:
        NotFound: no such repository or revision.
        Unavailable: it cannot be reached.
    """
    path = Path(repository).expanduser()
    if path.exists():
        found = commit_of(revision, path)
        if found is None:
            raise no_revision(f"{revision!r} in {path}")
        return str(path.resolve()), found
    if is_full_sha(revision):
        return repository, CommitSha(revision)
    named = remote_commits(repository, revision)
    if not named:
        raise no_revision(f"{repository} has no branch or tag {revision!r}")
    return repository, next(iter(named.values()))


def no_revision(what: str) -> NotFound:
    """There is no such commit, and how to find one."""
    return NotFound("no_revision", f"no such commit: {what}: git log in the repository shows what there is")


def _is_commit(name: str, where: Path) -> bool:
    return git(["cat-file", "-t", name], where) == "commit"


def _no_repository(path: Path, complaint: str) -> Invalid:
    around = standing_in(path) if path.is_dir() else None
    if around is not None and around[0] != path:
        return Invalid("no_repository", f"{path} is in the git repository {around[0]}: give that one")
    reason = "" if "does not appear to be a git repository" in complaint else f" that git can read ({complaint})"
    return Invalid("no_repository", f"{path} is no git repository{reason}: git init there, or give another path or a URL")


def _unreachable(complaint: str) -> Unavailable:
    return Unavailable("no_repository", f"cannot reach the repository: {complaint}")


def _complaint(text: str) -> str:
    """What git says went wrong, in one line: advice follows it."""
    lines = [line.removeprefix("fatal: ").strip() for line in text.splitlines() if line.startswith("fatal: ")]
    return lines[0] if lines else text.strip().rpartition("\n")[2]
