"""What this host has against a file or an address, in words that say what to do."""

from __future__ import annotations

import errno
import os
from typing import Final

from fleetcast.model.errors import FleetcastError, Refused, Unavailable

NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_ALLOWED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def obstacle(error: OSError) -> FleetcastError:
    """The same as an error of ours: a full disk may have room later, anything else has to be put right first."""
    reason = error.strerror or str(error) or type(error).__name__
    if isinstance(error.filename, str | bytes):
        reason = f"{os.fsdecode(error.filename)}: {reason}"
    if error.errno in NO_ROOM:
        return Unavailable("no_room", f"{reason}: make room on this disk")
    if error.errno in _NOT_ALLOWED:
        advice = "give this user the right to it, or choose another directory in the settings"
        return Refused("not_allowed", f"{reason}: {advice}")
    return Refused("host_failed", f"{reason}: put that right on this host, or correct the settings")


def first_obstacle(error: BaseException) -> FleetcastError | None:
    """What to tell a person of an error that ended a process; ``None``: it is a defect, and only its traceback helps."""
    if isinstance(error, BaseExceptionGroup):
        found = [first_obstacle(each) for each in error.exceptions]
        return found[0] if None not in found else None
    if isinstance(error, FleetcastError):
        return error
    return obstacle(error) if isinstance(error, OSError) else None


def address_refused(host: str, port: int, error: OSError, setting: str) -> Refused:
    """An address that cannot be listened on. ``setting``: what says which, empty: the caller does."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    advice = f"end what listens there, or set {setting} to another port" if setting else "choose another port"
    return Refused("address_in_use", f"cannot listen on {host}:{port} ({reason}): {advice}")
