"""Processes are killed and stopped in states that are asserted at the moment of the hit. Figures at the end of the run say how
long it took from there to the deployment's end."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import Protocol

import pytest

import victims
from company import Company

TEST_S_MAX = 300


class Fault(StrEnum):
    KILLED = "killed"
    STOPPED = "stopped"


class Strike(Protocol):
    def __call__(
        self, company: Company, name: str, pid: int, still: Callable[[], bool], pause_s: float = 3.0
    ) -> AbstractContextManager[None]: ...


@pytest.fixture(autouse=True)
def _watched(company: Company) -> Iterator[None]:
    """Whatever happens, no machine is without its service; and nothing is held up for the next test."""
    with company.watched():
        yield
        company.recover()


@pytest.fixture(params=Fault)
def fault(request: pytest.FixtureRequest) -> Fault:
    found: Fault = request.param
    return found


@pytest.fixture
def strike(fault: Fault) -> Strike:
    """Around what is to happen while a process is away that was stopped in the state ``still``. Killed, it is away until the
    supervisor has started another; stopped, for ``pause_s``, at the end of which ``still`` holds too.
    """

    @contextmanager
    def striking(company: Company, name: str, pid: int, still: Callable[[], bool], pause_s: float = 3.0) -> Iterator[None]:
        assert victims.stopped(pid)
        assert still()
        if fault is Fault.KILLED:
            victims.kill(pid)
            yield
            company.restarted(name, pid)
        else:
            yield
            time.sleep(pause_s)
            assert victims.stopped(pid)
            assert still()
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


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("timeout") is None:
        item.add_marker(pytest.mark.timeout(TEST_S_MAX))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What every process said last, when a test has failed: its directory is gone afterwards."""
    report = yield
    company = getattr(item, "funcargs", {}).get("company")
    if report.failed and isinstance(company, Company):
        report.sections += [(f"log of {name}", company.last_words(name)) for name in company.names()]
    return report


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
