"""Real git repositories for tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from fleetcast.model.ids import CommitSha, commit_sha

_WHO = {"NAME": "A", "EMAIL": "a@localhost"}


class Repository:
    """A working repository whose commits are whole sets of files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> str:
        names = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in _WHO.items()}
        quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"], **names}
        return subprocess.run(
            ["git", *arguments], cwd=self.path, env=quiet, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, files: dict[str, str]) -> CommitSha:
        for name, text in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a change")
        return self.head()

    def head(self) -> CommitSha:
        return commit_sha(self.git("rev-parse", "HEAD"))
