"""Every setting with its value, where that comes from, and what it is for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from fleetcast.http.docstrings import below_fields
from fleetcast.launch import sources
from fleetcast.launch.database import hidden, hidden_flag
from fleetcast.launch.settings import keys
from fleetcast.launch.sources import SECTIONS, Override, Table


class Source(StrEnum):
    DEFAULT = "default"
    """Nobody said anything; perhaps it follows from another table."""
    FILE = "file"
    ENVIRONMENT = "environment"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    table: str
    """``control``, ``worker``, ``region`` or ``agent``."""
    name: str
    """Of the worker, region or machine; empty for control."""
    key: str
    value: Any
    """As JSON has it; paths absolute."""
    source: Source
    given_by: str
    """The file, the variable or the flag; empty for a default."""
    about: str
    """What it is for, in a line."""


def effective(file: Path, *, environ: Mapping[str, str], flags: Sequence[str] = ()) -> tuple[EffectiveSetting, ...]:
    """All settings that hold, table by table. Raises as :func:`sources.load`."""
    settings = sources.load(file, environ=environ, flags=flags)
    tables, overrides = sources.read_tables(file), sources.given(environ, flags)
    holders: list[tuple[str, str, Table, object]] = []
    if settings.control is not None:
        holders.append(("control", "", tables["control"], settings.control))
    for kind, members, name_of in (
        ("worker", settings.workers, "name"),
        ("region", settings.regions, "name"),
        ("agent", settings.agents, "machine"),
    ):
        for table, member in zip(tables.get(kind, []), members, strict=True):
            holders.append((kind, getattr(member, name_of), table, member))
    return tuple(setting for holder in holders for setting in _of(*holder, overrides, file))


def documentation(kind: type[Any]) -> Mapping[str, str]:
    """What each field of a settings class is for: the string below it in the source, on one line; empty where there is none."""
    said = below_fields(kind)
    return {field.name: " ".join(said.get(field.name, "").replace("``", "").split()) for field in keys(kind)}


def _path(value: Path) -> str:
    return "" if value == Path() else str(value)


def _of(
    table: str, name: str, written: Table, holder: object, overrides: Sequence[Override], file: Path
) -> Iterator[EffectiveSetting]:
    kind = SECTIONS[table]
    about = documentation(kind)
    for field in keys(kind):
        said = [override for override in overrides if (override.section, override.key) == (table, field.name)]
        source, by = Source.DEFAULT, ""
        if said:
            source, by = (Source.FLAG if said[-1].source.startswith("--set") else Source.ENVIRONMENT), said[-1].source
        elif field.name in written:
            source, by = Source.FILE, str(file)
        value = msgspec.to_builtins(getattr(holder, field.name), enc_hook=_path)
        yield EffectiveSetting(table, name, field.name, hidden(field.name, value), source, hidden_flag(by), about[field.name])
