"""Build logs: pieces of text in SQL, one attempt's after the other's; of a build that has ended, a blob (``log_blobs.py``)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import case, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from fleetcast.builds.log_blobs import kept_bytes, log_key
from fleetcast.builds.queue import held_job
from fleetcast.model.build import BuildStatus
from fleetcast.model.errors import NotFound, Unprocessable
from fleetcast.model.ids import BuildId, Token
from fleetcast.model.limits import BUILD_LOG_BYTES_MAX, BUILD_LOG_READ_BYTES_MAX
from fleetcast.model.messages.artifacts import BuildLog
from fleetcast.schema.columns import AnyRows
from fleetcast.schema.tables import build_log, jobs
from fleetcast.stores.blobs import BlobReader
from fleetcast.stores.database import Database

_CHARACTER_BYTES_MAX: Final = 4
_READ_PIECES_MAX: Final = 256
_SUBSTITUTE: Final = "\x1a"
"""ASCII's own character for one that is not valid: PostgreSQL keeps no NUL. As long as that, so that offsets stay right."""


class BuildLogs:
    """Writers count bytes from the start of their attempt, readers from the start of the build's first."""

    def __init__(self, database: Database, store: BlobReader, bytes_max: int = BUILD_LOG_BYTES_MAX) -> None:
        """``store`` has the logs of builds that have ended."""
        self._database = database
        self._store = store
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
            start = offset if offset >= 0 else max(0, (await _extent(reading, build, 0))[1] + offset)
            rows = (await reading.execute(_pieces(build, start))).all()
            # Looked for after the rows: they may go between two looks, and then the blob is there.
            kept = None if rows else await kept_bytes(reading, build)
        if kept is not None:
            return await self._read_kept(build, offset, kept)
        offset = start
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

    async def _read_kept(self, build: BuildId, offset: int, size: int) -> BuildLog:
        """From the blob. Nothing is added to it any more."""
        start = max(0, size + offset) if offset < 0 else offset
        if start >= size:
            return BuildLog(start, "", start, finished=True)
        data = await self._store.read(log_key(build), offset=start, length=min(size - start, BUILD_LOG_READ_BYTES_MAX))
        if start + len(data) < size:  # not in the middle of a character
            data = data[: len(data) - _cut_bytes(data)]
        end = start + len(data)
        return BuildLog(start, data.decode(errors="replace"), end, finished=end == size)


def _cut_bytes(data: bytes) -> int:
    """How many bytes at the end are the beginning of a character that is cut."""
    for back in range(1, min(_CHARACTER_BYTES_MAX, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            needs = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return back if needs > back else 0
    return 0


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
