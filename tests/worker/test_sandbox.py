"""Builds that try what they should not, each a real one of a real worker: what its user is told, and what the host notices."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fleetcast.artifacts.signing import load_public, verify_root
from fleetcast.model.build import Build, BuildStatus
from fleetcast.model.limits import MIB
from fleetcast.worker.sandbox import BuildLimits

RECIPE = """\
[build]
command = '''
{command}
'''
output = "out"
{more}
"""
MAKE = "mkdir out && echo hello > out/page"
LIMITS = BuildLimits(memory_bytes=256 * MIB, processes=48, disk_bytes=48 * MIB)


class Place:
    """A company whose worker runs builds in the sandbox, or not at all."""

    def __init__(self, company: Any, repository: Any, working: Any) -> None:
        self.company, self.repository, self._working = company, repository, working
        # The worker's own files, below something that its builds may see.
        self.worker = dataclasses.replace(
            company.worker, sandbox="required", build_limits=LIMITS, build_readable=(company.home,), secret_files=self._tokens()
        )

    def _tokens(self) -> tuple[Path, ...]:
        return tuple(self.company.home.glob("*.token"))

    async def build(self, command: str, more: str = "") -> tuple[Build, str]:
        """How a command ended, and what its log says."""
        commit = self.repository.commit({"fleetcast.toml": RECIPE.format(command=command, more=more), "page": "hello"})
        build = await self.company.order(self.repository, commit)
        async with self._working(self.worker):
            ended = await self.company.ended()
        return ended, await self.company.log(build)

    async def digest(self, build: Build) -> str:
        detail = await self.company.people.artifact(build.name)
        return verify_root(detail.envelope, [load_public(self.company.home / "worker.pub")]).digest


@pytest.fixture
def place(slow: Any, repository: Any, working: Any) -> Place:
    return Place(slow, repository, working)


@pytest.fixture
def server() -> Iterator[tuple[int, list[str]]]:
    """A port of this host, and who came."""
    came: list[str] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, address = listening.accept()
                except OSError:
                    return
                came.append(str(address))
                connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1], came
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def running(words: str) -> list[str]:
    """Command lines of this host's processes that contain some words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if words in line:
            found.append(line)
    return found


async def test_an_ordinary_build_works_and_its_log_says_how_it_ran(place: Place) -> None:
    command = (
        "test $(id -un) = build && test -w $HOME && echo x > $TMPDIR/x && git log -1 --format=%H && git status --short "
        f"&& echo said $MODE $CI && pwd && {MAKE}"
    )
    ended, log = await place.build(command, 'environment = { MODE = "fast" }')
    assert (ended.status, ended.reason) == (BuildStatus.SUCCEEDED, ""), log
    assert log.startswith("==> sandbox: bubblewrap; at most 256 MiB of memory, 48 processes and threads, 48 MiB of disk\n")
    assert f"\n{ended.commit_sha}\nsaid fast true\n/build/tree\n" in log
    environment = next(line for line in log.splitlines() if line.startswith("==> environment: "))
    assert " HOME=/build/home " in environment
    assert " MODE=fast " in environment
    assert "==> network: none" in log


