"""Services that are asked whether they are well: over HTTP, by a connection, by a command; and again and again."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fleetcast.agent.probing import HealthCheck, attempt
from fleetcast.launch.ports import free_ports
from fleetcast.model.probe import Probe

Until = Callable[[Callable[[], bool]], Awaitable[None]]
Agents = Callable[..., Any]

# Answers 200 while its data has a file "well", otherwise 503 with a reason; notes each of its starts.
PROGRAM = """
import http.server, os, sys
data = os.environ["FLEETCAST_DATA"]
with open(f"{data}/starts", "a") as starts:
    print(os.getpid(), file=starts)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        well = os.path.exists(f"{data}/well")
        self.send_response(200 if well else 503)
        self.end_headers()
        self.wfile.write(b"fine" if well else b"no database\\n")

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def free_port() -> int:
    return free_ports(1, "127.0.0.1", random.Random())[0]


def web(region: Any, source: Path, commit: str, probe: Probe, **more: Any) -> Any:
    """A release of a service that answers at ``$PORT``."""
    recipe = {"activate": f'exec {sys.executable} -S server.py "$PORT"', "probe": probe, "health_timeout_s": 10.0, **more}
    return region.publish(source, {"server.py": PROGRAM, "version": commit}, commit=commit, **recipe)


def well(agent: Any) -> Path:
    return agent.service() / "data" / "well"


def starts(agent: Any) -> int:
    path = agent.service() / "data" / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def agent(agents: Agents) -> Any:
    agent = agents(environment={"PORT": str(free_port())})
    well(agent).parent.mkdir(parents=True)
    well(agent).touch()
    return agent


async def test_a_service_is_active_once_it_answers_as_often_as_it_must(region: Any, agent: Any, tmp_path: Path) -> None:
    await agent.start()
    probe = Probe(http="http://127.0.0.1:$PORT/health", threshold=3)
    report = await region.reported(region.want(web(region, tmp_path, "a", probe), 1), "ACTIVE")
    assert (report.error, starts(agent)) == ("", 1)


async def test_one_that_answers_badly_fails_with_what_it_answered(region: Any, agent: Any, tmp_path: Path) -> None:
    well(agent).unlink()
    await agent.start()
    sick = web(region, tmp_path, "a", Probe(http="http://127.0.0.1:${PORT}/health"), health_timeout_s=4.0)
    report = await region.reported(region.want(sick, 1), "FAILED")
    url = f"http://127.0.0.1:{agent.config.environment['PORT']}/health"
    assert report.error == f"the health check did not pass within 4 s: {url} answered 503: no database"


async def test_one_that_is_sick_later_is_reported_and_started_again_and_flaps(
    region: Any, agent: Any, tmp_path: Path, until: Until
) -> None:
    await agent.start()
    probe = Probe(http="http://127.0.0.1:$PORT/health", interval_s=0.25, threshold=2)
    a = web(region, tmp_path, "a", probe, health_timeout_s=4.0)
    await region.reported(region.want(a, 1), "ACTIVE")
    well(agent).unlink()
    await region.until(lambda: region.reports["m1", "web"].running is None)
    report = region.reports["m1", "web"]
    assert report.phase == "ACTIVE"
    assert report.error.startswith("it is not healthy any more, and will be started again: http://127.0.0.1:")
    assert report.error.endswith("answered 503: no database")
    assert not [request for request in region.asked[1:] if request.available]
    await region.until(lambda: region.reports["m1", "web"].deaths >= 2)
    assert starts(agent) >= 2
    well(agent).touch()
    await region.until(lambda: region.reports["m1", "web"].running == a.ref)
    assert region.reports["m1", "web"].error == ""


async def test_a_release_is_not_sick_because_the_one_before_was(region: Any, agent: Any, tmp_path: Path) -> None:
    await agent.start()
    probe = Probe(http="http://127.0.0.1:$PORT/health", interval_s=0.25)
    a, b = (web(region, tmp_path, commit, probe) for commit in "ab")
    await region.reported(region.want(a, 1), "ACTIVE")
    well(agent).unlink()
    await region.until(lambda: region.reports["m1", "web"].running is None)
    goal = region.want(b, 2, baseline=a)
    await region.reported(goal, "ACTIVATING")
    well(agent).touch()
    report = await region.reported(goal, "ACTIVE")
    assert (report.running, report.error, report.deaths) == (b.ref, "", 0)


