"""The command line of the sandbox, the environment in it, and the limits: decisions, and what bubblewrap makes of them."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fleetcast.model.build import Recipe
from fleetcast.model.errors import Refused
from fleetcast.model.ids import ArtifactName, BuildId, CommitSha, ServiceName, Token
from fleetcast.model.limits import MIB
from fleetcast.model.messages.builds import ClaimedBuild
from fleetcast.worker import sandbox_probe
from fleetcast.worker.building import ending
from fleetcast.worker.environment import build_environment, shown
from fleetcast.worker.process import serve
from fleetcast.worker.sandbox import BuildLimits, Places, Sandbox, Tools, sandboxed
from fleetcast.worker.usage import Usage, broken_limit

TOOLS = Tools(bwrap="/bwrap", prlimit="/prlimit", setpriv="/setpriv", env="/env")
PLACES = Places(tree="/w/a/tree", home="/w/a/home", scratch="/w/a/tmp", accounts="/w/a/accounts", mirror="/w/mirrors/x.git")


def command(sandbox: Sandbox, **environment: str) -> list[str]:
    return sandboxed(sandbox, PLACES, ["/bin/sh", "-c", "make"], slot=2, environment=environment, network=False)


def pairs(argv: list[str], option: str) -> list[str]:
    """What an option is followed by."""
    return [argv[place + 1] for place, word in enumerate(argv) if word == option]


def test_what_a_recipe_says_reaches_nothing_that_still_has_rights() -> None:
    argv = command(Sandbox(tools=TOOLS, uid_first=60_000, system=()), LD_PRELOAD="/build/tree/evil.so")
    assert "--clearenv" in argv
    inside = argv[argv.index("--") + 1 :]
    assert [word for word in inside if word in ("/prlimit", "/setpriv", "/env", "LD_PRELOAD=/build/tree/evil.so")] == [
        "/prlimit",
        "/setpriv",
        "/env",
        "LD_PRELOAD=/build/tree/evil.so",
    ]
    assert "--reuid=60002" in inside
    assert inside[-3:] == ["/bin/sh", "-c", "make"]


def test_secrets_are_covered_where_something_above_them_is_shown_and_only_there() -> None:
    sandbox = Sandbox(
        tools=TOOLS,
        uid_first=None,
        system=(("/usr", None),),
        readable=("/srv",),
        hidden_files=("/srv/key", "/srv/work/key", "/home/key", "/srvother/key"),
        hidden_directories=("/srv/work", "/home/work"),
    )
    argv = command(sandbox)
    covered = [argv[place + 2] for place, word in enumerate(argv) if word == "--ro-bind" and argv[place + 1] == "/dev/null"]
    assert covered == ["/srv/key"]
    assert "/srv/work" in pairs(argv, "--tmpfs")
    assert "/home/work" not in pairs(argv, "--tmpfs")
    # Covers lie over what is shown, and the mirror over a cover.
    assert argv.index("/srv") < argv.index("/srv/key") < argv.index("/w/mirrors/x.git")
    assert pairs(argv, "--remount-ro")[-2:] == ["/srv/work", "/"]


def test_the_sandbox_of_a_worker_that_is_not_root(tmp_path: Path) -> None:
    """The same as any user makes, seen from inside."""
    found = sandbox_probe.probe(readable=(tmp_path,), hidden_files=(tmp_path / "key",))
    assert found.sandbox is not None, found.says
    (tmp_path / "key").write_text("secret")
    sandbox = dataclasses.replace(found.sandbox, uid_first=None, hidden_files=(str(tmp_path / "key"),))
    place = tmp_path / "attempt"
    (place / "tree").mkdir(parents=True)
    home, scratch, accounts = sandbox_probe.prepare(place, None)
    places = Places(tree=str(place / "tree"), home=str(home), scratch=str(scratch), accounts=str(accounts))
    script = f"id -u; id -un; grep CapEff /proc/self/status; cat {tmp_path}/key; touch made; touch /run/x || echo closed"
    argv = sandboxed(sandbox, places, ["/bin/sh", "-c", script], slot=0, environment={"PATH": "/usr/bin"}, network=False)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.splitlines() == ["1000", "build", "CapEff:\t0000000000000000", "closed"], done.stderr
    assert (place / "tree" / "made").exists()


def test_a_host_without_bubblewrap_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_probe, "find_bwrap", lambda: None)
    found = sandbox_probe.probe()
    assert found.sandbox is None
    assert "install bubblewrap" in found.says


async def test_a_worker_that_must_have_a_sandbox_does_not_start_without(company: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_probe, "find_bwrap", lambda: None)
    required = dataclasses.replace(company.worker, sandbox="required")
    with pytest.raises(
        Refused, match=r"worker\.sandbox is required, and there is none: bwrap is not there: install bubblewrap"
    ):
        await serve(required, asyncio.Event(), lambda _: None)


def test_the_environment_is_declared_and_cannot_lie_about_the_build() -> None:
    claimed = ClaimedBuild(
        BuildId(7), Token("t"), 1, ArtifactName("web/c"), ServiceName("web"), CommitSha("c"), "/r", "main", Recipe(), 1, 1, 1
    )
    recipe = Recipe(build_environment={"MODE": "fast", "PROXY": "mine"})
    seen = build_environment(
        claimed, recipe, path="/bin", home="/h", scratch="/t", user="build", added={"PROXY": "theirs", "FLEETCAST_BUILD": "8"}
    )
    assert (seen["MODE"], seen["PROXY"], seen["FLEETCAST_BUILD"], seen["HOME"]) == ("fast", "mine", "7", "/h")
    assert shown({"B": "two words", "A": "x"}) == "A=x B='two words'"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (-9, "was ended by signal 9"),
        (3, "exited 3"),
        (128, "exited 128"),
        (137, "exited 137, as for what signal 9 has ended"),
        (255, "exited 255"),
    ],
)
def test_an_exit_code_is_told_as_it_is(code: int, says: str) -> None:
    assert ending(code) == says


@pytest.mark.parametrize(
    ("usage", "says"),
    [
        (Usage(9, 10 * MIB, 20 * MIB), None),
        (Usage(10, 0, 0), "10 processes and threads at a time, all it may (build_processes)"),
        (Usage(0, 10 * MIB + 1, 0), "more than the 10 MiB of memory it may (build_memory_bytes)"),
        (Usage(0, 0, 20 * MIB + 1), "more than the 20 MiB of disk it may (build_disk_bytes)"),
    ],
)
def test_a_broken_limit_is_named_with_its_setting(usage: Usage, says: str | None) -> None:
    said = broken_limit(usage, BuildLimits(10 * MIB, 10, 20 * MIB))
    assert (said is None) if says is None else (said is not None and said.endswith(says))
