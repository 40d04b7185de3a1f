"""Server programs that end when their owner does, however that is.

They run below a shell that reads a pipe which only the owner writes to: a word on it is the signal to end them with, its end
says that the owner is gone.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fleetcast.model.errors import Unavailable

READY_S_MAX: Final = 60.0
END_S_MAX: Final = 60.0
_LOOK_S: Final = 0.02
_KEEPER: Final = """
directory=$1 at_once=$2 remains=$3; shift 3
exec 3<&0
for each in "$@"; do
    eval "exec $each" < /dev/null 3<&- &
    servers="$servers $!"
done
{
    read -r word <&3
    if [ -z "$word" ]; then word=$at_once; : > "$directory/orphaned"; fi
    kill -"$word" $servers
} < /dev/null > /dev/null 2>&1 &
reader=$!
exec 3<&-
wait $servers
if ! [ -e "$directory/orphaned" ]; then kill "$reader"; elif [ -z "$remains" ]; then rm -rf "$directory"; fi
"""
"""Starts the servers and waits for them; beside it somebody reads the pipe."""


class Kept(ABC):
    """One server, of one process or several. One thread at a time, but for :meth:`close`, which may come at any moment."""

    def __init__(self, name: str, directory: Path, *, at_once: str = "KILL", remains: bool = False) -> None:
        """``name``: for people. ``at_once``: the signal that ends it without ceremony. ``remains``: its directory does, however
        it ends; somebody else removes that."""
        self.name = name
        self.directory = directory
        self._at_once = at_once
        self._remains = remains
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()
        """Around what :meth:`close` may come between."""

    @abstractmethod
    def commands(self) -> Sequence[Sequence[str]]:
        """What is run, a process each."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it can be used."""

    @property
    def running(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def start(self) -> None:
        """Until it answers. Raises :class:`Unavailable` with its last words when it does not."""
        running = self._launch()
        deadline = time.monotonic() + READY_S_MAX
        while not self.answers():
            if running.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(
                    "engine_not_started", f"{self.name} does not start: {self._last_words()} (more in {self._log})"
                )
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """As if it had died: the next start has what was committed."""
        self._end(self._at_once)

    def close(self) -> None:
        """Stop it, and remove what is left of it unless that remains. Safe to call again; it is not started any more."""
        with self._lock:
            self._closed = True
        if self._running is not None:
            self._end(self._at_once)
        if not self._remains:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _launch(self) -> subprocess.Popen[bytes]:
        commands = [shlex.join(command) for command in self.commands()]
        with self._lock, open(self._log, "ab") as output:
            if self._closed:
                raise Unavailable("engine_closed", f"{self.name} is closed: make another one")
            self._running = subprocess.Popen(
                ["sh", "-c", _KEEPER, "sh", str(self.directory), self._at_once, "yes" if self._remains else "", *commands],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=self._environment(),
                start_new_session=True,  # a terminal's Ctrl-C reaches us alone
            )
            return self._running

    def _end(self, word: str) -> None:
        with self._lock:
            running, self._running = self._running, None
        if running is None or running.stdin is None:
            raise Unavailable("engine_not_running", f"{self.name} does not run: start it first")
        with contextlib.suppress(BrokenPipeError), running.stdin as pipe:
            pipe.write(f"{word}\n".encode())
        try:
            running.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            raise Unavailable("engine_not_ended", f"{self.name} does not end: {self._last_words()}") from None

    def _prepare(self, command: Sequence[str], advice: str = "look after that") -> None:
        """Run a program that makes what the server needs. Raises :class:`Unavailable` with its last words, and ``advice``."""
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=self._environment(), start_new_session=True
        )
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise Unavailable("engine_not_made", f"{self.name} cannot be set up ({said}): {advice}")

    def _environment(self) -> dict[str, str]:
        """With what tells whose they are (``launch/sweeper.py``)."""
        return {**os.environ, "FLEETCAST_ENGINE": str(self.directory)}

    @property
    def _log(self) -> Path:
        return self.directory / "server.log"

    def _last_words(self) -> str:
        try:
            lines = self._log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return (lines or ["it said nothing"])[-1]