async def test_what_was_started_again_counts_as_down_until_it_is_well(
    region: Any, agent: Any, tmp_path: Path, until: Until
) -> None:
    await agent.start()
    probe = Probe(http="http://127.0.0.1:$PORT/health", interval_s=0.25)
    a = web(region, tmp_path, "a", probe, health_timeout_s=60.0)
    await region.reported(region.want(a, 1), "ACTIVE")
    well(agent).unlink()
    await region.until(lambda: "was started again, and is not healthy yet" in region.reports["m1", "web"].error)
    assert region.reports["m1", "web"].running is None
    well(agent).touch()
    await region.until(lambda: region.reports["m1", "web"].running == a.ref)
    assert starts(agent) == 2, "one that has 60 s to come up is not ended before"


async def test_a_connection_is_enough_for_tcp(region: Any, agent: Any, tmp_path: Path) -> None:
    well(agent).unlink()
    await agent.start()
    await region.reported(region.want(web(region, tmp_path, "a", Probe(tcp="127.0.0.1:$PORT")), 1), "ACTIVE")


async def test_a_command_in_a_table_is_watched_where_that_is_asked_for(region: Any, agent: Any, tmp_path: Path) -> None:
    await agent.start()
    watched = Probe(interval_s=0.25, timeout_s=2.0)
    a = web(region, tmp_path, "a", watched, health='test -e "$FLEETCAST_DATA/well" || { echo gone; exit 3; }')
    await region.reported(region.want(a, 1), "ACTIVE")
    well(agent).unlink()
    await region.until(lambda: region.reports["m1", "web"].running is None)
    assert region.reports["m1", "web"].error.endswith("it exited with 3: gone")


async def test_a_unit_is_asked_of_systemd(region: Any, agent: Any, tmp_path: Path) -> None:
    await agent.start()
    a = web(region, tmp_path, "a", Probe(unit="no-such-thing.service"), health_timeout_s=1.0)
    report = await region.reported(region.want(a, 1), "FAILED")
    assert report.error.startswith("the health check did not pass within 1 s: it exited with ")


# What one attempt says of what it meets


@contextlib.asynccontextmanager
async def answering(answer: bytes, *, hold: bool = False) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that says ``answer`` to whoever asks; what it was asked."""
    asked: list[bytes] = []
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()
            if hold:
                await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked
        done.set()


async def said(probe: Probe, tmp_path: Path, **environment: str) -> str:
    check = HealthCheck("", probe, 10.0, 0.02, 0.0, tmp_path, environment, tmp_path / "health.log")
    return (await attempt(check, "instance")).wrong


async def test_status_and_host_are_what_the_recipe_says(tmp_path: Path) -> None:
    async with answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as (port, asked):
        url = f"http://127.0.0.1:{port}/a?b=c"
        assert await said(Probe(http=url, status=404, host="shop.example"), tmp_path) == ""
        assert await said(Probe(http=url), tmp_path) == f"{url} answered 404"
    assert asked[0].split(b"\r\n")[:2] == [b"GET /a?b=c HTTP/1.1", b"Host: shop.example"]
    assert f"Host: 127.0.0.1:{port}".encode() in asked[1]


@pytest.mark.parametrize("answer", [b"HTTP/1.0 204 No Content\r\n", b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"])
async def test_the_status_alone_decides_and_nothing_more_is_waited_for(answer: bytes, tmp_path: Path) -> None:
    async with answering(answer, hold=True) as (port, _):
        assert await said(Probe(http=f"http://127.0.0.1:{port}"), tmp_path) == ""


@pytest.mark.parametrize(
    ("answer", "hold", "wrong"),
    [
        (b"", False, "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", False, "does not speak HTTP"),
        (b"x" * 10_000, True, "cannot be reached: its answer is too long for HTTP"),
        (b"", True, "did not answer within 0.3 s"),
    ],
)
async def test_what_is_no_answer_is_named(answer: bytes, hold: bool, wrong: str, tmp_path: Path) -> None:
    async with answering(answer, hold=hold) as (port, _):
        url = f"http://127.0.0.1:{port}/"
        assert await said(Probe(http=url, timeout_s=0.3), tmp_path) == f"{url} {wrong}"


async def test_nobody_there_and_names_that_are_not_set_are_told(tmp_path: Path) -> None:
    port = free_port()
    assert await said(Probe(tcp=f"127.0.0.1:{port}"), tmp_path) == f"127.0.0.1:{port} cannot be reached: Connection refused"
    assert await said(Probe(tcp="127.0.0.1:$PORT"), tmp_path) == "127.0.0.1:$PORT names $PORT, which is not set"
    assert await said(Probe(tcp="127.0.0.1:$PORT"), tmp_path, PORT="http") == "127.0.0.1:http is no address"
    assert await said(Probe(http="http://127.0.0.1:$PORT/"), tmp_path, PORT="x") == "http://127.0.0.1:x/ is no address"
