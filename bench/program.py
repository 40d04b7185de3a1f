"""A benchmark that runs other programs, as a program itself: what it tells people, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from fleetcast.model.errors import FleetcastError
from lab.errors import LabError

INTERRUPTED = 130


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


def teller() -> Callable[[str], None]:
    """Tells people, on standard error, each line with the seconds since the start."""
    started = time.monotonic()
    return lambda text: print(f"{time.monotonic() - started:6.1f} s  {text}", file=sys.stderr, flush=True)


def _interrupt(_number: int, _frame: object) -> None:
    """Everything is cleared up on the way out, and that is not interrupted again."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Past the buffer of standard error: the interrupted line may be in the middle of writing to it.
    os.write(sys.stderr.fileno(), b"interrupted: clearing up\n")
    raise KeyboardInterrupt
