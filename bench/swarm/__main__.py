"""``python -m bench.swarm``: see ``--help``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import signal
import sys
from collections.abc import Sequence

from bench.swarm.ours import deliver
from bench.swarm.place import NoRoom, place
from fleetcast.cli.demo.sizes import parse_size
from lab.company import Choices
from lab.errors import LabError
from lab.host import Host
from lab.payload import Payload

LOOPBACK_S_MAX = 900.0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.swarm", description=__doc__)
    parser.add_argument("--loopback", action="store_true", help="all on this machine's own network, without limits")
    parser.add_argument("--peers", type=int, default=8)
    parser.add_argument("--size", default="1GiB")
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    size_bytes = parse_size(asked.size)
    here = Host("hub", "127.0.0.1")
    machines = [Host(f"machine-{number}", "127.0.0.1") for number in range(1, asked.peers + 1)]
    with place(size_bytes * (asked.peers + 1)) as directory:
        told = deliver(directory / "company", here, here, machines, Payload(size_bytes, asked.files), LOOPBACK_S_MAX, Choices())
    print(json.dumps({"fleetcast": dataclasses.asdict(told)}))
    return 0


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupted)
    try:
        sys.exit(main(sys.argv[1:]))
    except (LabError, NoRoom) as error:
        sys.exit(f"bench.swarm: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
