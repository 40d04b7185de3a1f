"""The live picture on a terminal: below whatever else is printed, redrawn as it changes, gone when all is over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TextIO

from rich.console import Console
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from fleetcast.cli.picture.following import follow, has_ended, until_back
from fleetcast.cli.picture.layout import draw
from fleetcast.cli.picture.scene import Paper, Scene
from fleetcast.cli.picture.summary import summary
from fleetcast.cli.picture.terminal import symbols_for
from fleetcast.cli.picture.text import Line, Tone, cells, plain
from fleetcast.model.build import BuildStatus
from fleetcast.model.errors import FleetcastError

if TYPE_CHECKING:
    from fleetcast.client.control import ControlClient
    from fleetcast.model.ids import BuildId, DeploymentId
    from fleetcast.model.messages.deployments import DeploymentDetail

FRAME_S: Final = 0.2
LOOK_S: Final = 1.0
"""Longest that an answer is waited for: rates want samples also of what stands still."""
ANSWERS_APART_S: Final = 0.15
LOG_LINES_KEPT: Final = 6
_STYLES: Final[Mapping[Tone, str]] = {
    Tone.PLAIN: "",
    Tone.TITLE: "bold",
    Tone.GOOD: "green",
    Tone.BAD: "bold red",
    Tone.BUSY: "cyan",
    Tone.QUIET: "dim",
}


class LivePicture:
    """Use as an async context manager. Deployments appear when they are followed, and leave their summary when they end.

    Everything else that is printed meanwhile goes through :meth:`say`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self._encoding = stream.encoding or "ascii"
        self._symbols = symbols_for(stream, os.environ)
        self._scenes: dict[DeploymentId, Scene] = {}
        self._logs: dict[BuildId, tuple[int, str]] = {}
        self._live: Live | None = None
        self._painted: list[Line] = []
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LivePicture:
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        assert self._ticking is not None
        self._ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._ticking
        self._scenes.clear()
        self._paint()

    @property
    def width(self) -> int:
        """Of the terminal, in columns."""
        return self._console.size.width

    def say(self, text: str) -> None:
        """Lines above the picture."""
        self._console.print(self._printable(text), soft_wrap=True)

    def show(self, lines: Sequence[Line]) -> None:
        """The same with tones."""
        self._console.print(self._text(lines), soft_wrap=True)

    async def follow(
        self,
        control: ControlClient,
        deployment: DeploymentId,
        label: str = "",
        until: Callable[[DeploymentDetail], bool] = has_ended,
    ) -> DeploymentDetail:
        """As :func:`~fleetcast.cli.picture.following.follow`; what has ended makes room for its summary."""

        def heard(detail: DeploymentDetail) -> None:
            self._heard(detail, label)

        def away(trouble: str) -> None:
            if deployment in self._scenes:
                self._scenes[deployment] = replace(self._scenes[deployment], trouble=trouble)

        try:
            async with _beside(self._read_logs(control, deployment)):
                detail = await follow(control, deployment, heard, until, wait_s=LOOK_S, pause_s=ANSWERS_APART_S, away=away)
                if has_ended(detail):
                    detail = await until_back(control, detail, heard)
        except BaseException:
            self._scenes.pop(deployment, None)
            raise
        if has_ended(detail):
            scene = self._scenes.pop(deployment)
            self._paint()
            self.show(summary(scene, self._paper()))
        return detail

    def _heard(self, detail: DeploymentDetail, label: str) -> None:
        now = time.monotonic()
        before = self._scenes.get(detail.deployment.id)
        scene = Scene(detail, now, label) if before is None else replace(before, detail=detail, heard_at=now, trouble="")
        self._scenes[detail.deployment.id] = replace(scene, history=scene.history.heard(detail, now))

    async def _read_logs(self, control: ControlClient, deployment: DeploymentId) -> None:
        """The newest lines of the build's log, while it runs."""
        while True:
            scene = self._scenes.get(deployment)
            build = scene.detail.build if scene is not None else None
            if build is not None and build.status is BuildStatus.RUNNING:
                offset, text = self._logs.get(build.id, (0, ""))
                with contextlib.suppress(FleetcastError):  # the picture does without
                    page = await control.build_log(build.id, offset)
                    lines = (text + page.text).splitlines(keepends=True)[-LOG_LINES_KEPT:]
                    self._logs[build.id] = page.next_offset, "".join(lines)
                    self._scenes[deployment] = replace(self._scenes[deployment], log=tuple(map(str.rstrip, lines)))
            await asyncio.sleep(LOOK_S)

    async def _tick(self) -> None:
        while True:
            self._paint()
            await asyncio.sleep(FRAME_S)

    def _paper(self) -> Paper:
        size = self._console.size
        return Paper(size.width, max(1, size.height - 1), self._symbols)

    def _paint(self) -> None:
        """Bring the terminal up to date. Without anything to show there is no picture, and the cursor is back."""
        lines = draw(list(self._scenes.values()), self._paper(), time.monotonic())
        if not lines:
            if self._live is not None:
                self._live.update(Text(""))
                self._live.stop()
            self._live, self._painted = None, []
            return
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True, vertical_overflow="crop")
            self._live.start()
        elif not self._step_over_wrapped() and lines == self._painted:
            return
        self._live.update(self._text(lines), refresh=True)
        self._painted = lines

    def _step_over_wrapped(self) -> bool:
        """Whether the terminal has become narrower and broken our lines: the rows that came of it are erased."""
        width = self._console.size.width
        extra = sum(max(0, -(-cells(plain(line)) // width) - 1) for line in self._painted)
        erased = (ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1))
        if extra:
            self._console.control(Control(*(erased * extra)))
        return extra > 0

    def _text(self, lines: Sequence[Line]) -> Text:
        text = Text(no_wrap=True, overflow="ignore", end="\n")
        for index, line in enumerate(lines):
            if index:
                text.append("\n")
            for span in line:
                text.append(self._printable(span.text), _STYLES[span.tone])
        return text

    def _printable(self, text: str) -> str:
        return text.encode(self._encoding, "replace").decode(self._encoding)


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run ``work`` for as long as the block takes."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
