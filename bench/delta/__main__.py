"""``python -m bench.delta``: see ``--help``."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bench import program
from bench.delta import asked, over_loopback
from bench.machine import machine


def main(arguments: Sequence[str]) -> int:
    """Returns an exit code. Raises :class:`LabError`."""
    wanted = asked.parse(arguments)
    told = over_loopback.measure(wanted, program.teller())
    result = {
        "command": asked.command(wanted),
        "machine": machine(),
        "runs": wanted.runs,
        "size_bytes": wanted.size_bytes,
        "machines": wanted.machines,
        **told,
    }
    if wanted.save is not None:
        wanted.save.write_text(json.dumps(result, indent=1) + "\n")
    if wanted.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    program.run("bench.delta", main)
