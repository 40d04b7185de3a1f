"""The host: Python, libraries, git, limits."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from fleetcast import __version__
from fleetcast.cli.doctor.checks import Check, fail, ok, warn

PYTHON_MIN: Final = (3, 11)
GIT_MIN: Final = (2, 31)
GIT_S_MAX: Final = 10
OPEN_FILES_WANTED: Final = 4096
"""A data port and a swarm together may hold 2,000 connections, and files beside them."""
OPEN_FILES_MIN: Final = 256
_REQUIREMENT: Final = re.compile(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=([0-9.]+)")


def host() -> Iterator[Check]:
    """All there is to say about it."""
    yield _python()
    yield _libraries()
    yield _git()
    yield _open_files()
    yield _sandbox()


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON_MIN:
        return fail("python", version, f"install Python {'.'.join(map(str, PYTHON_MIN))} or newer")
    return ok("python", f"{version} at {sys.executable}")


def _libraries() -> Check:
    try:
        wanted = metadata.requires("fleetcast") or []
    except metadata.PackageNotFoundError:
        return warn("libraries", "fleetcast runs from a directory and is not installed", "make setup installs it")
    needed = [found for text in wanted if "extra ==" not in text and (found := _REQUIREMENT.match(text))]
    wrong = [complaint for name, least in (found.groups() for found in needed) if (complaint := _library(name, least))]
    if wrong:
        return fail("libraries", "; ".join(wrong), "install the locked packages again: make setup")
    return ok("libraries", f"fleetcast {__version__} and the {len(needed)} it needs")


def _library(name: str, least: str) -> str | None:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing"
    return f"{name} {version} is older than {least}" if _numbers(version) < _numbers(least) else None


def _git() -> Check:
    advice = f"install git {'.'.join(map(str, GIT_MIN))} or newer: workers check commits out with it"
    try:
        done = subprocess.run(["git", "--version"], capture_output=True, text=True, timeout=GIT_S_MAX, check=True)
    except FileNotFoundError:
        return fail("git", "is not there, or not on the PATH", advice)
    except (subprocess.SubprocessError, OSError) as error:
        return fail("git", f"does not work: {error}", advice)
    version = done.stdout.strip().removeprefix("git version ")
    return ok("git", version) if _numbers(version) >= GIT_MIN else warn("git", f"{version} is old", advice)


def _open_files() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES_WANTED:
        return ok("open files", f"up to {'any number' if soft == resource.RLIM_INFINITY else soft}")
    raised = "the hard limit is lower too: raise it first" if hard not in (-1,) and hard < OPEN_FILES_WANTED else ""
    advice = f"ulimit -n {OPEN_FILES_WANTED} before starting{f' ({raised})' if raised else ''}"
    return (fail if soft < OPEN_FILES_MIN else warn)("open files", f"up to {soft}: busy regions and machines need more", advice)


def _sandbox() -> Check:
    from fleetcast.worker.sandbox_probe import probe

    found = probe()
    if found.sandbox is None:
        return warn("sandbox", found.says, "until then builds on this host can do whatever their worker can")
    return ok("sandbox", f"builds run in one here ({found.says})")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", version)[:3])
