"""Build logs: pieces of text in SQL, one attempt's after the other's."""

from __future__ import annotations

from typing import Final

from sqlalchemy import case, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.builds.queue import held_job
from fleetcast.model.build import BuildStatus
from fleetcast.model.errors import NotFound, Unprocessable
from fleetcast.model.ids import BuildId, Token
from fleetcast.model.limits import BUILD_LOG_BYTES_MAX, BUILD_LOG_READ_BYTES_MAX
from fleetcast.model.messages.artifacts import BuildLog
from fleetcast.schema.columns import AnyRows
from fleetcast.schema.tables import build_log, jobs
from fleetcast.stores.database import Database

_CHARACTER_BYTES_MAX: Final = 4
_READ_PIECES_MAX: Final = 256
_SUBSTITUTE: Final = "\x1a"
"""ASCII's own character for one that is not valid: PostgreSQL keeps no NUL. As long as that, so that offsets stay right."""


class BuildLogs:
    """Writers count bytes from the start of their attempt, readers from the start of the build's first."""

    def __init__(self, database: Database, bytes_max: int = BUILD_LOG_BYTES_MAX) -> None:
        self._database = database
        self._bytes_max = bytes_max

    async def append(self, build: BuildId, token: Token, offset: int, text: str) -> None:
        """Add ``text``, which starts at UTF-8 byte ``offset`` of this attempt's log.

        What is known already is ignored, so a call may be repeated; so is what goes beyond ``bytes_max`` for the build.

        Raises:
            Stale: the attempt does not hold the build any more.
            Unprocessable: there is a gap before ``offset``, or it splits a character.
        """
        data = text.replace("\0", _SUBSTITUTE).encode()
        async with self._database.concurrent() as tx:  # it decides by the build's row, which is locked
            attempt = (await held_job(tx, build, token)).attempt
            start, total = await _extent(tx, build, attempt)
            room = self._bytes_max - total
            if room < _CHARACTER_BYTES_MAX or not data:
                return  # full: where the last character that fits was cut, a few bytes stay free
            known = total - start - offset
            if known < 0 or offset < 0:
                raise Unprocessable(
                    "log_gap", f"the log of build {build} ends at {total - start}: continue there, not at {offset}"
                )
            piece = _whole_characters(data[known:], room)
            if piece:
                size = len(piece.encode())
                await tx.execute(insert(build_log).values(build_id=build, start=total, attempt=attempt, size=size, text=piece))

    async def read(self, build: BuildId, offset: int) -> BuildLog:
        """At most about 1 MiB from ``offset`` on, a negative one counted from the end. ``finished``: the build has ended and
        this was the rest of its log.

        Raises:
            NotFound: no such build.
        """
        async with self._database.reading() as reading:
            status = (await reading.execute(select(jobs.c.status).where(jobs.c.id == build))).scalar_one_or_none()
            if status is None:
                raise NotFound("unknown_build", f"there is no build {build}")
            if offset < 0:
                offset = max(0, (await _extent(reading, build, 0))[1] + offset)
            rows = (await reading.execute(_pieces(build, offset))).all()
        taken: list[bytes] = []
        next_offset, size = offset, 0
        for row in rows:
            if size >= BUILD_LOG_READ_BYTES_MAX:
                break
            taken.append(row.text.encode()[max(0, offset - row.start) :])
            next_offset = row.start + row.size
            size += row.size
        everything = len(taken) == len(rows) < _READ_PIECES_MAX
        return BuildLog(
            offset, b"".join(taken).decode(errors="replace"), next_offset, finished=BuildStatus(status).ended and everything
        )


def _pieces(build: BuildId, offset: int) -> AnyRows:
    return (
        select(build_log.c.start, build_log.c.size, build_log.c.text)
        .where(build_log.c.build_id == build, build_log.c.start + build_log.c.size > offset)
        .order_by(build_log.c.start)
        .limit(_READ_PIECES_MAX)
    )


async def _extent(tx: AsyncConnection, build: BuildId, attempt: int) -> tuple[int, int]:
    """Bytes of the earlier attempts, and of all."""
    earlier = func.coalesce(func.sum(case((build_log.c.attempt < attempt, build_log.c.size), else_=0)), 0)
    everything = func.coalesce(func.sum(build_log.c.size), 0)
    row = (await tx.execute(select(earlier, everything).where(build_log.c.build_id == build))).one()
    return int(row[0]), int(row[1])


def _whole_characters(data: bytes, room: int) -> str:
    """``data`` as text, cut to at most ``room`` bytes between two characters."""
    if data and data[0] & 0xC0 == 0x80:
        raise Unprocessable(
            "log_splits_character", "a piece of a log must start with a whole character: send the one before it again"
        )
    return data[:room].decode(errors="ignore")
