"""Errors, named by what the caller must do about them.

Each carries a stable ``code`` (snake case, for programs) and a one-line message (for people: what happened, what to do
next). The HTTP edge turns them into problem details, the command line into an exit code; ``status`` and ``exit_code`` are
that translation, kept here so that both ends agree.
"""

from __future__ import annotations

from typing import ClassVar


class FleetcastError(Exception):
    """Base of all errors that are part of an interface."""

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Invalid(FleetcastError):
    """The request makes no sense as it stands: correct it, do not repeat it."""

    status = 400
    exit_code = 2


class Unprocessable(Invalid):
    """Each part of the request is legal, all of it together is not, here and now: correct it, do not repeat it."""

    status = 422


class TooLarge(Invalid):
    """More bytes than one message may have: send less."""

    status = 413


class Unauthorized(FleetcastError):
    """No token, or not one we know: get the right one."""

    status = 401
    exit_code = 4


class Forbidden(FleetcastError):
    """A known token that may not do this: use the one for that role."""

    status = 403
    exit_code = 4


class NotFound(FleetcastError):
    """What was named does not exist: check the name, or create it first."""

    status = 404
    exit_code = 3


class Refused(FleetcastError):
    """Understood and not done, because of the state things are in: look at it, then decide again."""

    status = 409
    exit_code = 4


class KeyReused(Refused):
    """An idempotency key that came with another request before: send this one with a key of its own."""

    status = 422


class Stale(Refused):
    """A token, lease or generation that a newer one has replaced: stop this work, its result will not be taken."""


class Conflict(Refused):
    """A compare-and-swap lost: read again and decide again."""


class Compacted(Refused):
    """The history asked for is gone: take a snapshot and go on from its revision."""

    status = 410


class Unavailable(FleetcastError):
    """The other side cannot be reached or is not ready: the same call may succeed later."""

    status = 503
    exit_code = 5


class Corrupt(FleetcastError):
    """Bytes that are not what their digest or signature promised: nothing of them may be used."""

    status = 502


class Incompatible(Refused):
    """A neighbour more than one protocol version away: upgrade the older one."""

    status = 426
