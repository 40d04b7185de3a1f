"""``make test-api``: schemathesis against the document of a running API, with the token of each route's audience.

All that it can check is checked, on every operation (``schemathesis.toml`` says what deviates, and why). Fails on any failure
and error, and when a deployment does not succeed afterwards.

Asks the same things every time, so that what fails is what was changed; to look further, ``python tests/api --seed N``
with any other number.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from installation import Installation, running

from fleetcast.cli.demo.repository import Commit
from fleetcast.http.tokens import Role

HERE = Path(__file__).parent
SEED = 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-time", type=int, default=120, help="seconds that schemathesis may take")
    parser.add_argument("--seed", type=int, default=SEED, help="what is made up at random begins with it")
    parser.add_argument("rest", nargs="*", help="handed on to schemathesis, after --")
    chosen = parser.parse_args()
    with running() as installation:
        first, second, third = installation.commits
        asyncio.run(_deploy(installation, first, second))
        failed = _schemathesis(installation, chosen.max_time, ["--seed", str(chosen.seed), *chosen.rest])
        asyncio.run(_deploy(installation, third, put_in_order=True))
    return failed


async def _deploy(installation: Installation, *commits: Commit, put_in_order: bool = False) -> None:
    if put_in_order:
        await installation.put_in_order()
    for commit in commits:
        deployment = await installation.deployed(commit)
        print(f"deployment {deployment.id} SUCCEEDED", flush=True)


def _schemathesis(installation: Installation, max_time_s: int, rest: Sequence[str]) -> int:
    known = asyncio.run(installation.known())
    config = installation.directory / "schemathesis.toml"
    config.write_text((HERE / "schemathesis.toml").read_text() + _dictionaries(known))
    program = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run"]
    options = ["--max-time", str(max_time_s), "--generation-database", ":memory:", *rest]
    tokens = {role.upper(): installation.token(role) for role in (Role.ADMIN, Role.WORKER, Role.REGION)}
    return subprocess.run(
        [*program, *options, f"{installation.url}/v1/openapi.json"],
        cwd=installation.directory,
        env={**os.environ, **tokens, "HOOKS": str(HERE / "hooks.py")},
        check=False,
    ).returncode


def _dictionaries(known: Mapping[str, Sequence[str | int]]) -> str:
    return "\n[dictionaries]\n" + "".join(f"{kind} = {{ values = {json.dumps(values)} }}\n" for kind, values in known.items())


if __name__ == "__main__":
    sys.exit(main())
