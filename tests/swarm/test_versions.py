"""Peers of other versions, each a process of its own: one apart they exchange pieces, two apart they say whom to upgrade."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import swarm_process
from swarm_process import Order

HERE = 3
"""What the dialler speaks."""


@contextmanager
def peer(order: Order) -> Iterator[Any]:
    """What it says, while it runs."""
    program = [sys.executable, swarm_process.__file__]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(pickle.dumps(order))
            process.stdin.flush()
            yield json.loads(process.stdout.readline())
            process.stdin.close()
            assert process.wait(30) == 0
        finally:
            process.kill()


def meet(world: Any, artifact: Any, theirs: int) -> Any:
    """What the dialler says of a fetch from a holder that speaks ``theirs``."""
    key, ticket = world.region.ticket_key, world.ticket(artifact, "dialler")
    release = world.release(artifact, "release")
    with (
        peer(Order(theirs, artifact.root, release, key)) as holder,
        peer(Order(HERE, artifact.root, world.directory / "out", key, ticket, holder["port"])) as dialler,
    ):
        return dialler


@pytest.mark.parametrize("theirs", [HERE - 1, HERE, HERE + 1])
def test_one_version_apart_they_exchange_pieces(world: Any, theirs: int) -> None:
    artifact = world.artifact()
    assert meet(world, artifact, theirs) == {"done": True, "alarms": []}
    world.assert_release(artifact, "out")


@pytest.mark.parametrize(("theirs", "older"), [(HERE - 2, "holder"), (HERE + 2, "this agent")])
def test_two_versions_apart_it_is_said_whom_to_upgrade(world: Any, theirs: int, older: str) -> None:
    line = f"holder speaks protocol {theirs}, this agent {HERE}: upgrade {older}"
    assert meet(world, world.artifact(), theirs) == {"done": False, "alarms": [line]}
