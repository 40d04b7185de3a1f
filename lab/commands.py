"""Running ``ip``, ``tc`` and ``nft``."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from lab.errors import LabError
from lab.limits import COMMAND_S_MAX


def run(*argv: str, text: str = "") -> str:
    """What it prints. Raises :class:`LabError` with what it complains of."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=COMMAND_S_MAX, check=False)
    if done.returncode:
        complaint = " ".join((done.stderr or done.stdout).split())
        raise LabError(f"{' '.join(argv)} failed, so there is no lab: {complaint or done.returncode}")
    return done.stdout


def ip(namespace: str, lines: Iterable[str]) -> None:
    """``ip`` commands in one namespace; empty: this machine's own network."""
    run("ip", *(["-n", namespace] if namespace else []), "-batch", "-", text="\n".join(lines) + "\n")


def tc(namespace: str, lines: Iterable[str]) -> None:
    """``tc`` commands in one namespace."""
    run("tc", "-n", namespace, "-batch", "-", text="\n".join(lines) + "\n")


def nft(namespace: str, script: str) -> None:
    """One nftables script, all of it or nothing, in one namespace."""
    run("ip", "netns", "exec", namespace, "nft", "-f", "-", text=script)
