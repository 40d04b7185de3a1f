"""A settings file that is changed while a process runs on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from fleetcast.launch import sources
from fleetcast.launch.following import Wired, following
from fleetcast.launch.settings import AgentSettings

DEADLINE_S = 15.0
HEAD = "[[agent]]\nmachine = 'eu-1'\nregion = 'eu'\n"


class Running:
    """A process that follows ``file``, and what it was told."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.told: list[int] = []
        self.logs: list[Any] = []

    def save(self, text: str) -> None:
        """As an editor does."""
        draft = self.file.with_suffix(".new")
        draft.write_text(HEAD + text)
        draft.replace(self.file)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 -- a log has no event to wait for
                await asyncio.sleep(0.01)

    def said(self, event: str) -> list[Any]:
        return [entry for entry in self.logs if entry["event"] == event]


@asynccontextmanager
async def running(file: Path, *flags: str) -> AsyncIterator[Running]:
    process = Running(file)
    process.save("upload_bytes_per_s = 1_000_000\n")

    def read() -> AgentSettings:
        return sources.load(file, environ={}, flags=flags).agent("eu-1")

    async def serve(stop: asyncio.Event, listening: Callable[[Mapping[str, str]], None]) -> None:
        listening({})
        await stop.wait()

    stop, ready = asyncio.Event(), asyncio.Event()
    wired = Wired(serve, read(), {"upload_bytes_per_s": process.told.append})
    with capture_logs() as logs:
        process.logs = logs
        task = asyncio.create_task(following(wired, file, read, 0.01)(stop, lambda _: ready.set()))
        await ready.wait()
        yield process
        stop.set()
        await asyncio.wait_for(task, DEADLINE_S)


async def test_a_setting_that_may_change_takes_effect_when_the_file_is_saved(tmp_path: Path) -> None:
    async with running(tmp_path / "settings.toml") as process:
        process.save("upload_bytes_per_s = 2_000_000\n")
        await process.until(lambda: process.told == [2_000_000])
        process.save("")
        await process.until(lambda: process.told == [2_000_000, 0])
    assert [(entry["setting"], entry["before"], entry["now"]) for entry in process.said("setting_changed")] == [
        ("upload_bytes_per_s", 1_000_000, 2_000_000),
        ("upload_bytes_per_s", 2_000_000, 0),
    ]


async def test_a_change_that_was_saved_while_the_process_started_is_not_missed(tmp_path: Path) -> None:
    async with running(tmp_path / "settings.toml") as process:
        # Before the first look: nothing has run since the settings were read.
        process.save("upload_bytes_per_s = 3_000_000\n")
        await process.until(lambda: process.told == [3_000_000])


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("upload_bytes_per_s = 1000\n", "it must be at least 131072 (about 1 Mbit/s), or 0 for no limit"),
        ("upload_bytes_per_s = 'fast'\n", "agent.upload_bytes_per_s: Expected `int`, got `str`"),
        ("upload_bytes_per_s =\n", "correct it there"),
        ("uplaod_bytes_per_s = 2_000_000\n", "did you mean 'upload_bytes_per_s'?"),
    ],
)
async def test_a_file_that_makes_no_sense_changes_nothing(tmp_path: Path, bad: str, says: str) -> None:
    async with running(tmp_path / "settings.toml") as process:
        process.save(bad)
        await process.until(lambda: bool(process.said("settings_refused")))
        (refused,) = process.said("settings_refused")
        assert says in refused["error"]
        assert "\n" not in refused["error"]
        assert process.told == []
        process.save("upload_bytes_per_s = 2_000_000\n")
        await process.until(lambda: process.told == [2_000_000])


async def test_a_file_that_is_away_for_a_moment_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path / "settings.toml") as process:
        process.file.unlink()
        await process.until(lambda: bool(process.said("settings_refused")))
        process.save("upload_bytes_per_s = 2_000_000\n")
        await process.until(lambda: process.told == [2_000_000])


async def test_a_setting_that_waits_for_the_next_start_says_so(tmp_path: Path) -> None:
    async with running(tmp_path / "settings.toml") as process:
        process.save("upload_bytes_per_s = 1_000_000\nzone = 'b'\n")
        await process.until(lambda: bool(process.said("setting_waits")))
        process.save("upload_bytes_per_s = 2_000_000\n")
        await process.until(lambda: process.told == [2_000_000])
    assert [entry["setting"] for entry in process.said("setting_waits")] == ["zone"], "and is back at what it was"


async def test_a_flag_wins_over_what_is_saved_too(tmp_path: Path) -> None:
    async with running(tmp_path / "settings.toml", "agent.upload_bytes_per_s=5_000_000") as process:
        process.save("upload_bytes_per_s = 2_000_000\nzone = 'b'\n")
        await process.until(lambda: bool(process.said("setting_waits")))
    assert process.told == []
