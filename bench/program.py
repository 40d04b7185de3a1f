"""A benchmark that runs other programs, as a program itself: what it tells people, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

from bench.machine import machine
from fleetcast.model.errors import FleetcastError
from lab.errors import LabError

INTERRUPTED = 130


class Asked(Protocol):
    """What every benchmark is asked for."""

    @property
    def runs(self) -> int: ...
    @property
    def json(self) -> bool: ...
    @property
    def save(self) -> Path | None: ...


def run(name: str, main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Exit as ``main`` says; an error that somebody can do something about is a line, and an interrupt clears up first."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _interrupt)
    try:
        sys.exit(main(sys.argv[1:]))
    except (LabError, FleetcastError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


class Machines(Protocol):
    """What every benchmark of machines is asked for."""

    @property
    def machines(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...


def sizes(asked: Machines) -> dict[str, int]:
    """What is told of every benchmark of machines."""
    return {"size_bytes": asked.size_bytes, "machines": asked.machines}


def finish(command: str, asked: Asked, told: Mapping[str, Any]) -> int:
    """Write and print what was ``told``, as it was wished. Returns an exit code."""
    result = {
        "command": command,
        "machine": machine(),
        "runs": asked.runs,
        **told,
    }
    if asked.save is not None:
        asked.save.write_text(json.dumps(result, indent=1) + "\n")
    if asked.json:
        print(json.dumps(result))
    return 0


def teller() -> Callable[[str], None]:
    """Tells people, on standard error, each line with the seconds since the start."""
    started, people = time.monotonic(), sys.stderr
    return lambda text: print(f"{time.monotonic() - started:6.1f} s  {text}", file=people, flush=True)


def _interrupt(_number: int, _frame: object) -> None:
    """Everything is cleared up on the way out, and that is not interrupted again."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Past the buffer of standard error: the interrupted line may be in the middle of writing to it.
    os.write(sys.stderr.fileno(), b"interrupted: clearing up\n")
    raise KeyboardInterrupt
