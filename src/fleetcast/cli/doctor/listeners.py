"""Who listens on a TCP port of this host, as far as the kernel tells us."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTEN: Final = "0A"
_PROGRAM_WORDS: Final = 4
"""``python -X... -m fleetcast``, or ``python .../bin/fleetcast``."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Of other users' processes ``pid`` and ``command`` are unknown: ``None``, empty. A NUL stands behind each word."""

    pid: int | None
    command: str

    @property
    def ours(self) -> bool:
        """Whether it is a process of Fleetcast's: the program's name is one of its first words, not a part of a path."""
        return "fleetcast" in (word.rpartition("/")[2] for word in self.command.split("\0")[:_PROGRAM_WORDS])

    @property
    def shown(self) -> str:
        """The command for people."""
        return self.command.replace("\0", " ").strip()


def listeners(ports: set[int]) -> dict[int, Listener]:
    """Those of ``ports`` that somebody listens on, whatever the address."""
    inodes = {inode: port for table in _TABLES for port, inode in _listening(table) if port in ports}
    found = {port: Listener(None, "") for port in inodes.values()}
    if inodes:
        for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
            for inode in _sockets(pid) & inodes.keys():
                found[inodes[inode]] = Listener(pid, _command(pid))
    return found


def _listening(table: Path) -> list[tuple[int, str]]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:  # no such protocol here
        return []
    rows = (line.split() for line in lines)
    return [(int(row[1].rpartition(":")[2], 16), row[9]) for row in rows if row[3] == _LISTEN]


def _sockets(pid: int) -> set[str]:
    """Inodes of the sockets a process holds; none for other users' processes."""
    found = set()
    try:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:  # it ended, or is somebody else's
        pass
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
