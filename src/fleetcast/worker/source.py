"""Source at a commit: one bare mirror for each repository, and a worktree of it for each attempt."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog

from fleetcast.artifacts.tree import remove_tree
from fleetcast.model.branches import no_trunk
from fleetcast.model.errors import FleetcastError, NotFound, Refused, Unavailable
from fleetcast.model.ids import CommitSha
from fleetcast.model.limits import MIRRORS_BYTES_MAX
from fleetcast.stores.occupied import disk_bytes
from fleetcast.worker.git import GitFailedError, git, git_code
from fleetcast.worker.mirrors import Mirror, given_up

log = structlog.get_logger(__name__)

LOCK_LOOK_INTERVAL_S: Final = 0.1
_NO_REPOSITORY: Final = re.compile(r"does not appear to be a git repository|repository '[^']*' not found|not a git repository")
_NOT_FOR_US: Final = re.compile(
    "could not read (Username|Password)|Authentication failed|Permission denied|Host key verification failed"
    "|dubious ownership|error: 403"
)
"""Git speaks English to us (LC_ALL=C), and says more only in words."""


class Source:
    """The mirrors of one workspace. Several processes may use them at a time; a mirror is changed by one at a time."""

    def __init__(self, workspace: Path, mirrors_bytes_max: int = MIRRORS_BYTES_MAX) -> None:
        self._mirrors = workspace / "mirrors"
        self._bytes_max = mirrors_bytes_max
        self._in_use: dict[Path, Path] = {}
        """The mirror of each tree that is checked out."""

    def open(self) -> None:
        """Make the place, and remove the locks of git commands that were killed. Nobody may be using it yet."""
        self._mirrors.mkdir(parents=True, exist_ok=True)
        for lock in self._mirrors.glob("*.git/**/*.lock"):
            lock.unlink()

    async def check_out(self, repository: str, commit: CommitSha, trunk: str, tree: Path) -> None:
        """Make ``tree``, which must not exist, a worktree of ``repository`` at ``commit``.

        The repository is asked only when its mirror lacks the commit, or does not know it as merged.

        Raises:
            NotFound: no such repository, commit or trunk.
            Refused: ``trunk`` is not empty and the commit is not on it.
            Unavailable: the repository cannot be read now.
        """
        mirror = self._in_use[tree] = self.mirror(repository, commit)
        async with _locked(mirror.with_suffix(".lock")):
            mirror.mkdir(exist_ok=True)
            # Repeatable; a mirror whose making was interrupted is thereby finished.
            form = "sha256" if len(commit) == 64 else "sha1"
            await _git_here(mirror, "init", "--quiet", "--bare", "--template=", f"--object-format={form}", ".")
            fetched = not await _has(mirror, commit)
            if fetched:
                await self._fetch(repository, commit, mirror)
            if trunk and not await _merged(mirror, commit, trunk):
                # Our view of the trunk may be older than the merge.
                if not fetched:
                    await self._fetch(repository, commit, mirror)
                await _must_be_merged(mirror, commit, trunk)
            await _git_here(mirror, "worktree", "prune")
            await _git_here(mirror, "worktree", "add", "--quiet", "--force", "--detach", str(tree), commit)

    async def drop(self, repository: str, commit: CommitSha, tree: Path) -> None:
        """Remove a worktree and whatever a build left in it."""
        await asyncio.to_thread(remove_tree, tree)
        mirror = self.mirror(repository, commit)
        if mirror.is_dir():
            async with _locked(mirror.with_suffix(".lock")):
                await git_code("worktree", "prune", directory=mirror)
                os.utime(mirror.with_suffix(".lock"))  # when it was last used
        if self._in_use.pop(tree, None) is not None:
            await self._make_room()

    async def _make_room(self) -> None:
        """Give mirrors up that are too many. One that somebody begins to use meanwhile stays."""
        for name in given_up(await asyncio.to_thread(self._all), self._bytes_max):
            mirror = self._mirrors / name
            async with _locked(mirror.with_suffix(".lock")):
                if mirror not in self._in_use.values():
                    await asyncio.to_thread(remove_tree, mirror)
                    log.info("mirror_given_up", mirror=name, bytes_max=self._bytes_max)

    def _all(self) -> list[Mirror]:
        used = set(self._in_use.values())
        return [
            Mirror(mirror.name, disk_bytes(mirror), mirror.with_suffix(".lock").stat().st_mtime, mirror in used)
            for mirror in self._mirrors.glob("*.git")
            if mirror.with_suffix(".lock").exists()
        ]

    async def _fetch(self, repository: str, commit: CommitSha, mirror: Path) -> None:
        if _is_path(repository) and not Path(repository).is_dir():
            raise NotFound(
                "unknown_repository", f"there is no repository {repository} on this worker's machine: correct the path"
            )
        fetch = ("fetch", "--quiet", "--force", "--no-write-fetch-head", "--update-shallow")
        log.info("fetching", repository=shown_repository(repository), commit=commit)
        try:
            await git(*fetch, "--prune", "--no-tags", "--", repository, "+refs/*:refs/*", directory=mirror)
            if not await _has(mirror, commit):
                # On no branch or tag: a detached head, or pushed away. Most servers still hand it out by name.
                await git_code(*fetch, "--", repository, commit, directory=mirror)
        except GitFailedError as error:
            raise _refusal(repository, str(error)) from error
        if not await _has(mirror, commit):
            raise NotFound(
                "unknown_commit", f"{shown_repository(repository)} has no commit {commit}: push it, then deploy again"
            )

    def mirror(self, repository: str, commit: CommitSha) -> Path:
        """Where the bare mirror is that has, or will have, the commit."""
        name = hashlib.sha256(f"{len(commit)} {repository}".encode()).hexdigest()[:32]
        return self._mirrors / f"{name}.git"


def shown_repository(repository: str) -> str:
    """A repository for people and logs: without the password that may be in its URL."""
    return re.sub(r"(?<=://)[^/@]+@", "", repository)


def _refusal(repository: str, said: str) -> FleetcastError:
    """What git's last words mean: trying again cannot help where there is no repository, or not for us."""
    shown = shown_repository(repository)
    said = said.replace(repository, shown)
    if _NO_REPOSITORY.search(said):
        return NotFound("unknown_repository", f"there is no git repository at {shown}: correct the service's repository")
    if _NOT_FOR_US.search(said):
        advice = "give the worker's user a key or a credential helper for it"
        return Refused("repository_closed", f"{shown} asks for credentials that this worker has not: {advice} ({said})")
    return Unavailable("fetch_failed", f"cannot fetch {shown}, see that the worker's machine can reach it: {said}")


