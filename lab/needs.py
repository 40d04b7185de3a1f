"""Whether this machine can have a lab, and if not, what it takes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab.errors import LabError
from lab.plan import Plan

TUN = Path("/dev/net/tun")
_PACKAGES = {"ip": "iproute2", "tc": "iproute2", "nft": "nftables"}


def check(plan: Plan) -> None:
    """Raises :class:`LabError` where this plan cannot be made here."""
    if os.geteuid() != 0:
        raise LabError("a lab makes network namespaces and limits links, which takes root: run it as root")
    tools = ["ip", "tc", *(["nft"] if any(host.loss for host in plan.hosts) else [])]
    missing = sorted({_PACKAGES[tool] for tool in tools if shutil.which(tool) is None})
    if missing:
        names = " ".join(missing)
        raise LabError(f"a lab needs {names}: apt-get install {names} (and have /usr/sbin in PATH)")
    if any(plan.delays_ms) and not TUN.exists():
        raise LabError(f"delay takes {TUN}, which is not here: load the kernel's tun module, or plan no delay")
