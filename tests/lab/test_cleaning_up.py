"""Nothing is left of a lab: not after an exception, not after a signal, and not for long after SIGKILL."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import victims
from lab import namespaces
from lab.network import Network
from lab.plan import HostPlan, Plan
from running import wait_until

REPOSITORY = Path(__file__).parents[2]
PLAN = Plan([HostPlan("one"), HostPlan("far", delay_ms=5)])
SLEEPING = ["sleep", "3600"]
LAB = f"""
import signal, subprocess, sys
from lab.network import Network
from lab.plan import HostPlan, Plan

# As a terminal has it: a shell has what it starts in the background ignore interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
with Network({PLAN!r}) as network:
    sleeper = subprocess.Popen(network.hosts["one"].command({SLEEPING!r}), stdout=subprocess.DEVNULL)
    print(sleeper.pid, flush=True)
    sys.stdin.read()
"""


def left_of(pid: int) -> list[str]:
    """Names of a process's namespaces."""
    return sorted(path.name for path in namespaces.PLACE.glob(f"fleetlab-{pid}-*"))


@contextmanager
def lab_of_another() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A program with a lab, in which another program sleeps, whose id is told."""
    with subprocess.Popen(
        [sys.executable, "-c", LAB], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            sleeper = int(process.stdout.readline())
            assert len(left_of(process.pid)) == 3
            yield process, sleeper
        finally:
            process.kill()


def test_after_an_exception() -> None:
    network = Network(PLAN)
    names = [network.hub.namespace, *(host.namespace for host in network.hosts.values())]
    with pytest.raises(ZeroDivisionError), network:  # noqa: PT012 -- where a lab ends is what this is about
        sleeper = subprocess.Popen(network.hosts["one"].command(SLEEPING))
        wait_until(lambda: sleeper.pid in namespaces.processes(names), "it runs in the lab")
        relayed = namespaces.processes([network.hub.namespace])
        assert relayed
        raise ZeroDivisionError
    assert sleeper.wait() == -signal.SIGKILL
    assert not any((namespaces.PLACE / name).exists() for name in names)
    assert not any(victims.alive(pid) for pid in relayed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_a_signal(number: signal.Signals) -> None:
    with lab_of_another() as (process, sleeper):
        process.send_signal(number)
        process.wait()
        assert left_of(process.pid) == []
        assert not victims.alive(sleeper)


def test_a_start_sweeps_what_a_killed_lab_left_and_nothing_else() -> None:
    with lab_of_another() as (living, spared), lab_of_another() as (process, sleeper):
        victims.kill(process.pid)
        assert len(left_of(process.pid)) == 3
        assert victims.alive(sleeper)
        with Network(PLAN):
            assert left_of(process.pid) == []
            assert not victims.alive(sleeper)
            assert len(left_of(living.pid)) == 3
            assert victims.alive(spared)


def test_two_labs_do_not_meet() -> None:
    with Network(PLAN) as one, Network(PLAN) as other:
        assert one.hosts["one"].address == other.hosts["one"].address
        assert one.hosts["one"].namespace != other.hosts["one"].namespace
