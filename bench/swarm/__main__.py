"""``python -m bench.swarm``: see ``--help``."""

from __future__ import annotations

from collections.abc import Sequence

from bench import program
from bench.swarm import asked, in_the_lab, over_loopback


def main(arguments: Sequence[str]) -> int:
    """Returns an exit code. Raises :class:`LabError`."""
    wanted = asked.parse(arguments)
    measure = over_loopback.measure if wanted.loopback else in_the_lab.measure
    return program.finish(asked.command(arguments), wanted, {**program.sizes(wanted), **measure(wanted, program.teller())})


if __name__ == "__main__":
    program.run("bench.swarm", main)
