"""What is in the way of a PostgreSQL server, in words that say what to do.

The codes are those of its manual, appendix A. What the server says is passed on where it helps; a password never is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import psycopg
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from fleetcast.model.errors import FleetcastError, Unavailable, Unprocessable

_SERVER_WORDS_MAX: Final = 300
_AWAY: Final = ("08", "57P01", "57P02", "57P03", "57P05")
_FIRST_WORDS: Final[Mapping[str, str]] = {
    "password authentication failed": "28P01",
    "no password supplied": "28P01",
    "no pg_hba.conf entry": "28000",
    "is not permitted to log in": "28000",
    "permission denied for database": "42501",
    "too many connections": "53300",
    "too many clients": "53300",
    "remaining connection slots are reserved": "53300",
    "the database system is": "57P03",
    # These two last: what is said above names them as well.
    'role "': "28P01",
    'database "': "3D000",
}
"""The driver does not tell the code of what ended an attempt to connect: a server that speaks English is understood."""


def is_away(error: DBAPIError) -> bool:
    """Whether the connection is gone, so that another one may be better."""
    return error.connection_invalidated or _code(error.orig).startswith(_AWAY)


def obstacle(error: BaseException | None, url: URL, *, writing: bool = True) -> FleetcastError | None:
    """What is in the way; ``None``: ``error`` is about what was asked, and a defect.

    Not ``writing``: the transaction was begun for reading, so that being refused a write is its caller's fault.
    """
    code = _code(error)
    if code == "25006":
        advice = "correct the URL in the settings"
        return Unavailable("database_read_only", f"the database is read-only, as a standby is: {advice}") if writing else None
    if isinstance(error, psycopg.DataError):
        return _illegal(error, code)
    return _busy(code) or _without_means(code) or _no_connection(error, code, url)


def _busy(code: str) -> Unavailable | None:
    match code:
        case "40001" | "40P01" | "55P03":
            return Unavailable("database_busy", "the database is busy with other transactions: try again")
        case "57014":
            return Unavailable("database_busy", "the database did not answer in time, or its work was stopped there: try again")
        case "25P03" | "25P04":
            return Unavailable("database_busy", "the database gave up waiting for this process in a transaction: try again")
        case _:
            return None


def _without_means(code: str) -> Unavailable | None:
    match code:
        case "53300":
            advice = "try again, raise its max_connections, or put a pooler in front of it"
            return Unavailable("database_full", f"the database has no connection left: {advice}")
        case "53100":
            return Unavailable("no_room", "the database cannot be written, its disk is full: make room there")
        case "53200" | "58030":
            return Unavailable(
                "database_unusable", "the database's host has no memory left, or cannot use its disk: look after it"
            )
        case _:
            return None


def _no_connection(error: BaseException | None, code: str, url: URL) -> Unavailable | None:
    where = place(url)
    match code:
        case "28P01":
            advice = "correct user and password in the database's URL"
        case "28000":
            advice = "let this user in from this host (pg_hba.conf), or correct the database's URL"
        case "3D000":
            advice = "create that database, or correct its name in the URL"
        case "42501":
            advice = "give this user the right to it, or correct the database's URL"
        case _ if code.startswith(_AWAY) or (not code and isinstance(error, psycopg.OperationalError)):
            return Unavailable(
                "database_away", f"no connection to the database {where} ({_said(error, url)}): is it running there?"
            )
        case _:
            return None
    return Unavailable("database_refused", f"the database {where} refuses us ({_said(error, url)}): {advice}")


def place(url: URL) -> str:
    """The database as people may see it: without user and password."""
    host = url.host or str(url.query.get("host", "")) or "local"
    return f"{url.database} at {host}" + (f":{url.port}" if url.port else "")


def _illegal(error: psycopg.DataError, code: str) -> FleetcastError | None:
    """Text that the embedded engine would have taken."""
    if code == "22021" or "NUL" in str(error):
        return Unprocessable("illegal_character", "a text with a NUL character cannot be kept: leave that out")
    if code == "22001":
        return Unprocessable("text_too_long", "a text is longer than what is kept of its kind: shorten it")
    return None


def _code(error: BaseException | None) -> str:
    if not isinstance(error, psycopg.Error):
        return ""
    if error.sqlstate:
        return error.sqlstate
    said = str(error)
    if isinstance(error, psycopg.OperationalError):
        return next((code for words, code in _FIRST_WORDS.items() if words in said), "")
    return ""


def _said(error: BaseException | None, url: URL) -> str:
    """What the server or the driver says, on one line, without the password."""
    text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if url.password:
        text = text.replace(url.password, "***")
    return text[:_SERVER_WORDS_MAX].rstrip(".:; ")
