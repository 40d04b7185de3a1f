"""``settings.md``: every key of the settings file, from the dataclasses that it becomes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, Field
from pathlib import Path

from sources import one_line, table

from fleetcast.http.docstrings import below_fields
from fleetcast.launch.settings import keys
from fleetcast.launch.sources import NOT_SETTINGS, SECTIONS

HEAD = """# Settings

What runs on a host stands in one file, `settings.toml`: one `[control]` table and any number of `[[worker]]`, `[[region]]` and
`[[agent]]` tables. `fleetcast up` makes one in `fleetcast-data`, and starts what it says. Every key has a default; a file that
says nothing more than which processes there are is a good one.

Three sources, a later one wins: the file, the environment, flags.

- **The file** is the one given with `--settings`, else the one `FLEETCAST_SETTINGS` names, else `fleetcast-data/settings.toml`
  in the working directory. Paths in it are relative to it.
- **The environment**: each key has a variable, listed below. It holds for every table of that kind on the host.
- **Flags**: `--set TABLE.KEY=VALUE`, any number of times, for `fleetcast control`, `worker`, `region` and `agent`; for instance
  `--set control.port=7401`.

In a variable or flag, text and paths are written as they are, everything else as in the file: `true`, `2.5`,
`["a.pub", "b.pub"]`, `{ PORT = "8080" }`. `FLEETCAST_CONTROL_URL` and `FLEETCAST_TOKEN_FILE` are no settings: they tell the
[commands for people](cli.md) where control is and with which token to ask it.

A key nobody knows is refused with the nearest that exists, and so is a value that cannot work. Times are in seconds, and say so
in their names.

"""
TYPES = {
    "str": "text",
    "int": "integer",
    "float": "number",
    "bool": "true or false",
    "Path": "path",
    "tuple[Path, ...]": "list of paths",
    "tuple[str, ...]": "list of texts",
    "Mapping[str, str]": "table of texts",
    'Literal["auto", "required", "off"]': "auto, required or off",
}


def page() -> str:
    return HEAD + "\n".join(_section(name, kind) for name, kind in SECTIONS.items())


def _section(name: str, kind: type) -> str:
    header = f"[{name}]" if name == "control" else f"[[{name}]]"
    said = below_fields(kind)
    rows = [
        [
            f"`{field.name}`",
            TYPES.get(str(field.type), str(field.type)),
            _default(field),
            _variable(name, field.name),
            one_line(said.get(field.name, "")),
        ]
        for field in keys(kind)
    ]
    about = one_line(inspect.getdoc(kind) or "")
    return f"## `{header}`\n\n{about}\n\n{table(['key', 'type', 'default', 'variable', 'what it is'], rows)}"


def _variable(section: str, key: str) -> str:
    variable = f"FLEETCAST_{section.upper()}_{key.upper()}"
    return "none" if variable in NOT_SETTINGS else f"`{variable}`"


def _default(field: Field[object]) -> str:
    value = field.default_factory() if field.default_factory is not MISSING else field.default
    match value:
        case Path() if value == Path():
            return "empty"
        case Path():
            return f"`{value}`"
        case tuple():
            return f"`[{', '.join(chr(34) + str(item) + chr(34) for item in value)}]`"
        case Mapping():
            return "`{}`"
        case "":
            return "empty"
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return f"`{value}`"
        case int() | float():
            return f"`{value:g}`"
    raise TypeError(f"{field.name}: how is {value!r} shown?")
