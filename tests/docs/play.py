"""Does what a page says, as its reader would, and complains where something else comes of it.

A reader has a home of their own with git set up, Fleetcast's programs first in ``PATH``, and in ``~/src/web`` the repository
of a service. Two things are not as in a reader's life. Ports: pages say 7401 and so on, which may be taken here; the free ones
used instead are written into commands and files, and read back out of output. Pace: intervals are short.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fleetcast.cli.demo.repository import make_example
from fleetcast.launch import installation, sweeper

from .matching import matches
from .pages import ROOT, Block, Command, blocks, commands
from .terminal import COMMAND_S_MAX, Foreground, Shell

PORTS: Final = 50
"""Counted from where a page says 7401."""
PACE: Final[Mapping[str, str]] = {
    "FLEETCAST_CONTROL_REPLICATION_CHECK_INTERVAL_S": "0.5",
    "FLEETCAST_REGION_KV_POLL_INTERVAL_S": "0.5",
    "FLEETCAST_REGION_REPORT_INTERVAL_S": "0.5",
    "FLEETCAST_REGION_AGENT_REPORT_INTERVAL_S": "0.5",
}
PAYLOAD_BYTES: Final = 1 << 20
_PROGRAM: Final = """#!{python}
import sys
from fleetcast.launch import installation
installation.FIRST_PORT = {port}
from fleetcast.cli.main import main
main()
"""


def play(page: Path, directory: Path) -> None:
    """Do all of a page in ``directory``, which is empty and stays as the page leaves it; nothing is left running.

    Raises:
        AssertionError: a command printed something else, failed without the page saying so, or did not end; it says where.
    """
    with _reader(directory) as reader:
        for block in blocks(page):
            if block.file is not None:
                reader.save(block)
            elif block.kind == "python":
                reader.python(block)
            elif block.runs:
                reader.session(block)
        reader.leave()


class Reader:
    """Who reads a page, and does what it says."""

    def __init__(self, home: Path, environment: Mapping[str, str], first_port: int) -> None:
        self._environment = environment
        self._offset = first_port - installation.FIRST_PORT
        self._shell = Shell(home, environment)
        self._foreground: list[Foreground] = []

    def save(self, block: Block) -> None:
        assert block.file is not None
        path = self._shell.directory / block.file
        if block.file.startswith("~"):
            path = Path(self._environment["HOME"]) / block.file.removeprefix("~/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._moved(block.text), encoding="utf-8")

    def python(self, block: Block) -> None:
        done = subprocess.run(
            [sys.executable, "-c", self._moved(block.text)],
            cwd=self._shell.directory,
            env=dict(self._environment),
            capture_output=True,
            text=True,
            timeout=COMMAND_S_MAX,
            check=False,
        )
        assert done.returncode == 0, f"{block.place}: this program ended with {done.returncode}\n{done.stdout}{done.stderr}"

    def session(self, block: Block) -> None:
        typed = commands(block)
        for command, following in zip(typed, (*typed[1:], None), strict=True):
            if command.text == "^C":
                self._compare(command, self._foreground.pop().interrupt())
            elif command.text.startswith("make "):
                _must_be_a_target(command)
            elif block.variant == "foreground" and following is None:
                self._start(command)
            else:
                code, printed = self._shell.run(self._moved(command.text))
                self._compare(command, printed)
                expected = following is not None and following.text == "echo $?"
                assert code == 0 or expected, f"{command.place}: $ {command.text}\nexited {code} and printed\n{printed}"

    def leave(self) -> None:
        """Ctrl-C in every terminal that is still busy."""
        while self._foreground:
            self._foreground.pop().interrupt()

    def close(self) -> None:
        for terminal in (*self._foreground, self._shell):
            terminal.close()

    def _start(self, command: Command) -> None:
        terminal = Foreground(self._moved(command.text), self._shell.directory, self._environment)
        self._foreground.append(terminal)
        shown = command.shown or ()
        assert shown, f"{command.place}: show what {command.text} prints until it is ready"
        terminal.until(lambda text: matches(shown, self._read(text).splitlines()))
        words = command.text.split()
        if words[:2] == ["fleetcast", "up"]:
            # Machines are known to control a moment after their agents are ready: a person's next command comes later.
            given = [word for word in words[2:3] if not word.startswith("-")]
            self._machines_report(self._shell.directory / (given or ["fleetcast-data"])[0])

    def _machines_report(self, installed: Path) -> None:
        settings = tomllib.loads((installed / installation.SETTINGS_NAME).read_text())
        wanted = {agent["machine"] for agent in settings["agent"]}
        end = time.monotonic() + COMMAND_S_MAX
        while True:
            code, printed = self._shell.run("fleetcast machine list")
            if code == 0 and wanted <= {line.split()[0] for line in printed.splitlines()}:
                return
            assert time.monotonic() < end, f"the machines of {installed} do not report: {printed}"

    def _compare(self, command: Command, printed: str) -> None:
        text = self._read(printed)
        right = command.shown is None or matches(command.shown, text.splitlines())
        shown = "\n".join(command.shown or ())
        assert right, f"{command.place}: $ {command.text}\nprinted\n{text}\nand the page shows\n{shown}"

    def _moved(self, text: str) -> str:
        return _shifted(text, self._offset, installation.FIRST_PORT)

    def _read(self, text: str) -> str:
        return _shifted(text, -self._offset, installation.FIRST_PORT + self._offset)


@contextmanager
def _reader(directory: Path) -> Iterator[Reader]:
    first_port = _free_block()
    home, programs, temporary = (directory / name for name in ("home", "programs", "tmp"))
    for made in (home, programs, temporary, home / "src"):
        made.mkdir()
    program = programs / "fleetcast"
    program.write_text(_PROGRAM.format(python=sys.executable, port=first_port))
    program.chmod(0o755)
    if shutil.which("curl") is None:
        (programs / "curl").symlink_to(Path(__file__).with_name("curl"))
    (home / ".gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.org\n")
    make_example(home / "src" / "web", PAYLOAD_BYTES)
    path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"]))
    plain = {"HOME": str(home), "PATH": path, "LANG": "C.UTF-8", "TERM": "dumb", "COLUMNS": "120", "TMPDIR": str(temporary)}
    reader = Reader(home, {**plain, **PACE}, first_port)
    try:
        yield reader
    finally:
        reader.close()
        sweeper.end_processes(directory)


def _shifted(text: str, by: int, first: int) -> str:
    """``text`` with every number from ``first`` on that can be a port of an installation raised by ``by``."""

    def move(found: re.Match[str]) -> str:
        port = int(found[0])
        return str(port + by) if first <= port < first + PORTS else found[0]

    return re.sub(r"(?<![\w.])\d{4,5}(?!\w)", move, text)


def _free_block() -> int:
    """The first of ``PORTS`` ports in a row that nobody listens on, below those that ``free_ports`` gives to other tests."""
    rng = random.Random()
    while True:
        first = rng.randrange(7_500, 10_000 - PORTS)
        if all(_free(port) for port in range(first, first + PORTS)):
            return first


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _must_be_a_target(command: Command) -> None:
    """What ``make`` does here would be all tests within this one: ``.ci/run`` runs them instead."""
    target = command.text.split()[1]
    found = re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found, f"{command.place}: the Makefile has no {target}"
