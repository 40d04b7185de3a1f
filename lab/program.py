"""A program on a host of the lab: started, waited for, measured, ended.

Where it knows of one, a pipe is its lifeline: however we end, it ends too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lab.errors import LabError
from lab.host import Host

LOOK_S = 0.05
READY_S_MAX = 120.0
END_S_MAX = 10.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_KIB = 1024


class Program:
    """One process. It keeps its process id from start to end."""

    def __init__(self, name: str, host: Host, argv: Sequence[str], directory: Path, *, pipes: Sequence[int] = ()) -> None:
        """Start it. ``directory``: for its output. ``pipes``: their reading ends are inherited."""
        self.name = name
        self.host = host
        self.log = directory / f"{name}.log"
        with open(self.log, "ab") as output:
            # A session of its own: a terminal's Ctrl-C reaches us alone, and we end it in order.
            self._process = subprocess.Popen(
                host.command(list(argv)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=clean_environment(),
                pass_fds=tuple(pipes),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def cpu_s(self) -> float:
        """User and system time so far, in seconds, of it and of those of its children that have ended."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return sum(map(int, fields[11:15])) / _TICKS_PER_S

    def peak_rss_bytes(self) -> int:
        """The most memory it ever had resident."""
        return self._status_bytes("VmHWM")

    def rss_bytes(self) -> int:
        """The memory it has resident now."""
        return self._status_bytes("VmRSS")

    def _status_bytes(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * _KIB for line in lines if line.startswith(f"{name}:"))

    def last_words(self) -> str:
        """The last line it said."""
        return (self.log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]

    def signal(self, number: int) -> None:
        """Nothing happens when it has ended."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float) -> bool:
        """Whether it has ended within so long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)
        return not self.running

    def must_run(self) -> None:
        """Raises :class:`LabError` when it has ended."""
        if not self.running:
            raise LabError(f"{self.name} has ended: {self.last_words()} (more in {self.log})")


def clean_environment() -> dict[str, str]:
    """This process's environment without what would change how Fleetcast or Python works."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("FLEETCAST_", "PYTHON"))}


def end(programs: Iterable[Program], *, patience_s: float = END_S_MAX) -> None:
    """Ask all of them to end, kill those that have not within ``patience_s``."""
    left = list(programs)
    for number, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, END_S_MAX)):
        for program in left:
            program.signal(number)
        deadline = time.monotonic() + wait_s
        left = [program for program in left if not program.wait(max(0.0, deadline - time.monotonic()))]


@contextlib.contextmanager
def pipe() -> Iterator[Pipe]:
    """A pipe for programs to hold on to."""
    held = Pipe()
    try:
        yield held
    finally:
        held.close()
        os.close(held.reader)


class Pipe:
    """Nothing is ever written into it: its end is the message."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()

    def close(self) -> None:
        """Tell whoever reads. Safe to call again."""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1


def wait_ready(programs: Iterable[tuple[Program, Path]]) -> None:
    """Until each has written its ready file. Raises :class:`LabError`."""
    deadline = time.monotonic() + READY_S_MAX
    for program, file in programs:
        while not file.exists():
            program.must_run()
            if time.monotonic() > deadline:
                raise LabError(f"{program.name} was not ready within {READY_S_MAX:g} s: look into {program.log}")
            time.sleep(LOOK_S)


def events(log: Path, event: str) -> list[dict[str, object]]:
    """What a program logged under a name, as JSON lines have it."""
    lines = log.read_text(errors="replace").splitlines()
    told = (json.loads(line) for line in lines if line.startswith("{") and f'"{event}"' in line)
    return [line for line in told if line.get("event") == event]
