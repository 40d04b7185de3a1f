"""Column types that the tables share, and the types of what comes out of them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final, TypeAlias

import msgspec
from sqlalchemy import BigInteger, Column, Dialect, Integer, Row, Select, Text
from sqlalchemy.types import TypeDecorator

from fleetcast.model.goal import Limits

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
"""A row whose columns the type checker is not told."""
AnyRows: TypeAlias = Select[*tuple[Any, ...]]
"""The query for such rows."""

Id: Final = BigInteger().with_variant(Integer, "sqlite")
"""64 bits everywhere. SQLite counts up only what is called INTEGER, and its INTEGER has 64 bits."""


class AsJson(TypeDecorator[Any]):
    """A frozen value of ``model`` (or a mapping, or a tuple) kept as JSON text, keys sorted: equal values are equal texts."""

    impl = Text
    cache_ok = True

    def __init__(self, shape: Any) -> None:
        super().__init__()
        self.shape = shape

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 -- the base class's signature
        return None if value is None else msgspec.json.encode(value, order="deterministic").decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 -- the base class's signature
        return None if value is None else msgspec.json.decode(value, type=self.shape)


def limit_columns() -> tuple[Column[int], ...]:
    """Of a service, and of what was triggered with it: one for each of :class:`Limits`."""
    return tuple(Column(each.name, Integer) for each in fields(Limits))


def limits_of(row: AnyRow) -> Limits:
    """What a row's :func:`limit_columns` hold."""
    return Limits(**{each.name: getattr(row, each.name) for each in fields(Limits)})
