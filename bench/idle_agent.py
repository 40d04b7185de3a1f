"""What an agent costs a machine on which nothing happens: ``python -m bench.idle_agent --json``.

An installation of real processes over loopback; one machine runs one service of a release of many small files. Once that is
active and quiet, the agent alone is looked at: the memory it has resident, and the time it is on a processor by the kernel's
account, which others' load does not change.
"""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import program
from bench.swarm.place import place
from fleetcast.launch.settings import LOOPBACK
from lab.company import Company
from lab.errors import LabError
from lab.host import Host
from lab.payload import Payload

FILES: Final = 1000
FILE_BYTES: Final = 4096
SECONDS: Final = 300
SECONDS_MAX: Final = 24 * 3600
SETTLE_S: Final = 20
"""After the service is active: what follows from the deployment is over by then."""
MACHINE: Final = "machine-1"
_MIB: Final = 1 << 20


@dataclass(frozen=True)
class Asked:
    seconds: int
    files: int
    runs: int
    json: bool
    save: Path | None


def main(arguments: Sequence[str]) -> int:
    """Returns an exit code. Raises :class:`LabError`."""
    asked = _parse(arguments)
    command = ["python", "-m", "bench.idle_agent", "--seconds", str(asked.seconds), "--files", str(asked.files)]
    return program.finish(shlex.join(command), asked, measure(asked, program.teller()))


def measure(asked: Asked, say: Callable[[str], None]) -> dict[str, Any]:
    """The result as JSON has it. Raises :class:`LabError`."""
    wanted = Payload(asked.files * FILE_BYTES, files=asked.files, activate="exec sleep 1000000000")
    hosts = [Host(name, LOOPBACK) for name in ("hub", "origin", MACHINE)]
    with place(4 * wanted.size_bytes) as directory, Company(directory / "company", hub=hosts[0], origin=hosts[1]) as company:
        release = company.publish(wanted)
        company.join([hosts[2]])
        company.wait_until_succeeded(company.deploy(release))
        say(f"active: one service, {asked.files} files; measured from {SETTLE_S} s later, for {asked.seconds} s")
        time.sleep(SETTLE_S)
        agent = company.programs[f"agent-{MACHINE}"]
        before_s, began_s = agent.cpu_s(), time.monotonic()
        time.sleep(asked.seconds)
        agent.must_run()
        used_s, took_s = agent.cpu_s() - before_s, time.monotonic() - began_s
        told = {"rss_mib": round(agent.rss_bytes() / _MIB, 1), "cpu_percent": round(100 * used_s / took_s, 3)}
    say(f"{told['rss_mib']} MiB resident, {told['cpu_percent']} % of a core")
    return {"seconds": asked.seconds, "files": asked.files, **told}


def _parse(arguments: Sequence[str]) -> Asked:
    parser = argparse.ArgumentParser(prog="python -m bench.idle_agent", description="What an agent costs while it is idle.")
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"to look at it for; default {SECONDS}")
    parser.add_argument("--files", type=int, default=FILES, help=f"of the release; default {FILES}")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line of standard output")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write that object to a file, too")
    given = parser.parse_args(arguments)
    if not 1 <= given.seconds <= SECONDS_MAX:
        raise LabError(f"--seconds {given.seconds}: choose 1 to {SECONDS_MAX}")
    if not 1 <= given.files <= 1_000_000:
        raise LabError(f"--files {given.files}: choose 1 to 1000000")
    return Asked(given.seconds, given.files, 1, given.json, given.save)


if __name__ == "__main__":
    program.run("bench.idle_agent", main)
