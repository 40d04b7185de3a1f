"""What is built and sent: a git repository whose build command makes incompressible files from a seed, and edits them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

GIT_S_MAX = 60
_BUILD = """\
import json, pathlib, random

wanted = json.loads(pathlib.Path("payload.json").read_text())
rng, new = random.Random(wanted["seed"]), random.Random(f"new in {wanted['seed']}")
each, more = divmod(wanted["size_bytes"], wanted["files"])

def write(file, rng, left):
    while left:
        left -= file.write(rng.randbytes(min(left, 1 << 20)))

begin = 0
for number in range(wanted["files"]):
    path = pathlib.Path("dist", f"{number // 1000:03}", f"{number:06}")
    path.parent.mkdir(parents=True, exist_ok=True)
    end = begin + each + (number < more)
    with open(path, "wb") as file:
        write(file, new, 0 if number else wanted["inserted_bytes"])
        here = file.tell()
        write(file, rng, end - begin)
        for offset, length in wanted["overwritten"]:
            if (first := max(offset, begin)) < (last := min(offset + length, end)):
                file.seek(here + first - begin)
                write(file, new, last - first)
    begin = end
"""
"""It runs wherever the worker runs: the standard library alone."""
_WHO = {f"GIT_{role}_{what}": "lab@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@dataclass(frozen=True)
class Payload:
    """Equal payloads are equal files. ``files`` of the same size, give or take a byte, and then what is edited in them."""

    size_bytes: int
    files: int = 1
    seed: int = 0
    overwritten: tuple[tuple[int, int], ...] = ()
    """Ranges of the content with other bytes: offset and length, in the files one after another as if nothing were inserted."""
    inserted_bytes: int = 0
    """In front of everything, in the first file; ``size_bytes`` is without them."""
    activate: str = ""
    """What is run; empty: nothing."""


def commit(repository: Path, payload: Payload) -> str:
    """Commit what builds ``payload`` on ``main``, making the repository if there is none. Returns the SHA."""
    if not repository.exists():
        repository.mkdir(parents=True)
        _git(repository, "init", "--quiet", "--initial-branch=main")
    recipe = {"command": f"'{sys.executable}' build.py", "output": "dist"}
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in recipe.items())
    run = f"[run]\nactivate = {json.dumps(payload.activate)}\n" if payload.activate else ""
    (repository / "fleetcast.toml").write_text(f"[build]\n{lines}{run}")
    (repository / "build.py").write_text(_BUILD)
    (repository / "payload.json").write_text(json.dumps(asdict(payload)))
    _git(repository, "add", "--all")
    _git(repository, "commit", "--quiet", "--allow-empty", f"--message=seed {payload.seed}")
    return _git(repository, "rev-parse", "HEAD")


def _git(where: Path, *arguments: str) -> str:
    plain = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    environment = {**os.environ, **plain, **_WHO}
    done = subprocess.run(
        ["git", *arguments], cwd=where, env=environment, check=True, capture_output=True, text=True, timeout=GIT_S_MAX
    )
    return done.stdout.strip()
