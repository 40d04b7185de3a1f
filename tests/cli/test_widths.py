"""What people read in a terminal of 80 columns: rows stay whole, words too."""

from __future__ import annotations

import io
import random
import sys
from pathlib import Path

import pytest

from fleetcast.cli import settings as settings_command
from fleetcast.cli.status import deployments_table
from fleetcast.launch import installation
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports
from fleetcast.model.deployment import DeploymentState

from .test_picture import a_deployment

NARROW = 80


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def narrow(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    """Standard output from here to the end of the test."""
    shown = _Terminal()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setenv("COLUMNS", str(NARROW))
    monkeypatch.setenv("NO_COLOR", "1")
    return shown


def test_deployments_have_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch)
    deployment = a_deployment(DeploymentState.ROLLED_BACK, build_s=812.3, replicate_s=100.1, distribute_s=700.2)
    header, row = deployments_table([deployment], deployment.created_at_ms + 59 * 60_000).splitlines()
    assert max(len(header), len(row)) <= NARROW
    assert header.split() == ["WHEN", "KIND", "COMMIT", "STATE", "ACTIVE", "ID"]
    assert row.endswith(deployment.id)


def test_settings_break_no_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = free_ports(Blueprint.ports_needed(1, 1), "127.0.0.1", random.Random())
    file = installation.create(tmp_path / "data", Blueprint(1, ("local",), 1, ports))
    terminal = narrow(monkeypatch)
    settings_command.settings(about=True, settings=file)
    lines = terminal.getvalue().splitlines()
    assert "host = 127.0.0.1  (default)" in lines
    assert f"port = {ports[0]}" in " ".join(lines)
    assert "    Its id: 1 to 63 of a-z, 0-9 and -, of the whole fleet only one may have it." in lines
    too_long = [line for line in lines if len(line) > NARROW]
    assert all(str(tmp_path) in line for line in too_long), "a path that has no room stays whole"
