"""Which commit somebody means by SERVICE@REV: a full SHA, the beginning of one, or what git calls it."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fleetcast.cli import git
from fleetcast.cli.output import short
from fleetcast.model.errors import Invalid, NotFound, Refused
from fleetcast.model.ids import ArtifactName, CommitSha, ServiceName, artifact_name, service_name
from fleetcast.model.limits import COMMIT_PREFIX_CHARS_MIN

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient

CANDIDATES_SHOWN_MAX: Final = 10
_PREFIX: Final = re.compile(rf"[0-9a-f]{{{COMMIT_PREFIX_CHARS_MIN},64}}")
_REBUILD: Final = re.compile(r"([0-9a-fA-F]{4,64})\.([1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A commit of a service as somebody wrote it down."""

    service: ServiceName
    revision: str
    build_number: int = 1
    """Of an artifact: which build of the commit made it."""

    def __str__(self) -> str:
        return f"{self.service}@{self.revision}"


def parse(what: str, command: str = "deploy") -> Wanted:
    """``SERVICE@REV``. Raises :class:`Invalid` for anything else; ``command`` is what the advice is about."""
    service, at, revision = what.partition("@")
    if not (at and revision):
        advice = f"Write {service}@SHA, or a branch or tag: {service}@main"
        raise Invalid("no_commit", f"{command} which commit of {service}? {advice}")
    return Wanted(service_name(service), revision)


def parse_artifact(what: str, command: str) -> Wanted:
    """The same for an artifact, whose own name is understood too: ``SERVICE/SHA``, and ``.2`` behind it for a rebuild."""
    wanted = parse(what.replace("/", "@", 1) if "@" not in what else what, command)
    rebuild = _REBUILD.fullmatch(wanted.revision)
    return Wanted(wanted.service, rebuild[1], int(rebuild[2])) if rebuild else wanted


async def artifact(control: ControlClient, wanted: Wanted, *, quiet: bool = False) -> ArtifactName:
    """The name of the artifact that is wanted. Raises as :func:`resolve`."""
    return artifact_name(wanted.service, await resolve(control, wanted, quiet=quiet), wanted.build_number)


async def resolve(control: ControlClient, wanted: Wanted, *, quiet: bool = False) -> CommitSha:
    """The commit that is wanted. Says so in a line (``quiet``: on standard error) where it was not written in full.

    It is looked for among what control has built or deployed of the service; in its repository, or in the clone of it that
    this is called from; and among the branches and tags of a repository that is elsewhere.

    Raises:
        NotFound: no such service or commit.
        Refused: it might be several.
        Unavailable: the repository cannot be reached, and nothing else knows the commit.
    """
    if git.is_full_sha(wanted.revision.lower()):
        return CommitSha(wanted.revision.lower())
    repository = (await control.service(wanted.service)).repository
    found = dict.fromkeys(await _known(control, wanted), "")
    found |= await asyncio.to_thread(_in_git, wanted.revision, repository, frozenset(found))
    if not found:
        raise NotFound(
            "unknown_commit",
            f"there is no commit {wanted}, neither built before nor in {repository}: "
            "git log in the repository shows what there is, git rev-parse gives a full SHA",
        )
    if len(found) > 1:
        raise Refused("ambiguous_commit", f"{wanted} may be any of {_listed(found)}: give more digits")
    ((commit, subject),) = found.items()
    print(f"{wanted} is {short(commit)}{f' ({subject})' if subject else ''}", file=sys.stderr if quiet else None, flush=True)
    return commit


def same_repository(one: str, other: str, top: Path) -> bool:
    """Whether two locations are one repository's; relative paths count from ``top``. How one logs in does not matter."""
    return _plain(one, top) == _plain(other, top)


async def _known(control: ControlClient, wanted: Wanted) -> tuple[CommitSha, ...]:
    prefix = wanted.revision.lower()
    if not _PREFIX.fullmatch(prefix):
        return ()
    try:
        return (await control.commit_page(wanted.service, prefix=prefix)).items
    except NotFound as error:
        if error.code != "no_such_route":
            raise
        return ()  # a control of the version before: git has to know


def _in_git(revision: str, repository: str, known: frozenset[CommitSha]) -> dict[CommitSha, str]:
    """Commits with their subjects where git knows them: what ``revision`` names or begins, and what of ``known`` is there."""
    prefix = revision.lower() if _PREFIX.fullmatch(revision.lower()) else None
    here = at_hand(repository)
    if here is not None:
        named = git.commit_of(revision, here)
        found = dict(git.commits_beginning(prefix, here)) if prefix else {}
        return {commit: git.subject_of(commit, here) for commit in {*found, *known, *([named] if named else [])}}
    if known:
        return {}
    found_names = git.remote_commits(repository, "" if prefix else revision)
    if prefix is None:
        return dict.fromkeys(found_names.values(), "")
    ours = {f"refs/heads/{revision}", f"refs/tags/{revision}"}
    return {commit: "" for name, commit in found_names.items() if name in ours or commit.startswith(prefix)}


def at_hand(repository: str) -> Path | None:
    """The service's repository where it is a path on this host, or the clone of it that we stand in."""
    path = Path(repository).expanduser()
    if path.exists():
        return path
    here = git.standing_in(Path.cwd())
    if here is None:
        return None
    top, remotes = here
    return top if any(same_repository(remote, repository, top) for remote in remotes) else None


def _plain(location: str, top: Path) -> str:
    found = git.address(location)
    host, path = found if found and not location.startswith("file://") else ("", location.removeprefix("file://"))
    if not host:
        path = str((top / path).resolve())
    return f"{host.lower()}/{path.strip('/').removesuffix('.git')}"


def _listed(found: Mapping[CommitSha, str]) -> str:
    shown = [f"{short(commit)} ({subject})" if subject else short(commit) for commit, subject in sorted(found.items())]
    more = len(shown) - CANDIDATES_SHOWN_MAX
    return ", ".join(shown[:CANDIDATES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
