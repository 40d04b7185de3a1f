"""Errors on the wire: RFC 9457 problem details, made from :mod:`fleetcast.model.errors` and turned back into them.

``code`` is stable and for programs, ``detail`` is for people, ``kind`` is the class: what the caller must do about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NoReturn

import msgspec

from fleetcast.model import errors
from fleetcast.model.errors import FleetcastError
from fleetcast.model.limits import HTTP_RETRY_AFTER_S
from fleetcast.model.lines import one_line

_REASON_CHARS_MAX: Final = 300
PROBLEM_JSON: Final = "application/problem+json"

_KINDS: Final[dict[str, type[FleetcastError]]] = {
    kind.__name__: kind
    for kind in (
        errors.FleetcastError,
        errors.Invalid,
        errors.Unprocessable,
        errors.TooLarge,
        errors.Unauthorized,
        errors.Forbidden,
        errors.NotFound,
        errors.Refused,
        errors.KeyReused,
        errors.Stale,
        errors.Conflict,
        errors.Compacted,
        errors.Unavailable,
        errors.Corrupt,
        errors.Incompatible,
    )
}

_KIND_OF_STATUS: Final[dict[int, type[FleetcastError]]] = {
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Refused,
    410: errors.Compacted,
    413: errors.TooLarge,
    422: errors.Unprocessable,
    426: errors.Incompatible,
    429: errors.Unavailable,
    502: errors.Unavailable,
    503: errors.Unavailable,
    504: errors.Unavailable,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """``application/problem+json``: ``type``, ``title``, ``status`` and ``detail`` as RFC 9457 has them."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    kind: str


def problem_of(error: FleetcastError) -> Problem:
    """What goes over the wire for ``error``."""
    return _problem(type(error), error.status, error.code, error.message)


def problem_of_status(status: int, detail: str, *, code: str | None = None) -> Problem:
    """A problem for an HTTP status that did not start as an error of ours (no such route, body too large)."""
    return _problem(kind_of_status(status), status, code or f"http_{status}", detail)


def headers_of(problem: Problem) -> dict[str, str]:
    """What HTTP wants beside a status: how to authenticate (RFC 6750), when to come again."""
    if problem.status == 401:
        reason = ', error="invalid_token"' if problem.code == "unknown_token" else ""
        return {"WWW-Authenticate": f'Bearer realm="fleetcast"{reason}'}
    if problem.status == 503:
        return {"Retry-After": str(HTTP_RETRY_AFTER_S)}
    return {}


def kind_of_status(status: int) -> type[FleetcastError]:
    """What the caller must do, where a status is all that is known."""
    if status in _KIND_OF_STATUS:
        return _KIND_OF_STATUS[status]
    return errors.Invalid if 400 <= status < 500 else FleetcastError


def raise_problem(status: int, body: bytes) -> NoReturn:
    """Raise the error that an answer outside 2xx stands for; ``body`` need not be one of our problems (a proxy's page)."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        said = _foreign_reason(body)
        raise kind_of_status(status)(f"http_{status}", f"the other side answered HTTP {status} and {said}") from None
    raise _KINDS.get(problem.kind, kind_of_status(status))(problem.code, problem.detail)


def _problem(kind: type[FleetcastError], status: int, code: str, detail: str) -> Problem:
    title = "Error" if kind is FleetcastError else kind.__name__
    return Problem(f"urn:fleetcast:problem:{code}", title, status, detail, code, kind.__name__)


def _foreign_reason(body: bytes) -> str:
    """What a server that is none of ours gives as its reason, in one line; many say it as ``message``."""
    try:
        said = msgspec.json.decode(body)["message"]
    except (msgspec.MsgspecError, RecursionError, LookupError, TypeError):
        return "no reason"
    return one_line(said if isinstance(said, str) else str(said))[:_REASON_CHARS_MAX] or "no reason"
