"""What a backup consists of: lines of JSON, compressed. No engine is in it.

The first line is the :class:`Header`. A line ``{"table": NAME}`` begins a table, ``{"keys": true}`` the keys and values of the
global key-value store; below each of them a line is a row or a key: ``[...]``. Then the :class:`Footer`, and the SHA-256 of all
lines before its own.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, Final

import msgspec

from fleetcast.model.errors import Corrupt, Incompatible, Invalid
from fleetcast.model.limits import BACKUP_LINE_BYTES_MAX

FORMAT: Final = 1
_WHAT: Final = "fleetcast backup"
_COMPRESSION: Final = 3
"""Of gzip: half as slow as its default, and hardly larger."""
_DIGEST_BYTES: Final = 32
_MODULUS: Final = 1 << (8 * _DIGEST_BYTES)

Row = Sequence[bool | int | str | None]


@dataclass(frozen=True, slots=True)
class Sums:
    """What was written of one table, or of the keys."""

    count: int
    digest: str
    """Of all lines in any order: engines do not agree on one."""


@dataclass(frozen=True, slots=True)
class Header:
    schema: str
    """The revision of the tables."""
    tables: Mapping[str, tuple[tuple[str, str], ...]]
    """Columns and what they hold, by table, in the order in which rows may be written."""
    taken_at_ms: int
    """By the database's clock."""
    version: str
    """Of the program that wrote it."""
    what: str = _WHAT
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Footer:
    tables: Mapping[str, Sums]
    keys: Sums
    last_ids: Mapping[str, int]
    """The highest number ever given, of tables whose engine gives them."""


class Summing:
    """Sums of lines as they come."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0

    def add(self, line: bytes) -> None:
        """``line`` without its end."""
        self._count += 1
        self._sum += int.from_bytes(hashlib.blake2b(line, digest_size=_DIGEST_BYTES).digest())

    def sums(self) -> Sums:
        return Sums(self._count, f"{self._sum % _MODULUS:0{2 * _DIGEST_BYTES}x}")


def row_line(row: Row) -> bytes:
    """Equal rows are equal lines, whichever engine they come from."""
    return msgspec.json.encode(list(row))


def key_line(key: str, value: bytes) -> bytes:
    return msgspec.json.encode([key, b64encode(value).decode()])


class Writing:
    """Writes one backup, from its header to its end, holding a line at a time."""

    def __init__(self, file: IO[bytes], header: Header) -> None:
        # Without a time or a name of its own: equal contents are equal files.
        self._packed = gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0)
        self._hash = hashlib.sha256()
        self._tables: dict[str, Summing] = {}
        self._keys = Summing()
        self._under = self._keys
        self._write(msgspec.json.encode(header))

    def table(self, name: str) -> None:
        """Rows of ``name`` follow."""
        self._under = self._tables[name] = Summing()
        self._write(msgspec.json.encode({"table": name}))

    def row(self, row: Row) -> None:
        self._entry(row_line(row))

    def keys(self) -> None:
        """Keys with their values follow."""
        self._under = self._keys
        self._write(b'{"keys":true}')

    def key(self, key: str, value: bytes) -> None:
        self._entry(key_line(key, value))

    def end(self, last_ids: Mapping[str, int]) -> Footer:
        footer = Footer({name: summing.sums() for name, summing in self._tables.items()}, self._keys.sums(), last_ids)
        self._write(msgspec.json.encode({"end": footer}))
        self._write(msgspec.json.encode({"sha256": self._hash.hexdigest()}))
        self._packed.close()
        return footer

    def _entry(self, line: bytes) -> None:
        self._under.add(line)
        self._write(line)

    def _write(self, line: bytes) -> None:
        self._packed.write(line + b"\n")
        self._hash.update(line + b"\n")


@dataclass
class Reading:
    """Reads one backup from its beginning; what :meth:`entries` gave is good if it came to its end.

    Raises:
        Invalid: this is no backup.
        Incompatible: a newer program wrote it.
        Corrupt: it is damaged, or was cut off.
    """

    file: IO[bytes]
    name: str
    """For people."""
    header: Header = field(init=False)
    footer: Footer | None = field(init=False, default=None)
    """Once all of it was read."""

    def __post_init__(self) -> None:
        self._packed = gzip.GzipFile(fileobj=self.file, mode="rb")
        self._hash = hashlib.sha256()
        try:
            told = msgspec.json.decode(self._packed.readline(BACKUP_LINE_BYTES_MAX))
            if not isinstance(told, dict) or told.get("what") != _WHAT:
                raise ValueError
        except (OSError, EOFError, ValueError, zlib.error, msgspec.MsgspecError):
            raise Invalid(
                "no_backup", f"{self.name} is no backup of Fleetcast's: name one that fleetcast backup wrote"
            ) from None
        if told.get("format") != FORMAT:
            says = f"{self.name} has format {told.get('format')}, this program knows {FORMAT}"
            raise Incompatible("newer_backup", f"{says}: use the one that wrote it, {told.get('version')}")
        self._packed.rewind()
        self.header = self._decode(self._line(), Header)

    def entries(self) -> Iterator[tuple[str | None, Any]]:
        """Table and row; ``None`` and a key with its value, which is ``bytes``."""
        under: str | None = None
        summing: dict[str | None, Summing] = {None: Summing()}
        while True:
            line = self._line()
            if line.startswith(b"["):
                summing[under].add(line)
                yield under, self._row(under, line)
                continue
            told = self._decode(line, dict[str, msgspec.Raw])
            if "table" in told:
                under = msgspec.json.decode(told["table"], type=str)
                if under not in self.header.tables or under in summing:
                    raise self._damaged(f"it tells of a table {under} that its beginning does not")
                summing[under] = Summing()
            elif "keys" in told:
                under = None
            elif "end" in told:
                self._end(self._decode(bytes(told["end"]), Footer), {name: one.sums() for name, one in summing.items()})
                return

    def _end(self, footer: Footer, found: Mapping[str | None, Sums]) -> None:
        wanted = self._hash.hexdigest()
        said = self._decode(self._line(), dict[str, str])
        tables = {name: sums for name, sums in found.items() if name is not None}
        sound = said == {"sha256": wanted} and (tables, found[None]) == (footer.tables, footer.keys)
        if not sound or set(footer.tables) != set(self.header.tables) or self._more():
            raise self._damaged("its checksum says so")
        self.footer = footer

    def _more(self) -> bool:
        try:
            return bool(self._packed.read(1))
        except (OSError, EOFError, zlib.error):
            return True

    def _row(self, table: str | None, line: bytes) -> Any:
        if table is None:
            key, value = self._decode(line, tuple[str, str])
            return key, b64decode(value)
        row = self._decode(line, list[bool | int | str | None])
        if len(row) != len(self.header.tables[table]):
            raise self._damaged(f"a row of {table} has {len(row)} values")
        return row

    def _line(self) -> bytes:
        try:
            line = self._packed.readline(BACKUP_LINE_BYTES_MAX)
        except (OSError, EOFError, zlib.error):
            raise self._damaged("it ends in the middle, or its bytes were changed") from None
        if not line.endswith(b"\n"):
            raise self._damaged("it ends in the middle")
        self._hash.update(line)
        return line[:-1]

    def _decode(self, line: bytes, into: Any) -> Any:
        try:
            return msgspec.json.decode(line, type=into)
        except (msgspec.MsgspecError, ValueError):
            raise self._damaged("a line of it makes no sense") from None

    def _damaged(self, why: str) -> Corrupt:
        return Corrupt("damaged_backup", f"{self.name} is damaged: {why}: use another backup")