def _is_path(repository: str) -> bool:
    return repository.startswith(("/", "./", "../", "~"))


async def _has(mirror: Path, commit: CommitSha) -> bool:
    code, _ = await git_code("cat-file", "-e", f"{commit}^{{commit}}", directory=mirror)
    return code == 0


async def _merged(mirror: Path, commit: CommitSha, trunk: str) -> bool:
    code, _ = await git_code("merge-base", "--is-ancestor", commit, f"refs/heads/{trunk}", directory=mirror)
    return code == 0


async def _must_be_merged(mirror: Path, commit: CommitSha, trunk: str) -> None:
    code, _ = await git_code("rev-parse", "--quiet", "--verify", f"refs/heads/{trunk}^{{commit}}", directory=mirror)
    if code != 0:
        _, listed = await git_code("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", directory=mirror)
        raise no_trunk(trunk, listed.split(), "fleetcast service add ... --trunk")
    if not await _merged(mirror, commit, trunk):
        raise Refused("not_merged", f"commit {commit} is not on {trunk}: merge it, or deploy with --allow-unmerged")


async def _git_here(mirror: Path, *arguments: str) -> None:
    """What can only fail for reasons of this machine, such as a full disk: another worker may be luckier."""
    try:
        await git(*arguments, directory=mirror)
    except GitFailedError as error:
        raise Unavailable("git_failed", f"git {arguments[0]} failed on this worker: {error}") from error


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[None]:
    """An exclusive lock among processes. Looked at rather than waited for: a thread that waits cannot be cancelled."""
    with open(path, "ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOCK_LOOK_INTERVAL_S)
        yield
