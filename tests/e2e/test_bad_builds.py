"""Commits, builds and outputs that cannot work, from the command line: what is said, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import http.server
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fleetcast.client.control import ControlClient
from fleetcast.http.tokens import Role, load, token_path
from fleetcast.model.build import Recipe
from fleetcast.model.ids import ServiceName
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.worker import leftovers

Check = Callable[..., str]

FEWER = """
import fleetcast.model.limits as limits
limits.ARTIFACT_ENTRIES_MAX = 200
"""
NAME = b"d" * 200
TREE = "mkdir out && echo 1 > out/a && cd out && "


@pytest.fixture(scope="module")
def place(start_place: Callable[..., Any]) -> Any:
    return start_place(control={"build_command_s_max": 12.0}, patch=FEWER)


@pytest.fixture(scope="module")
def repository(place: Any, make_repository: Callable[..., Any]) -> Any:
    made = make_repository(place.directory.parent / "web")
    made.commit({"README": "nothing to see"})
    return made


@pytest.fixture(autouse=True, scope="module")
def well_afterwards(place: Any, until: Callable[..., None]) -> Iterator[None]:
    """Whatever was tried: a good commit goes through, no attempt left anything, and no process wrote a traceback."""
    yield
    place.good("afterwards")
    attempts = place.directory / "workers" / "worker-1" / "attempts"
    until(lambda: not list(attempts.iterdir()), "nothing is left of any attempt")
    assert leftovers._started_in(place.directory / "workers") == set()
    assert place.tracebacks() == []


_services = iter(range(1000))


def build(place: Any, repository: Any, command: str, output: str = "out") -> Any:
    """Deploy a commit of a new service that builds by ``command``."""
    service = added(place, str(repository.path), build=command, output=output)
    return place.fleetcast("deploy", f"{service}@{repository.git('rev-parse', 'HEAD')}")


def added(place: Any, repository: str, *, trunk: str = "main", output: str | None = "README", build: str | None = None) -> str:
    """A new service. Not by the command line: it is there for what comes next, and there are dozens."""

    async def put(service: ServiceName) -> None:
        token = load(token_path(place.directory / "secrets", Role.ADMIN))
        async with ControlClient(place.url, token) as control:
            await control.put_service(ServiceSpec(service, repository, trunk, recipe=Recipe(build=build, output=output)))

    service = ServiceName(f"web-{next(_services)}")
    asyncio.run(put(service))
    return service


class TestCommits:
    def test_a_commit_that_is_nowhere(self, place: Any, repository: Any, failed: Check) -> None:
        service = added(place, str(repository.path))
        failed(place.fleetcast("deploy", f"{service}@{'0' * 40}"), "has no commit 0000", "push it, then deploy again")

    def test_a_commit_that_is_not_on_the_trunk(self, place: Any, repository: Any, failed: Check) -> None:
        service = added(place, str(repository.path))
        repository.git("checkout", "--quiet", "--detach")
        loose = repository.commit({"README": "not merged"})
        repository.git("checkout", "--quiet", "main")
        failed(place.fleetcast("deploy", f"{service}@{loose}"), "is not on main: merge it, or deploy with --allow-unmerged")
        done = place.fleetcast("deploy", f"{service}@{loose}", "--allow-unmerged")
        assert (done.returncode, done.stderr) == (0, "")

    def test_a_trunk_that_is_not_there(self, place: Any, repository: Any, failed: Check) -> None:
        service = added(place, str(repository.path), trunk="nosuch")
        done = place.fleetcast("deploy", f"{service}@{repository.git('rev-parse', 'HEAD')}")
        failed(done, "has no branch 'nosuch' .it has: main.: fleetcast service add ... --trunk main")


class TestRepositories:
    SHA: ClassVar = "1" * 40

    def test_no_such_path(self, place: Any, failed: Check) -> None:
        service = added(place, "/nowhere/at/all")
        failed(place.fleetcast("deploy", f"{service}@{self.SHA}"), "no repository /nowhere/at/all", "correct the path")

    def test_a_directory_that_is_no_repository(self, place: Any, failed: Check, tmp_path: Path) -> None:
        service = added(place, str(tmp_path))
        failed(place.fleetcast("deploy", f"{service}@{self.SHA}"), f"no git repository at {tmp_path}: correct the service's")

    def test_an_empty_repository(self, place: Any, failed: Check, tmp_path: Path, make_repository: Callable[..., Any]) -> None:
        service = added(place, str(make_repository(tmp_path / "empty").path))
        failed(place.fleetcast("deploy", f"{service}@{self.SHA}"), "has no commit", "push it, then deploy again")

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/web.git", "ssh://git@127.0.0.1:1/web.git"])
    def test_an_address_where_nobody_answers(self, place: Any, failed: Check, url: str) -> None:
        """It may answer later: tried as often as a build may be, and then that is the end."""
        service = added(place, url)
        line = failed(place.fleetcast("deploy", f"{service}@{self.SHA}"), "see that the worker's machine can reach it")
        assert line.count("attempt 3 of 3") == 1

    @pytest.mark.parametrize("who", ["", "me:pa55word@"])
    def test_a_repository_that_asks_for_a_password(self, place: Any, failed: Check, who: str) -> None:
        class Closed(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic realm=web")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Closed) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                service = added(place, f"http://{who}127.0.0.1:{server.server_port}/web.git")
                done = place.fleetcast("deploy", f"{service}@{self.SHA}")
            finally:
                server.shutdown()
                thread.join()
        failed(done, "asks for credentials", "give the worker's user a key or a credential helper")
        assert "attempt 2" not in done.stdout, "asking again changes nothing"
        assert "pa55word" not in done.stdout + done.stderr + place.log("worker-1") + place.log("control")


class TestCommands:
    def test_one_that_fails(self, place: Any, repository: Any, failed: Check) -> None:
        done = build(place, repository, "for n in $(seq 30); do echo line $n; done; echo no compiler here >&2; exit 3")
        failed(done, "the build command exited 3")
        lines = done.stderr.splitlines()
        assert re.search(r"the last lines of build \d+, all of them with: fleetcast logs \d+$", lines[0])
        assert "  no compiler here" in lines
        assert "  line 30" in lines
        assert "  line 1" not in lines, "not all of it"
        assert "the build command exited 3" in lines[-2]
        assert re.fullmatch(r"to look into it: fleetcast status [0-9a-f]{16}, fleetcast logs \d+", lines[-1])

    def test_its_failure_as_json_is_nothing_but_json(self, place: Any, repository: Any) -> None:
        service = added(place, str(repository.path), build="exit 7", output="out")
        done = place.fleetcast("deploy", f"{service}@{repository.git('rev-parse', 'HEAD')}", "--json")
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (1, "", 1)
        assert "the build command exited 7" in done.stdout

    def test_one_that_is_killed(self, place: Any, repository: Any, failed: Check) -> None:
        failed(build(place, repository, "kill -SEGV $$"), "signal 11")

    def test_one_that_takes_too_long(self, place: Any, repository: Any, failed: Check) -> None:
        done = build(place, repository, "echo begun; sleep 1000")
        failed(done, "the build command took longer than the 12 s it may")
        assert "  begun" in done.stderr.splitlines()

    def test_one_that_floods_its_log(self, place: Any, repository: Any, failed: Check) -> None:
        """Bounded, and what it said last is there."""
        done = build(place, repository, "yes flood | head -c 80000000; echo; echo the reason; exit 1")
        failed(done, "the build command exited 1")
        assert "  the reason" in done.stderr.splitlines()
        number = re.search(r"logs (\d+)", done.stderr)
        assert number is not None
        log = place.fleetcast("logs", number[1]).stdout
        assert len(log) <= 64 << 20
        assert log.count("==> the log is too long: only its end is kept from here on") == 1
        assert log.splitlines()[-2] == "the reason"

    def test_one_that_prints_what_a_terminal_obeys(self, place: Any, repository: Any, failed: Check) -> None:
        rude = r"printf '\033[31mred\033[0m \033]0;\164itle\007\033[2J\0\r\n\302\233x \377\376 50%%\r100%%\n'; exit 1"
        done = build(place, repository, rude)
        failed(done, "exited 1")
        number = re.search(r"logs (\d+)", done.stderr)
        assert number is not None
        for text in (done.stderr, place.fleetcast("logs", number[1]).stdout):
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text), text
            assert "red" in text
            assert "title" not in text
            assert "\ufffd" in text, "bytes that are no text are marked as such"
            assert re.search("50%\n *100%", text)

    def test_one_that_leaves_processes_behind(self, place: Any, repository: Any) -> None:
        """In its group, in a session of their own, holding on to its output: none survives the attempt."""
        done = build(
            place, repository, "sleep 1000 & setsid sleep 1000 & setsid sh -c 'trap \"\" TERM; sleep 1000' & echo 1 > out"
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert leftovers._started_in(place.directory / "workers") == set()


def deep(levels: int) -> str:
    """A command that makes directories in directories, and a file below: no shell goes that deep."""
    step = f"(os.mkdir('{NAME.decode()}'), os.chdir('{NAME.decode()}'))"
    return f"python3 -c \"import os; [{step} for _ in range({levels})]; open('f', 'w').write('1')\""


OUTPUTS = [
    ("true", "there is no 'out': does the build command make it"),
    ("rm -rf ../tree", "there is no 'out'|there is no 'tree'|exited 1"),
    ("mkdir out", "'out' is empty"),
    (": > out", "'out' is empty"),
    ("ln -s /etc out", "'out' leads out of the repository"),
    ("ln -s .. out", "'out' leads out of the repository"),
    ("ln -s out out", "'out' is a symlink that leads back to itself"),
    ("mkfifo out", "'out' is a device, socket or pipe"),
    (TREE + "mkfifo f", "'f' is a device, socket or pipe"),
    (TREE + "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'", "'s' is a device, socket or pipe"),
    (TREE + "ln -s /dev/null n", "absolute path '/dev/null'"),
    (TREE + "chmod u+s a", "'a' is setuid or setgid"),
    (TREE + "chmod g+s a", "'a' is setuid or setgid"),
    (TREE + "ln -s nowhere l", "'l' is a symlink to 'nowhere', which is not inside"),
    (TREE + "ln -s /etc/passwd l", "'l' is a symlink to the absolute path '/etc/passwd'"),
    (TREE + "ln -s ../../x l", "'l' is a symlink to '../../x', which is not inside"),
    (TREE + "ln -s m l && ln -s l m", "'l' is a symlink to 'm'"),
    (TREE + "for n in $(seq 250); do : > $n; done", "more than the 200 entries"),
    ("truncate -s 11G out", "11811160064 bytes are more than the 10000000000"),
    (
        f"mkdir out && cd out && {deep(25)}",
        "has more than the 4095 bytes a path may have",
    ),
]
if os.geteuid() == 0:
    OUTPUTS.append((TREE + "mknod null c 1 3", "'null' is a device, socket or pipe|exited 1"))
else:  # root may read everything
    OUTPUTS.append((TREE + "chmod 0 a", "'a' cannot be read: give its owner the right to"))
    OUTPUTS.append((TREE + "mkdir d && chmod 0 d", "'d' cannot be read: give its owner the right to"))


class TestOutputs:
    @pytest.mark.parametrize(("command", "reason"), OUTPUTS)
    def test_one_that_cannot_be_an_artifact(
        self, place: Any, repository: Any, failed: Check, command: str, reason: str
    ) -> None:
        done = build(place, repository, command)
        line = failed(done, reason)
        assert str(place.directory) not in line, "where the worker happened to build is nobody's business"
        assert "attempt 2" not in done.stdout, "it is the build's fault: nobody tries again"

    @pytest.mark.parametrize("output", ["../web", "a/../../b", "/etc/passwd", ""])
    def test_one_that_is_named_outside(self, place: Any, repository: Any, failed: Check, output: str) -> None:
        failed(build(place, repository, "true", output), "must be a path inside the repository, without '..'")

    def test_names_that_are_no_text_and_long_paths_arrive_as_they_are(self, place: Any, repository: Any) -> None:
        names = "import os; open(b'out/\\xff\\xfe\\n\\x1b[2J', 'w').write('1'); os.link(b'out/a', b'out/b')"
        done = build(place, repository, f'mkdir out && echo 1 > out/a && python3 -c "{names}" && cd out && {deep(19)}')
        assert (done.returncode, done.stderr) == (0, "")
        service = done.stdout.split()[1].partition("@")[0]
        tree = os.fsencode(place.directory / "machines/local-1/services/production" / service / "current")
        top = os.open(tree, os.O_RDONLY)
        try:
            assert sorted(entry.name for entry in os.scandir(top)) == sorted(
                map(os.fsdecode, (b"\xff\xfe\n\x1b[2J", b"a", b"b", NAME))
            )
            assert os.stat(b"/".join([NAME] * 19) + b"/f", dir_fd=top).st_size == 1
            assert os.stat("a", dir_fd=top).st_nlink == 1, "hard links become files"
        finally:
            os.close(top)


RECIPES = [
    (b"[build\noutput = 1", r"fleetcast.toml, line 1, column 7: Expected '\]' at the end of a table declaration"),
    (b"[build]\noutput = = 1", "fleetcast.toml, line 2, column 10: Invalid value"),
    (b'[build]\ncomand = "make"', "line 2: unknown name 'comand' in .build.: did you mean 'command'"),
    (b"[biuld]\n", "line 1: unknown name 'biuld': did you mean 'build'"),
    (b"[build]\noutput = 7", "line 2: output must be text in quotes"),
    (b'[run]\nhealth_timeout_s = "soon"', "line 2: health_timeout_s must be a number of seconds"),
    (b"build = 7", r"line 1: build must be a table: write \[build\]"),
    (b"[build]\noutput = '\xff'", "line 2: it is not UTF-8"),
    (b"# " + b"x" * 70_000, "has 70002 bytes, at most 65536"),
    (b"", "has no .build. output at this commit"),
]


class TestRecipes:
    @pytest.mark.parametrize(("text", "reason"), RECIPES)
    def test_a_fleetcast_toml_that_cannot_be_used(
        self, place: Any, repository: Any, failed: Check, text: bytes, reason: str
    ) -> None:
        service = added(place, str(repository.path), output=None)
        sha = repository.commit({"fleetcast.toml": text})
        failed(place.fleetcast("deploy", f"{service}@{sha}"), reason)

    def test_one_that_leads_out_of_the_repository(self, place: Any, repository: Any, failed: Check, tmp_path: Path) -> None:
        service = added(place, str(repository.path), output=None)
        (tmp_path / "secret.toml").write_text("password = 'pa55word'")
        (repository.path / "fleetcast.toml").unlink(missing_ok=True)
        (repository.path / "fleetcast.toml").symlink_to(tmp_path / "secret.toml")
        line = failed(place.fleetcast("deploy", f"{service}@{repository.commit({})}"), "is a symlink: commit the file itself")
        assert "password" not in line

    def test_none_at_all(self, place: Any, repository: Any, failed: Check) -> None:
        service = added(place, str(repository.path), output=None)
        (repository.path / "fleetcast.toml").unlink(missing_ok=True)
        done = place.fleetcast("deploy", f"{service}@{repository.commit({})}")
        failed(done, "fleetcast.toml does not exist at this commit: commit one, or say --output PATH")
