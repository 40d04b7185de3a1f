"""What systemd is told of a service: the names of its units and the file that they are made of.

A service has one file, a template (``NAME@.service``), and each of its starts is an instance of it: two releases may run beside
each other, and nothing is to be loaded anew for a start.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

_NAME_CHARS_MAX: Final = 150
"""Of both names: systemd takes 255 for all of a unit's name."""
_ODD: Final = re.compile(r"[^a-zA-Z0-9.-]")

_NEEDED_TO_THE_END: Final = (
    "sysinit.target basic.target local-fs.target remote-fs.target network.target network-online.target nss-lookup.target"
)
"""What a machine that goes down must not take away before its services have ended: file systems, the network, names."""

SERVICE: Final = ""
SOCKETS: Final = "sockets"
"""What keeps the sockets of a service is a unit beside it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent has a service, which tells it from all others of this machine, other agents' included."""

    base: str
    """Its directory, absolute and without links."""
    environment: str
    service: str


@dataclass(frozen=True, slots=True)
class Terms:
    """On which its processes run."""

    interpreter: str
    """Without ``$``, which is not one thing in the path of a program and in what it is called with."""
    program: str
    """Takes the name of a socket in ``directory``."""
    directory: str
    stop_s: float
    """Between being asked to end and being killed, when somebody else than the agent stops it: what most of those need that run
    by this file."""
    files_max: tuple[int, int]
    """Open files, soft and hard limit; -1: no limit."""


def template(place: Place, kind: str) -> str:
    """Of a service's units, without ``@.service``."""
    name = _ODD.sub("_", f"{place.service}.{place.environment}")[:_NAME_CHARS_MAX]
    told_apart = sha256(place.base.encode(errors="surrogateescape")).hexdigest()[:8]
    return "-".join(["fleetcast", name, told_apart, *([kind] if kind else [])])


def unit(place: Place, kind: str, instance: str) -> str:
    """Of one start."""
    return f"{template(place, kind)}@{instance}.service"


def file_text(place: Place, kind: str, terms: Terms) -> str:
    """The template. It stands on its own feet: nothing is pulled in by it, and it ends with the machine, before what it needs.

    Everything that makes a service what it is comes from the agent, by the socket: a unit's file is everybody's to read. That a
    command ends well is not the end of its unit, since it may have left a daemon behind; who starts it again is the agent.
    """
    what = f"{kind} of " if kind else ""
    soft, hard = ("infinity" if limit < 0 else str(limit) for limit in terms.files_max)
    words = " ".join(_word(word) for word in (terms.interpreter, "-I", "-S", terms.program))
    return f"""# Written by a Fleetcast agent, which removes it with the service. To add something, use a drop-in.
[Unit]
Description={_line(f"{what}{place.service} in {place.environment}, run by Fleetcast in {place.base}")}
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
After={_NEEDED_TO_THE_END}
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={words} %i.gate
WorkingDirectory={_line(terms.directory)}
Slice=fleetcast.slice
RemainAfterExit=yes
Restart=no
KillMode=control-group
TimeoutStopSec={terms.stop_s:g}
OOMPolicy=continue
IgnoreSIGPIPE=no
LimitNOFILE={soft}:{hard}
"""


def _line(text: str) -> str:
    return " ".join(text.splitlines()).replace("%", "%%")


def _word(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$").replace("%", "%%")
    return f'"{escaped}"'
