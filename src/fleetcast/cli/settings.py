"""``fleetcast settings``: what holds, and who said so."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from fleetcast.cli.output import print_json, table_width
from fleetcast.cli.terminal import stdout_table, stdout_width


def settings(
    *,
    about: bool = False,
    settings: Annotated[Path | None, Parameter(env_var="FLEETCAST_SETTINGS")] = None,
    set: tuple[str, ...] = (),  # noqa: A002 -- the flag's name, as every process has it
    json: bool = False,
) -> None:
    """Show every setting that holds here, its value, and where that comes from: default, file, environment or flag.

    A later one wins. The environment's are called FLEETCAST_TABLE_KEY and hold for every table of that kind.

    For example: `fleetcast settings --about`, or `fleetcast settings --set control.port=7401`

    Parameters
    ----------
    about
        Say what each is for.
    settings
        Settings file, or its directory; default: fleetcast-data/settings.toml.
    set
        One setting that wins over file and environment, for instance control.port=7401; repeatable.
    json
        Print them as JSON, with what each is for.
    """
    from fleetcast.launch import effective, sources

    file = sources.settings_file(settings, os.environ)
    found = effective.effective(file, environ=os.environ, flags=set)
    if json:
        print_json(found)
        return
    header = ["SETTING", "VALUE", "FROM", *(["WHAT FOR"] if about else [])]
    for (kind, name), members in groupby(found, key=lambda setting: (setting.table, setting.name)):
        print(f"[{kind}]" if kind == "control" else f"[[{kind}]] {name}")
        rows = [
            [item.key, _written(item.value), item.given_by or item.source, *([item.about] if about else [])] for item in members
        ]
        text, width = stdout_table(header, rows), stdout_width()
        print(text if width is None or table_width(header, rows) <= width else _listed(rows, width))
        print()


def _listed(rows: Sequence[Sequence[str]], width: int) -> str:
    """Without columns, for a terminal that is too narrow: what finds no room beside a value stands below it."""
    lines: list[str] = []
    for key, value, origin, *about in rows:
        whole = f"{key} = {value}  ({origin})"
        lines += [whole] if len(whole) <= width else [f"{key} = {value}", f"    ({origin})"]
        for text in about:
            lines += textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
    return "\n".join(lines)


def _written(value: Any) -> str:
    """As it would stand in the file, near enough for people."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items()) or "-"
    return f"{value:g}" if isinstance(value, float) else str(value) or "-"
