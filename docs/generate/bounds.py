"""``limits.md``: every bound of ``model/limits/``, by the part of the system it is for."""

from __future__ import annotations

import ast
import inspect
import re

from sources import documented, one_line, table

from fleetcast.model import limits
from fleetcast.model.limits import (
    artifacts,
    backups,
    builds,
    checks,
    fleet,
    holds,
    http,
    machines,
    processes,
    pushes,
    retention,
    stores,
    swarm,
    webhooks,
)

PARTS = (
    artifacts,
    stores,
    builds,
    pushes,
    webhooks,
    fleet,
    holds,
    checks,
    retention,
    swarm,
    machines,
    processes,
    http,
    backups,
)
HEAD = """# Limits

Everything in Fleetcast has a bound. These are all of them, with the unit in the name. Those that an operator may choose are
[settings](settings.md) and have their default from here; the others are in the program.

"""
UNITS = (("GB", 1000**3), ("TiB", limits.TIB), ("GiB", limits.GIB), ("MiB", limits.MIB), ("KiB", limits.KIB))


def page() -> str:
    sections: dict[str, list[list[str]]] = {}
    for part in PARTS:
        source = inspect.getsource(part)
        said = dict(documented(ast.parse(source).body))
        heading = ""
        for line in source.splitlines():
            if found := re.match(r"# (.+)", line):
                heading = found[1].rstrip(".")
            elif found := re.match(r"([A-Z][A-Z0-9_]*): Final", line):
                name = found[1]
                rows = sections.setdefault(heading, [])
                rows.append([f"`{name}`", _shown(name, getattr(limits, name)), one_line(said[name])])
    every = {f"`{name}`" for name in vars(limits) if name.isupper()} - {"`KIB`", "`MIB`", "`GIB`", "`TIB`"}
    assert every == {row[0] for rows in sections.values() for row in rows}, "a part of limits/ is missing in PARTS"
    return HEAD + "\n".join(f"## {title}\n\n{table(['bound', 'value', 'what of'], rows)}" for title, rows in sections.items())


def _shown(name: str, value: float) -> str:
    if "BYTES" in name:
        per_second = "/s" if name.endswith("_PER_S") else ""
        for unit, size in UNITS:
            if value >= size and value % size == 0:
                return f"{value // size:g} {unit}{per_second}"
        return f"{value:,} bytes{per_second}"
    if re.search(r"_MS(_|$)", name):
        return f"{value:g} ms"
    if re.search(r"_S(_|$)", name) and "_PER_" not in name:
        return f"{value:g} s" if value < 3600 or value % 3600 else f"{value / 3600:g} h"
    return f"{value:,}"
