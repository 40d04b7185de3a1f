"""Several builds at a time, and how a worker that is told to stop ends what runs."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from fleetcast.model.build import BuildStatus
from fleetcast.model.ids import ServiceName
from fleetcast.model.messages.artifacts import BuildRequest
from fleetcast.model.messages.services import ServiceSpec
from fleetcast.worker.process import serve

SOON_S = 30.0
WEB = ServiceName("web")


async def test_as_many_builds_run_at_a_time_as_there_are_slots(gated: Any, working: Any) -> None:
    async with working(dataclasses.replace(gated.company.worker, slots=2)):
        first, second = await gated.order("a"), await gated.order("b")
        await gated.until_it_runs(first)
        await gated.until_it_runs(second)
        third = await gated.order("c")
        gated.open("b")
        assert (await gated.ended(second)).status is BuildStatus.SUCCEEDED
        await gated.until_it_runs(third)
        for gate in "ac":
            gated.open(gate)
        assert [(await gated.ended(build)).status for build in (first, third)] == [BuildStatus.SUCCEEDED] * 2


async def test_each_step_of_an_attempt_is_in_the_workers_log(gated: Any, working: Any) -> None:
    gated.open("a")
    build = await gated.order("a")
    with capture_logs() as logs:
        async with working(gated.company.worker):
            await gated.ended(build)
    steps = [line["step"] for line in logs if line["event"] == "attempt_step" and line["build"] == build]
    assert steps == ["claimed", "checked_out", "built", "uploading", "uploaded", "committed"]


async def test_a_worker_that_is_told_to_stop_finishes_what_runs(gated: Any) -> None:
    stop, hand_back = asyncio.Event(), asyncio.Event()
    config = dataclasses.replace(gated.company.worker, drain_s_max=1000)
    served = asyncio.create_task(serve(config, stop, lambda _: None, hand_back=hand_back))
    try:
        running = await gated.order("a")
        await gated.until_it_runs(running)
        stop.set()
        late = await gated.order("b")
        gated.open("a")
        await asyncio.wait_for(served, SOON_S)
    finally:
        hand_back.set()
    assert (await gated.now(running)).status is BuildStatus.SUCCEEDED
    assert (await gated.now(late)).status is BuildStatus.QUEUED


async def test_time_to_finish_ends_and_the_rest_is_handed_back(gated: Any) -> None:
    stop = asyncio.Event()
    served = asyncio.create_task(serve(dataclasses.replace(gated.company.worker, drain_s_max=0.1), stop, lambda _: None))
    running = await gated.order("a")
    await gated.until_it_runs(running)
    stop.set()
    await asyncio.wait_for(served, SOON_S)
    build = await gated.now(running)
    assert (build.status, build.attempt) == (BuildStatus.QUEUED, 1)
    assert "its worker was stopped" in build.reason


@asynccontextmanager
async def process(gated: Any, *options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    """A real worker of the company, and its log."""
    worker, home = gated.company.worker, gated.company.home
    settings, log = home / "settings.toml", home / "worker.log"
    settings.write_text(
        f'[[worker]]\ncontrol_url = "{worker.control_url}"\ntoken_file = "worker.token"\nsigning_key = "worker.key"\n'
        'sandbox = "off"\npoll_interval_s = 0.1\n'
    )
    argv = (sys.executable, "-m", "fleetcast", "worker", "--settings", str(settings), "--json", *options)
    with open(log, "wb") as file:
        started = await asyncio.create_subprocess_exec(*argv, stdout=file, stderr=file)
    try:
        yield started, log
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def until_it_says(log: Path, event: str) -> None:
    async with asyncio.timeout(SOON_S):
        while f'"{event}"' not in log.read_text():  # noqa: ASYNC110 -- another process writes it
            await asyncio.sleep(0.02)


async def test_sigterm_drains_and_exits_0(gated: Any) -> None:
    running = await gated.order("a")
    async with process(gated, "--slots", "2", "--drain-timeout", "1000") as (worker, log):
        await gated.until_it_runs(running)
        worker.send_signal(signal.SIGTERM)
        await until_it_says(log, "draining")
        gated.open("a")
        assert await asyncio.wait_for(worker.wait(), SOON_S) == 0
    assert (await gated.now(running)).status is BuildStatus.SUCCEEDED


async def test_a_second_sigterm_hands_back_and_exits_0(gated: Any, working: Any) -> None:
    running = await gated.order("a")
    async with process(gated) as (worker, log):
        await gated.until_it_runs(running)
        worker.send_signal(signal.SIGTERM)
        await until_it_says(log, "draining")
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(worker.wait(), SOON_S) == 0
    build = await gated.now(running)
    assert (build.status, build.attempt) == (BuildStatus.QUEUED, 1)
    gated.open("a")
    async with working(gated.company.worker):
        assert (await gated.ended(running)).attempt == 2


async def test_an_aborted_build_ends_even_if_it_does_not_listen(gated: Any, working: Any) -> None:
    """All of it, in its sandbox."""
    company = gated.company
    company.worker = dataclasses.replace(company.worker, sandbox="required")
    deaf = "trap '' TERM; (trap '' TERM; exec sleep 1000.125) & sleep 1000.125; sleep 1000.125"
    commit = gated._repository.commit({"fleetcast.toml": f'[build]\ncommand = "{deaf}"\noutput = "out"\n'})
    await company.people.put_service(ServiceSpec(WEB, str(gated._repository.path)))
    ordered = await company.people.order_build(BuildRequest(WEB, commit))
    async with working(company.worker):
        async with asyncio.timeout(SOON_S):
            while len(sleepers()) < 2:  # noqa: ASYNC110 -- other processes
                await asyncio.sleep(0.02)
        assert (await company.people.abort_build(ordered.id)).status is BuildStatus.FAILED
        async with asyncio.timeout(SOON_S):
            while sleepers():  # noqa: ASYNC110 -- other processes
                await asyncio.sleep(0.02)


def sleepers() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == b"sleep\x001000.125\x00":
                found.append(path.parent.name)
        except OSError:
            continue
    return found
