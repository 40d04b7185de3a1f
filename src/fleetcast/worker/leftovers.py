"""Ending what a worker started and nobody waits for any more: after a worker that was killed, or a build that left its group.

Every program is started with the directory it was started in written into its environment, before it runs its first
instruction, and what it starts inherits that. So there is no moment at which a killed worker leaves something behind that the
next one does not know. What leaves its session *and* clears its environment escapes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

from fleetcast.model.errors import Refused
from fleetcast.model.limits import KILL_S_MAX

PLACE_VARIABLE: Final = "FLEETCAST_PLACE"
_LOOK_INTERVAL_S: Final = 0.02


def end_leftovers(directory: Path) -> int:
    """Kill whatever was started in ``directory`` or below it, and wait until it is gone. Blocking. Returns how many it was.

    Raises:
        Refused: something survives SIGKILL for ``KILL_S_MAX`` seconds.
    """
    deadline = time.monotonic() + KILL_S_MAX
    ended: set[int] = set()
    while left := _started_in(directory):
        if time.monotonic() > deadline:
            raise Refused("process_unkillable", f"processes {sorted(left)} survive SIGKILL: look at them by hand")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended |= left
        time.sleep(_LOOK_INTERVAL_S)
    return len(ended)


def _started_in(directory: Path) -> set[int]:
    """Those that say so, and whoever shares a session with one of them; this process and its session aside."""
    sessions = {pid: session for path in Path("/proc").glob("[0-9]*") if (session := _session(pid := int(path.name)))}
    ours = os.getsid(0)
    meant = {session for pid, session in sessions.items() if session != ours and _says_so(pid, directory)}
    return {pid for pid, session in sessions.items() if session in meant}


def _says_so(pid: int, directory: Path) -> bool:
    prefix = f"{PLACE_VARIABLE}=".encode()
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it ended, or is somebody else's
        return False
    places = [Path(os.fsdecode(variable.removeprefix(prefix))) for variable in variables if variable.startswith(prefix)]
    return any(place.is_relative_to(directory) for place in places)


def _session(pid: int) -> int:
    """0: it has ended, reaped or not."""
    try:
        # The name in parentheses may hold anything; behind it come state, parent, group and session.
        state, _, _, session = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()[:4]
    except (OSError, ValueError):
        return 0
    return 0 if state in (b"Z", b"X") else int(session)
