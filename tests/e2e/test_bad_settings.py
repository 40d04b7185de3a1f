"""Settings, ports and directories that cannot be used: each process says in one line which setting to change."""

from __future__ import annotations

import os
import random
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetcast.launch import installation, sweeper
from fleetcast.launch.installation import Blueprint
from fleetcast.launch.ports import free_ports

Check = Callable[..., str]
Command = Callable[..., Any]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Path]:
    """An installation that is not up; its settings file."""
    ports = free_ports(Blueprint.ports_needed(1, 1), "127.0.0.1", random.Random())
    yield installation.create(tmp_path / "fleetcast-data", Blueprint(1, ("local",), 1, ports))
    sweeper.end_processes(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[control\nport = 1", r"Expected '\]' at the end of a table declaration \(at line 1, column 9\)"),
        (b"[control]\nport = = 1", r"Invalid value \(at line 2, column 8\)"),
        (b"[control]\nport = '\xff'", "line 2: it is not UTF-8"),
        (b"[contrl]\nport = 1", "there is no table 'contrl': did you mean 'control'"),
        (b"[control]\nprot = 1", r"\[control\] has no setting 'prot': did you mean 'port'"),
        (b"[control]\nport = 'x'", "control.port: Expected `int`, got `str`"),
        (b"[control]\nport = 70000", "a port is a number up to 65535"),
        (b"[control]\nreaper_interval_s = nan", "control.reaper_interval_s is nan: it must be more than 0"),
        (b"[[control]]\n", r"control is written as \[control\]"),
        (b"[control]\n[control]\n", "line 2"),
        (b"[control]\n[[region]]\nname = 'A b'", "region 'A b' is not a legal name"),
        (b"[control]\n[[agent]]\nmachine = 'a'\n[[agent]]\nmachine = 'a'", "two ..agent.. tables are called 'a': rename one"),
        (b"[control]\n[[region]]\n[[region]]\n", "two ..region.. tables are called 'local': rename one"),
        (b"[control]\n[[worker]]\n[[worker]]\n", "two ..worker.. tables are called 'worker-1': rename one"),
    ],
)
def test_a_settings_file_that_cannot_be_used(command: Command, one_line: Check, made: Path, text: bytes, reason: str) -> None:
    made.write_bytes(text)
    line = one_line(command("up", str(made.parent)), 2, reason)
    assert str(made) in line or "legal name" in line
    assert not (made.parent / "control").exists(), "nothing was begun"


def test_a_setting_from_elsewhere_that_nobody_knows(command: Command, one_line: Check, made: Path) -> None:
    where = {"FLEETCAST_SETTINGS": str(made)}
    one_line(command("control", "--set", "control.prt=1", environ=where), 2, "--set control.prt=1", "did you mean 'port'")
    environ = {**where, "FLEETCAST_CONTROL_PROT": "1"}
    one_line(command("control", environ=environ), 2, "variable FLEETCAST_CONTROL_PROT", "did you mean 'port'")


def test_no_settings_file(command: Command, one_line: Check, tmp_path: Path) -> None:
    one_line(command("control", "--settings", str(tmp_path / "none.toml")), 3, "there is no settings file", "--settings FILE")
    one_line(command("control", "--settings", str(tmp_path)), 3, f"there is no settings file {tmp_path / 'settings.toml'}")
    (tmp_path / "settings.toml").mkdir()
    one_line(command("control", "--settings", str(tmp_path / "settings.toml")), 3, "settings.toml/settings.toml")
    one_line(command("status", environ={"FLEETCAST_SETTINGS": str(tmp_path / "none.toml")}), 3, "--settings FILE names another")


@pytest.mark.parametrize(
    ("table", "key", "setting"),
    [
        ("[control]", "port", "port of [control]"),
        ("[control]", "data_port", "data_port of [control]"),
        ("[[region]]", "port", "port of [[region]] local"),
        ("[[region]]", "data_port", "data_port of [[region]] local"),
    ],
)
def test_a_port_in_use(command: Command, one_line: Check, made: Path, table: str, key: str, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = made.read_text()
        head, tail = text.split(table)
        made.write_text(head + table + re.sub(rf"\n{key} = \d+", f"\n{key} = {port}", tail, count=1))
        done = command("up", str(made.parent))
    one_line(
        done, 4, f"cannot listen on 127.0.0.1:{port} .Address already in use.", re.escape(f"set {setting} to another port")
    )
    assert f"{setting} to another port in {made}" in done.stderr
    assert (done.stdout + done.stderr).count("cannot listen") == 1
    assert "services on the machines" not in done.stdout
    assert "Traceback" not in done.stdout + "".join(path.read_text() for path in (made.parent / "run").glob("*.log"))
    assert sweeper.processes_of(made.parent) == []


def test_a_peer_port_in_use(command: Command, one_line: Check, made: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("agent", "--settings", str(made), "--set", f"agent.peer_port={port}")
    words = [line for line in done.stderr.splitlines() if line.startswith("fleetcast: ")]
    assert (done.returncode, len(words)) == (4, 1)
    assert "set peer_port of [[agent]] local-1 to another port" in words[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("process", ["control", "worker", "region", "agent"])
def test_a_directory_that_cannot_be_made(command: Command, one_line: Check, made: Path, process: str) -> None:
    """In /proc nobody makes one, root neither."""
    one_line(command(process, "--settings", str(made), "--set", f"{process}.directory=/proc/no"), 4, "/proc/no", "setting")


@pytest.mark.parametrize("process", ["control", "worker", "region", "agent"])
def test_a_directory_that_is_read_only(command: Command, one_line: Check, made: Path, tmp_path: Path, process: str) -> None:
    """As an ordinary user; root is stopped by what is a file where a directory has to be."""
    place = tmp_path / "closed"
    if os.geteuid() == 0:
        place.write_text("")
    else:
        place.mkdir(mode=0o500)
    done = command(process, "--settings", str(made), "--set", f"{process}.directory={place}")
    words = [line for line in done.stderr.splitlines() if line.startswith("fleetcast: ")]
    assert (done.returncode in (4, 5), len(words)) == (True, 1), done.stderr
    assert str(place) in words[0]
    assert "Traceback" not in done.stderr


def test_an_installation_where_none_can_be(command: Command, one_line: Check, tmp_path: Path) -> None:
    one_line(command("up", "/proc/no"), 2, "cannot make an installation in /proc/no")
    (tmp_path / "file").write_text("")
    one_line(command("up", str(tmp_path / "file")), 2, "cannot make an installation in")
