"""A reader's terminals: a shell in which a page's commands are typed, and one for each command that stays in the foreground."""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

COMMAND_S_MAX: Final = 90.0
END_S_MAX: Final = 30.0


class Reader:
    """What a process prints, standard output and error together, as lines."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._text = b""
        self.at_end = False

    @property
    def text(self) -> str:
        return self._text.decode(errors="replace")

    def until(self, enough: Callable[[str], bool], what: str, within_s: float = COMMAND_S_MAX) -> str:
        """All that was printed, as soon as it is ``enough``. Raises :class:`AssertionError` when it never is."""
        end = time.monotonic() + within_s
        while not enough(self.text):
            assert not self.at_end, f"{what}: it ended after printing\n{self.text}"
            ready, _, _ = select.select([self._pipe], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"{what}: not within {within_s:g} s; until then it printed\n{self.text}"
            piece = os.read(self._pipe, 65536)
            self._text += piece
            self.at_end = not piece
        return self.text

    def take(self) -> str:
        """What was printed since the last time, and forget it."""
        text, self._text = self.text, b""
        return text


class Shell:
    """A bash. What a command leaves behind (directory, variables, ``$?``) is there for the next."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._mark = f"--{secrets.token_hex(8)}--"
        self._process = _start(("bash", "--noprofile", "--norc"), directory, environment, stdin=subprocess.PIPE)
        assert self._process.stdout is not None
        self._reader = Reader(self._process.stdout.fileno())

    @property
    def directory(self) -> Path:
        return Path(f"/proc/{self._process.pid}/cwd").readlink()

    def run(self, command: str) -> tuple[int, str]:
        """Type a command; its exit code and what it printed."""
        assert self._process.stdin is not None
        # The exit code is put back, for a page that asks for $?.
        asked = f"{{ {command}\n}} </dev/null\n{{ __code=$?; printf '\\n%s%d\\n' '{self._mark}' $__code; (exit $__code); }}\n"
        self._process.stdin.write(asked.encode())
        self._process.stdin.flush()
        self._reader.until(lambda text: self._mark in text and text.endswith("\n"), f"$ {command}")
        printed, _, code = self._reader.take().rpartition(f"\n{self._mark}")
        return int(code), printed

    def close(self) -> None:
        _end(self._process, signal.SIGKILL)


class Foreground:
    """A command that stays, in a terminal of its own."""

    def __init__(self, command: str, directory: Path, environment: Mapping[str, str]) -> None:
        self.command = command
        self._process = _start(("bash", "--noprofile", "--norc", "-c", f"exec {command}"), directory, environment)
        assert self._process.stdout is not None
        self._reader = Reader(self._process.stdout.fileno())

    def until(self, enough: Callable[[str], bool]) -> str:
        """What it has printed, as soon as it is ``enough``."""
        return self._reader.until(enough, f"$ {self.command}")

    def interrupt(self) -> str:
        """Ctrl-C: what it printed from there on to its end, which must be one without an error. It is closed then."""
        self._reader.take()
        try:
            os.killpg(self._process.pid, signal.SIGINT)
            printed = self._reader.until(lambda _: self._reader.at_end, f"Ctrl-C in {self.command}", END_S_MAX)
            code = self._process.wait(END_S_MAX)
        finally:
            self.close()
        assert code in (0, 130), f"Ctrl-C in {self.command}: it ended with {code} and said\n{printed}"
        return printed

    def close(self) -> None:
        _end(self._process, signal.SIGKILL)


def _start(
    argv: tuple[str, ...], directory: Path, environment: Mapping[str, str], stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        # Whatever started the tests may have had Ctrl-C ignored, which everything below would inherit; a terminal does not.
        ("env", "--default-signal=INT", *argv),
        cwd=directory,
        env=dict(environment),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)
        process.wait(END_S_MAX)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
