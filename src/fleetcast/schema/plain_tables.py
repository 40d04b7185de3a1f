"""The tables as they are stored: text stays the text it is, and only columns that a database has by now.

For whoever takes rows from one database to another and must not change, or understand, a value on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Connection, Integer, MetaData, String, Table, Text, inspect
from sqlalchemy.types import TypeDecorator, TypeEngine

from fleetcast.schema.tables import metadata

TYPES: Final[Mapping[str, type[TypeEngine[Any]]]] = {"bool": Boolean, "int": BigInteger, "text": Text}
"""What a column may hold, by the word for it, with the type that reads and writes it on every engine."""

Columns = Sequence[tuple[str, str]]
"""Name and word of each."""


def plain_columns(connection: Connection) -> dict[str, Columns]:
    """The columns of every table of ours that the database has, tables in the order in which their rows may be written."""
    looking = inspect(connection)
    there = set(looking.get_table_names())
    found: dict[str, Columns] = {}
    for table in metadata.sorted_tables:
        if table.name in there:
            names = {column["name"] for column in looking.get_columns(table.name)}
            # Names without what SQLAlchemy adds to them: nothing else can be written down.
            found[str(table.name)] = tuple(
                (str(column.name), _word(column)) for column in table.columns if column.name in names
            )
    return found


def plain_table(name: str, columns: Columns) -> Table:
    """A table to select from and insert into; its values are ``bool``, ``int``, ``str`` and ``None``."""
    return Table(name, MetaData(), *(Column(column, TYPES[word]()) for column, word in columns))


def counted_tables() -> tuple[str, ...]:
    """Tables whose rows get their numbers from the engine, which never gives one twice."""
    return tuple(str(table.name) for table in metadata.sorted_tables if table.autoincrement_column is not None)


def _word(column: Column[Any]) -> str:
    kind = column.type.impl if isinstance(column.type, TypeDecorator) else column.type
    if isinstance(kind, Boolean):
        return "bool"
    if isinstance(kind, Integer):
        return "int"
    assert isinstance(kind, String), f"{column} holds something that no backup has a word for"
    return "text"
