"""Services whose commands run as another user than the agent."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent.accounts import NoSuchAccount, account_of
from fleetcast.launch.ports import free_ports
from fleetcast.model.hooks import Hook

Agents = Callable[..., Any]
NOTE = 'echo "%s $(id -un):$(id -Gn) $HOME $(pwd)" >> "$FLEETCAST_DATA/%s";'


def test_who_runs_as_the_agent_does_needs_nothing() -> None:
    assert account_of("") is None
    assert account_of(pwd.getpwuid(os.geteuid()).pw_name) is None


def test_an_agent_that_is_not_root_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("daemon").pw_uid)
    with pytest.raises(NoSuchAccount) as refused:
        account_of("nobody")
    assert str(refused.value) == "it runs as user nobody, and the agent runs as daemon: run the agent as root, or as nobody"


async def test_a_user_whom_nobody_has_made_stops_nothing(region: Any, agents: Agents, tmp_path: Path) -> None:
    a = region.publish(tmp_path, {"x": "a"}, commit="a", activate="exec sleep 60")
    b = region.publish(tmp_path, {"x": "b"}, commit="b", activate="exec sleep 60", user="no-such-user")
    agent = agents()
    await agent.start()
    await region.reported(region.want(a, 1), "ACTIVE")
    report = await region.reported(region.want(b, 2, baseline=a), "FAILED")
    assert report.error == "it runs as user no-such-user, whom this machine does not have: create that user"
    assert report.running == a.ref
    assert agent.current() == a.files


if os.geteuid() == 0:

    @pytest.fixture
    def reachable() -> Iterator[Path]:
        """A directory that everybody may enter, as machines have one."""
        directory = Path(tempfile.mkdtemp())
        directory.chmod(0o755)
        yield directory
        shutil.rmtree(directory)

    async def test_all_commands_of_a_release_run_as_its_user(
        region: Any, reachable: Path, agents: Agents, tmp_path: Path
    ) -> None:
        port = free_ports(1, "127.0.0.1", random.Random())[0]
        a = region.publish(
            tmp_path,
            {"x": "a"},
            commit="a",
            user="nobody",
            sockets=(f"127.0.0.1:{port}",),
            activate=NOTE % ("activate", "who") + "echo hello > /dev/stdout; ! touch x && exec sleep 60",
            health=NOTE % ("health", "checks") + 'grep -q a "$FLEETCAST_RELEASE/x" && grep -q ^activate "$FLEETCAST_DATA/who"',
            hooks={name: Hook(NOTE % (name, "who")) for name in ("pre_fetch", "pre_activate", "post_activate")},
        )
        agent = agents(root=reachable / "m1")
        await agent.start()
        report = await region.reported(region.want(a, 1), "ACTIVE")
        assert report.error == ""
        nobody = pwd.getpwnam("nobody")
        data = agent.service() / "data"
        tree = agent.service() / "releases" / a.ref.digest / "tree"
        as_nobody = f"nobody:nogroup {nobody.pw_dir}"
        assert (data / "who").read_text().splitlines() == [
            f"pre_fetch {as_nobody} {data}",
            f"pre_activate {as_nobody} {tree}",
            f"activate {as_nobody} {tree}",
            f"post_activate {as_nobody} {tree}",
        ]
        assert set((data / "checks").read_text().splitlines()) == {f"health {as_nobody} {tree}"}
        assert {path.stat().st_uid for path in (data, data / "who")} == {nobody.pw_uid}
        assert (tree.stat().st_uid, (tree / "x").stat().st_mode & 0o777) == (0, 0o444)
        assert "hello" in (agent.service() / "log" / "service.log").read_text()
        with socket.create_connection(("127.0.0.1", port)):
            pass
        await agent.stop()

    async def test_a_directory_that_its_user_cannot_enter_is_named(region: Any, agents: Agents, tmp_path: Path) -> None:
        tmp_path.chmod(0o700)
        a = region.publish(tmp_path, {"x": "a"}, commit="a", user="nobody", activate="exec sleep 60")
        agent = agents()
        await agent.start()
        report = await region.reported(region.want(a, 1), "FAILED")
        assert "can't cd to" in report.error or "Permission denied" in report.error