async def test_it_sees_no_environment_but_the_declared(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_SECRET", "do-not-tell")
    place.worker = dataclasses.replace(place.worker, build_environment={"HTTPS_PROXY": "http://proxy"})
    ended, log = await place.build(f"env; cat /proc/*/environ | tr '\\0' '\\n'; {MAKE}")
    assert ended.status is BuildStatus.SUCCEEDED, log
    assert "do-not-tell" not in log
    assert "\nHTTPS_PROXY=http://proxy\n" in log


async def test_it_cannot_read_the_workers_credentials(place: Place) -> None:
    secrets = [place.worker.signing_key, *place.worker.secret_files]
    names = " ".join(map(str, secrets))
    home, workspace = place.company.home, place.worker.workspace
    # The company's directory is shown to it: without that it would not even see that there is one.
    command = (
        f"test -d {home}; wc -c {names}; cat {names}; find {workspace} -name claim; cat {workspace}/attempts/*/claim; {MAKE}"
    )
    ended, log = await place.build(command)
    assert ended.status is BuildStatus.SUCCEEDED, log
    assert len(secrets) > 1
    for secret in secrets:
        assert secret.read_text().strip().splitlines()[-1] not in log
        assert secret.stat().st_size > 0
    assert "attempts/*/claim': No such file" in log
    assert '"token"' not in log


async def test_it_has_no_network_unless_it_declares_one(place: Place, server: tuple[int, list[str]]) -> None:
    port, came = server
    command = f"git ls-remote git://127.0.0.1:{port}/x; test $? = 128 && exit 3"
    ended, log = await place.build(command)
    assert (ended.status, ended.reason) == (BuildStatus.FAILED, "the build command exited 3: its log says why")
    assert "==> network: none (the recipe can declare it: network = true)" in log
    assert came == []

    _, log = await place.build(command, "network = true")
    assert "==> network: the worker's, as its recipe declares" in log
    assert len(came) == 1


async def test_it_cannot_fill_the_disk(place: Place) -> None:
    # Bounded, should nobody stop it: 400 MB.
    command = "for i in $(seq 100); do head -c 4000000 /dev/zero > $HOME/$i; done; exec sleep 1000"
    ended, log = await place.build(command)
    assert (ended.status, ended.reason) == (
        BuildStatus.FAILED,
        "the build command wrote more than the 48 MiB of disk it may (build_disk_bytes)",
    )
    assert f"==> failed: {ended.reason}" in log
    assert list((place.worker.workspace / "attempts").iterdir()) == []


async def test_one_file_cannot_grow_beyond_the_limit_either(place: Place) -> None:
    ended, log = await place.build(f"head -c 400000000 /dev/zero > big; echo and $?; stat -c %s big; {MAKE}")
    assert f"\n{LIMITS.disk_bytes}\n" in log
    assert ended.status in (BuildStatus.SUCCEEDED, BuildStatus.FAILED)


async def test_it_cannot_fork_without_end(place: Place) -> None:
    # Bounded, should nobody stop it: 300 processes that do nothing. A bash that cannot fork tries again for some seconds.
    command = "exec bash -c 'for i in $(seq 300); do sleep 1000.25 & done; wait'"
    ended, _ = await place.build(command)
    assert (ended.status, ended.reason) == (
        BuildStatus.FAILED,
        "the build command had 48 processes and threads at a time, all it may (build_processes)",
    )
    assert running("sleep 1000.25") == []


async def test_it_cannot_take_all_memory(place: Place) -> None:
    # Bounded, should nobody stop it: 540 MB, in pieces each of which a process may have.
    piece = "dd if=/dev/zero bs=90M count=1 2> /dev/null | sleep 1000.5"
    ended, _ = await place.build(f"for i in 1 2 3 4 5 6; do {piece} & done; wait")
    assert (ended.status, ended.reason) == (
        BuildStatus.FAILED,
        "the build command used more than the 256 MiB of memory it may (build_memory_bytes)",
    )
    assert running("sleep 1000.5") == []


async def test_it_leaves_no_process_behind(place: Place) -> None:
    command = f"env -i setsid sh -c 'exec > /dev/null 2>&1; sleep 1000.75 & exec sleep 1000.75' & {MAKE}; sleep 0.1"
    ended, log = await place.build(command)
    assert ended.status is BuildStatus.SUCCEEDED, log
    assert running("sleep 1000.75") == []


async def test_it_cannot_write_outside(place: Place, tmp_path: Path) -> None:
    places = [
        tmp_path,
        place.company.home,
        place.worker.workspace,
        Path("/usr"),
        Path("/etc"),
        Path("/"),
        Path("/dev"),
        Path("/run"),
    ]
    mirror = "$(git rev-parse --git-common-dir)"
    tries = f"for p in {' '.join(map(str, places))} {mirror}; do echo x > $p/written && echo wrote $p; done"
    command = f"{tries}; echo x > /tmp/mine; {MAKE}"
    place.worker = dataclasses.replace(place.worker, build_readable=(tmp_path,))
    ended, log = await place.build(command)
    assert ended.status is BuildStatus.SUCCEEDED, log
    assert "wrote" not in log.partition("/written && ")[2].partition("\n")[2]
    assert not [path for path in places if (path / "written").exists()]
    assert not Path("/tmp/mine").exists()


async def test_its_output_is_the_same_file_by_file_as_without_a_sandbox(place: Place) -> None:
    command = f"{MAKE} && ln -s page out/link && chmod +x out/page"
    ended, log = await place.build(command)
    assert ended.status is BuildStatus.SUCCEEDED, log
    inside = await place.digest(ended)
    place.worker = dataclasses.replace(place.worker, sandbox="off")
    ended, log = await place.build(f"{command} ")
    assert log.startswith(
        "==> NO SANDBOX: this build can do on the worker's host whatever the worker can (worker.sandbox is off)"
    )
    assert inside == await place.digest(ended)


async def test_it_has_no_rights_whoever_its_worker_is(place: Place) -> None:
    ended, log = await place.build(f"grep -E '^(Cap|NoNewPrivs)' /proc/self/status; cat /etc/shadow; id -u; {MAKE}")
    assert ended.status is BuildStatus.SUCCEEDED, log
    assert "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000" in log
    assert "NoNewPrivs:\t1\n" in log
    assert "/etc/shadow: No such file" in log
    assert "\n0\n" not in log
