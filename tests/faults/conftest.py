"""Processes are killed and stopped in states that are asserted at the moment of the hit. Figures at the end of the run say how
long it took from there to the deployment's end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum

import pytest

import victims
from company import Company


class Fault(StrEnum):
    KILLED = "killed"
    STOPPED = "stopped"


Strike = Callable[[Company, str, int], AbstractContextManager[None]]


@pytest.fixture(params=Fault)
def fault(request: pytest.FixtureRequest) -> Fault:
    found: Fault = request.param
    return found


@pytest.fixture
def strike(fault: Fault, figure: Callable[[], AbstractContextManager[None]]) -> Strike:
    """Around what is to happen while a process, stopped already, is away. Killed, it is away until the supervisor has started
    another; stopped, until the block ends. The time from the end of the block to the end of the test is a figure.
    """

    @contextmanager
    def striking(company: Company, name: str, pid: int) -> Iterator[None]:
        assert victims.stopped(pid)
        if fault is Fault.KILLED:
            victims.kill(pid)
            yield
            company.restarted(name, pid)
        else:
            yield
            assert victims.stopped(pid)
            victims.resume(pid)
            assert company.pid(name) == pid

    return striking


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], AbstractContextManager[None]]:
    @contextmanager
    def measuring(what: str) -> Iterator[None]:
        began_at = time.monotonic()
        yield
        record_property("figure", f"{what}: {time.monotonic() - began_at:.1f} s")

    return measuring


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for found in terminalreporter.stats.values() for report in found if isinstance(report, pytest.TestReport)]
    lines = [
        f"{report.nodeid.rpartition('/')[2]}  {value}"
        for report in reports
        if report.when == "call"
        for name, value in report.user_properties
        if name == "figure"
    ]
    if lines:
        terminalreporter.section("from the hit to the deployment's end")
        for line in sorted(lines):
            terminalreporter.write_line(line)
