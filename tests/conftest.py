"""What holds for every test."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="write the texts that tests compare with anew, to be looked at")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skip is not a pass: a run with one fails."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    left_out = [outcome for outcome in ("skipped", "xfailed", "xpassed") if reporter.stats.get(outcome)]
    if left_out and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(f"failed: {', '.join(left_out)} tests are not allowed here")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
