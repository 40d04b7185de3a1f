"""``fleetcast`` as a process that a test starts, listens to and signals."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest

from fleetcast.launch import sweeper

PROGRAM = (sys.executable, "-m", "fleetcast")
LINE_S_MAX = 90.0
END_S_MAX = 60.0
_WARDEN = 'read -r _; kill -TERM "$1"'
"""Reads from a pipe that only we write to, so that it ends when we do, however we are killed."""


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = END_S_MAX) -> None:
    """Wait for a condition of other processes, which have no event for us."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.05)


def command_lines(directory: Path) -> list[str]:
    """Of the processes that ``fleetcast`` started for ``directory``; arguments end in NUL."""
    lines = []
    for pid in sweeper.processes_of(directory):
        with suppress(OSError):  # it has ended meanwhile
            lines.append(Path(f"/proc/{pid}/cmdline").read_text())
    return lines


class Run:
    """A ``fleetcast`` at work. ``lines`` is what it has said so far, standard output and error together."""

    def __init__(self, *arguments: str, temporary: Path, environ: Mapping[str, str] | None = None) -> None:
        # Nothing of this shell's that a stranger's has not: an unbuffered Python hides a line that is never flushed.
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("FLEETCAST_", "PYTHON"))}
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**environment, "TMPDIR": str(temporary), **(environ or {})},
            start_new_session=True,
        )
        self._warden = subprocess.Popen(
            ["sh", "-c", _WARDEN, "sh", str(self.process.pid)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, pattern: str) -> str:
        """The first line from here on that has ``pattern`` (a regular expression) in it."""
        end = time.monotonic() + LINE_S_MAX
        while True:
            try:
                line = self._said.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                self._complain(f"did not say {pattern!r} within {LINE_S_MAX:g} s")
            if line is None:
                self._complain(f"ended without saying {pattern!r}")
            elif re.search(pattern, line):
                return line

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Its exit code."""
        self._dismiss()
        code = self.process.wait(END_S_MAX)
        self._reader.join(END_S_MAX)
        return code

    def close(self) -> None:
        """However the test went."""
        self._dismiss()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(END_S_MAX)
        self._reader.join(END_S_MAX)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _dismiss(self) -> None:
        """Before the process is waited for: its number may be somebody else's then."""
        self._warden.kill()
        self._warden.wait(END_S_MAX)
        assert self._warden.stdin is not None
        self._warden.stdin.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._said.put(self.lines[-1])
        self._said.put(None)

    def _complain(self, complaint: str) -> NoReturn:
        said = "\n".join(self.lines)
        pytest.fail(f"fleetcast {complaint}; it said:\n{said}")
