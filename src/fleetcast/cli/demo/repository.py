"""The repositories a demo deploys from: the example service with some commits, or anybody's."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import fleetcast
from fleetcast.cli.git import git
from fleetcast.model.errors import NotFound
from fleetcast.model.ids import CommitSha, commit_sha

BLOCK_BYTES: Final = 1 << 20
"""The payload's unit of change; the same figure is in ``examples/web/build.py``."""
UNCHANGED_PER_CHANGED: Final = 63
_GREETINGS: Final = ("Hello from a fleet", "Hello from the whole fleet", "A warm hello from the whole fleet")
_AUTHOR: Final = {"NAME": "Ada Example", "EMAIL": "ada@example.org"}
_PLAIN: Final = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
"""No configuration of this user's or machine's changes what git does."""


@dataclass(frozen=True, slots=True)
class Commit:
    sha: CommitSha
    subject: str


def make_example(path: Path, payload_bytes: int) -> tuple[Commit, ...]:
    """A git repository of the example service at ``path``: its commits A, B and C, each a small change to the one before."""
    shutil.copytree(_example_directory(), path, ignore=shutil.ignore_patterns("dist", "__pycache__"))
    git(["init", "--quiet", "--initial-branch=main", "."], path, _PLAIN)
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
    git(["add", "--all"], path, _PLAIN)
    git(["commit", "--quiet", "--no-verify", f"--message={subject}"], path, {**_PLAIN, **who})
    return Commit(commit_sha(git(["rev-parse", "HEAD"], path, _PLAIN)), subject)
