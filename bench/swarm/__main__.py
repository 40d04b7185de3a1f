"""``python -m bench.swarm``: see ``--help``."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Sequence

from bench.machine import machine
from bench.swarm import asked, in_the_lab, over_loopback
from fleetcast.model.errors import FleetcastError
from lab.errors import LabError

INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Returns an exit code. Raises :class:`LabError`."""
    wanted = asked.parse(arguments)
    measure = over_loopback.measure if wanted.loopback else in_the_lab.measure
    told = measure(wanted, _teller())
    result = {
        "command": asked.command(arguments),
        "machine": machine(),
        "runs": wanted.runs,
        "size_bytes": wanted.size_bytes,
        "machines": wanted.machines,
        **told,
    }
    if wanted.save is not None:
        wanted.save.write_text(json.dumps(result, indent=1) + "\n")
    if wanted.json:
        print(json.dumps(result))
    return 0


def _teller() -> Callable[[str], None]:
    """Tells people, on standard error, each line with the seconds since the start."""
    started = time.monotonic()
    return lambda text: print(f"{time.monotonic() - started:6.1f} s  {text}", file=sys.stderr, flush=True)


def _interrupt(_number: int, _frame: object) -> None:
    """Everything is cleared up on the way out, and that is not interrupted again."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    print("interrupted: clearing up", file=sys.stderr, flush=True)
    raise KeyboardInterrupt


if __name__ == "__main__":
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _interrupt)
    try:
        sys.exit(main(sys.argv[1:]))
    except (LabError, FleetcastError) as error:
        sys.exit(f"bench.swarm: {error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
