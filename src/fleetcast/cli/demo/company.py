"""A company for as long as a demo takes: a temporary installation, its processes, and whoever clears up after them."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from fleetcast.client.control import ControlClient
from fleetcast.http.tokens import Role, load, token_path
from fleetcast.launch import installation, sources
from fleetcast.launch.child import ChildEvent
from fleetcast.launch.installation import Blueprint, Value
from fleetcast.launch.ports import free_ports
from fleetcast.launch.settings import LOOPBACK, Settings
from fleetcast.launch.supervisor import Supervisor, children
from fleetcast.model.errors import Refused, Unavailable

if TYPE_CHECKING:
    from fleetcast.cli.demo.engines.servers import Servers

WORKERS: Final = 2
REGIONS: Final = (
    "eu-west",
    "us-east",
    "ap-south",
    "us-west",
    "eu-north",
    "sa-east",
    "af-south",
    "ap-east",
    "me-central",
    "ca-west",
)
HEARTBEAT_S: Final = 1.0
SILENCE_S: Final = 5.0
KV_POLL_S: Final = 1.0
LOOK_S: Final = 0.5
"""How often reports are sent and buckets looked at."""
STAGE_S_MIN: Final = 300.0
STAGE_BYTES_PER_S: Final = 4_000_000.0
"""What a slow machine surely carries: the bound on replication and distribution grows with the payload."""
COMPLETE_S_MAX: Final = 60.0
SWEEP_S_MAX: Final = 300.0
COPIES_PER_PLACE: Final = 3
"""Releases that a bucket or machine holds at most in a demo: A, B and C."""


@dataclass(frozen=True, slots=True)
class CompanySize:
    regions: int
    machines: int
    payload_bytes: int
    real_engines: bool = False
    """PostgreSQL, etcd and an S3 store instead of files."""


class Company:
    """Use as an async context manager: on leaving it, no process and (unless ``keep``) no directory is left.

    Raises on entering:
        Refused: there is not enough disk, or the file system will not do for a server.
        NotFound: a server's program is not installed.
        Unavailable: a process does not start.
    """

    def __init__(
        self,
        size: CompanySize,
        *,
        keep: bool,
        tell: Callable[[ChildEvent], None],
        region: Mapping[str, Value] = MappingProxyType({}),
    ) -> None:
        """``region``: settings of every region that are to be others than the demo's."""
        self.directory: Final = Path(tempfile.gettempdir()).resolve() / f"fleetcast-demo-{secrets.token_hex(4)}"
        self.size: Final = size
        self._keep = keep
        self._tell = tell
        self._region = region
        self._settings: Settings | None = None
        self._control: ControlClient | None = None
        self._supervisor: Supervisor | None = None
        self._servers: Servers | None = None
        self._starting: asyncio.Future[None] | None = None
        """The servers."""
        self._sweeper: asyncio.subprocess.Process | None = None
        self._pipe: int | None = None

    @property
    def regions(self) -> tuple[str, ...]:
        return REGIONS[: self.size.regions]

    @property
    def settings(self) -> Settings:
        """Of the installation; only inside the context."""
        assert self._settings is not None
        return self._settings

    @property
    def control(self) -> ControlClient:
        """A client with the admin's token; only inside the context."""
        assert self._control is not None
        return self._control

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, the services aside."""
        return self._supervisor.pids if self._supervisor else {}

    async def __aenter__(self) -> Company:
        self._check_disk()
        try:
            await self._start_sweeper()
            await self._start()
        except BaseException:
            await self._close_whatever_happens()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._close_whatever_happens()

    async def _close_whatever_happens(self) -> None:
        """Being interrupted once more does not leave half of it."""
        closing = asyncio.create_task(self._close())
        interrupted = False
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError:
                interrupted = True
        closing.result()
        if interrupted:
            raise asyncio.CancelledError

    async def _start(self) -> None:
        self.directory.mkdir(mode=0o700)
        if self.size.real_engines:
            await self._start_servers()
        file = installation.create(self.directory, self._blueprint())
        self._settings = settings = sources.load(file, environ={})
        assert settings.control is not None
        # Settings of this user's own installation are not meant for ours.
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("FLEETCAST_")}
        # The example's python3 is the one that runs this: the shim of a version manager takes ten times as long to start, on
        # every machine at once, and there need not be any other.
        path = f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}"
        environment = {**inherited, "PATH": path, sources.SETTINGS_VARIABLE: str(file)}
        self._supervisor = Supervisor(children(settings, file), file.parent / "run", environment, self._tell)
        await self._supervisor.start()
        token = load(token_path(settings.control.secrets, Role.ADMIN))
        self._control = ControlClient(settings.control.public_url, token)
        await self._wait_until_complete()

    async def _start_servers(self) -> None:
        from fleetcast.cli.demo.engines.servers import Servers

        loop = asyncio.get_running_loop()

        def tell(name: str, address: str) -> None:
            loop.call_soon_threadsafe(self._tell, ChildEvent(name, "ready", address))

        self._servers = servers = Servers(self.directory / "engines", self.regions, tell)
        self._starting = asyncio.ensure_future(asyncio.to_thread(servers.start))
        await asyncio.shield(self._starting)  # a thread goes on when its caller is cancelled: closing them ends it

    def _blueprint(self) -> Blueprint:
        count = Blueprint.ports_needed(self.size.regions, self.size.machines)
        stage_s = STAGE_S_MIN + self.size.payload_bytes / STAGE_BYTES_PER_S
        return Blueprint(
            workers=WORKERS,
            regions=self.regions,
            machines=self.size.machines,
            ports=free_ports(count, LOOPBACK, random.Random()),
            control={
                "heartbeat_interval_s": HEARTBEAT_S,
                "heartbeat_silence_s_max": SILENCE_S,
                "reaper_interval_s": HEARTBEAT_S,
                "replication_check_interval_s": LOOK_S,
                "replicate_s_max": stage_s,
                "distribute_s_max": stage_s,
                **(self._servers.control if self._servers is not None else {}),
            },
            worker={"poll_interval_s": KV_POLL_S},
            region={
                "kv_poll_interval_s": KV_POLL_S,
                "report_interval_s": LOOK_S,
                "agent_report_interval_s": LOOK_S,
                **self._region,
            },
            of_region=self._servers.of_region if self._servers is not None else {},
        )

    def _check_disk(self) -> None:
        places = self.size.machines + self.size.regions + 1
        needed = self.size.payload_bytes * (COPIES_PER_PLACE * places + WORKERS)
        free = shutil.disk_usage(self.directory.parent).free
        if needed > free:
            raise Refused(
                "no_space",
                f"this needs {needed / 2**30:.0f} GiB in {self.directory.parent}, {free / 2**30:.0f} are free: "
                "choose a smaller --size, fewer --machines, or another TMPDIR",
            )

    async def _start_sweeper(self) -> None:
        """Before there is anything to clear up, so that it happens even where this process is killed."""
        reader, self._pipe = os.pipe()
        try:
            program: Sequence[str] = (sys.executable, "-m", "fleetcast.launch.sweeper", str(self.directory), str(reader))
            self._sweeper = await asyncio.create_subprocess_exec(
                *program,
                *(["--keep"] if self._keep else []),
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(reader,),
                start_new_session=True,
            )
        finally:
            os.close(reader)

    async def _wait_until_complete(self) -> None:
        """Until control has heard of every region and machine: before that, a deployment would be for some of them."""
        try:
            async with asyncio.timeout(COMPLETE_S_MAX):
                while not await self._is_complete():  # noqa: ASYNC110 -- it is another process's event
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise Unavailable("not_complete", f"not every machine has reported within {COMPLETE_S_MAX:g} s") from None

    async def _is_complete(self) -> bool:
        fleet = await self.control.status()
        return (
            sum(region.machines for region in fleet.regions) >= self.size.machines and len(fleet.regions) >= self.size.regions
        )

    async def _close(self) -> None:
        if self._supervisor is not None:
            await self._supervisor.stop()
        if self._control is not None:
            await self._control.aclose()
        if self._servers is not None:
            await asyncio.to_thread(self._servers.close)
        if self._starting is not None:
            await asyncio.wait([self._starting])
            self._starting.exception()  # that it was ended in the middle is no news
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None
        code = 0 if self._sweeper is None else await asyncio.wait_for(self._sweeper.wait(), SWEEP_S_MAX)
        if code:
            raise Unavailable("left_behind", f"could not clear up {self.directory}: end what uses it, then remove it")
