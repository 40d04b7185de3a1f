"""The repositories a demo deploys from: the example service with some commits, or anybody's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import fleetcast
from fleetcast.model.errors import FleetcastError, Invalid, NotFound, Unavailable
from fleetcast.model.ids import CommitSha, commit_sha

BLOCK_BYTES: Final = 1 << 20
"""The payload's unit of change; the same figure is in ``examples/web/build.py``."""
UNCHANGED_PER_CHANGED: Final = 63
GIT_S_MAX: Final = 120
_GREETINGS: Final = ("Hello from a fleet", "Hello from the whole fleet", "A warm hello from the whole fleet")
_AUTHOR: Final = {"NAME": "Ada Example", "EMAIL": "ada@example.org"}
_PLAIN: Final = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
"""No configuration of this user's or machine's changes what git does."""
_REPOSITORY_VARIABLES: Final = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"})
"""Set where we are called from a git hook; meant for another repository."""
_FULL_SHA: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class Commit:
    sha: CommitSha
    subject: str


def make_example(path: Path, payload_bytes: int) -> tuple[Commit, ...]:
    """A git repository of the example service at ``path``: its commits A, B and C, each a small change to the one before."""
    shutil.copytree(_example_directory(), path, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    _git(["init", "--quiet", "--initial-branch=main", "."], path, _PLAIN)
    blocks = -(-payload_bytes // BLOCK_BYTES)
    changed: dict[str, int] = {}
    commits = []
    for number, greeting in enumerate(_GREETINGS):
        if number and blocks:
            changed |= {str(block): number for block in range(min(number, blocks - 1), blocks, UNCHANGED_PER_CHANGED + 1)}
        payload = {"seed": "web", "bytes": payload_bytes, "changed": changed}
        (path / "payload.json").write_text(json.dumps(payload, indent=1) + "\n")
        (path / "page.html").write_text(f"<!doctype html>\n<title>Hello</title>\n<h1>{greeting}</h1>\n")
        commits.append(_commit(path, f"Say {greeting!r}", number))
    return tuple(commits)


def resolve(repository: str, revision: str) -> tuple[str, CommitSha]:
    """A repository as workers will see it, and the commit that ``revision`` means in it.

    Raises:
        NotFound: no such repository or revision.
        Unavailable: it cannot be reached.
    """
    path = Path(repository).expanduser()
    if path.exists():
        found = _git(
            ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"],
            path,
            {},
            failing_is=lambda complaint: _no_revision(complaint or f"{revision!r} in {path}"),
        )
        return str(path.resolve()), commit_sha(found)
    if _FULL_SHA.fullmatch(revision):
        return repository, CommitSha(revision)
    lines = _git(["ls-remote", "--", repository, revision], Path.cwd(), {}, failing_is=_unreachable).splitlines()
    if not lines:
        raise _no_revision(f"{repository} has no branch or tag {revision!r}")
    return repository, commit_sha(lines[0].split()[0])


def _example_directory() -> Path:
    package = Path(fleetcast.__file__).parent
    for candidate in (package.parents[1] / "examples" / "web", package / "examples" / "web"):
        if (candidate / "fleetcast.toml").exists():
            return candidate
    raise NotFound("no_example", "the example service is not installed: run the demo from a checkout, or pass --repo")


def _commit(path: Path, subject: str, number: int) -> Commit:
    """Committed by nobody in particular at a fixed time: the same size gives the same commits."""
    date = f"2026-01-05T09:{number:02}:00Z"
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in (*_AUTHOR.items(), ("DATE", date))}
    _git(["add", "--all"], path, _PLAIN)
    _git(["commit", "--quiet", "--no-verify", f"--message={subject}"], path, {**_PLAIN, **who})
    return Commit(commit_sha(_git(["rev-parse", "HEAD"], path, _PLAIN)), subject)


def _no_revision(complaint: str) -> NotFound:
    return NotFound("no_revision", f"no such commit: {complaint}: git log in the repository shows what there is")


def _unreachable(complaint: str) -> Unavailable:
    return Unavailable("no_repository", f"cannot reach the repository: {complaint}")


def _invalid(complaint: str) -> Invalid:
    return Invalid("git_failed", complaint)


def _complaint(text: str) -> str:
    """What git says went wrong, in one line: advice follows it."""
    lines = [line.removeprefix("fatal: ").strip() for line in text.splitlines() if line.startswith("fatal: ")]
    return lines[0] if lines else text.strip().rpartition("\n")[2]


def _git(
    arguments: Sequence[str],
    where: Path,
    environment: Mapping[str, str],
    *,
    failing_is: Callable[[str], FleetcastError] = _invalid,
) -> str:
    """What git prints. It never asks for a password."""
    inherited = {key: value for key, value in os.environ.items() if key not in _REPOSITORY_VARIABLES}
    seen = {**inherited, "GIT_TERMINAL_PROMPT": "0", **environment}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=where, env=seen, capture_output=True, text=True, timeout=GIT_S_MAX, check=False
        )
    except FileNotFoundError:
        raise Invalid("no_git", "git is not installed, or not on the PATH") from None
    except subprocess.TimeoutExpired:
        raise Unavailable("no_repository", f"git {arguments[0]} did not end within {GIT_S_MAX} s") from None
    if done.returncode:
        raise failing_is(_complaint(done.stderr))
    return done.stdout.strip()
