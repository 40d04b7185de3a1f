"""``up`` and the four processes it starts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from fleetcast.cli.output import print_json

if TYPE_CHECKING:
    from fleetcast.launch.child import ChildEvent
    from fleetcast.launch.following import Wired
    from fleetcast.launch.settings import Settings


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What the four processes have in common."""

    settings: Annotated[Path | None, Parameter(env_var="FLEETCAST_SETTINGS")] = None
    """Settings file, or its directory; default: fleetcast-data/settings.toml."""
    set: tuple[str, ...] = ()
    """One setting that wins over file and environment, for instance control.port=7401; repeatable."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """auto: console on a terminal, else JSON."""
    json: bool = False
    """The same as --log-format json: logs as JSON, one event a line, on standard error."""
    ready_file: Annotated[Path | None, Parameter(show=False)] = None
    lifeline: Annotated[int | None, Parameter(show=False)] = None

    def load(self) -> Settings:
        from fleetcast.launch import sources

        return sources.load(sources.settings_file(self.settings, os.environ), environ=os.environ, flags=self.set)

    def run(self, name: str, wired: Wired, mine: Callable[[Settings], object]) -> int:
        """``mine``: what of all settings is this process's."""
        from fleetcast.launch import logging, process, sources
        from fleetcast.launch.following import following
        from fleetcast.model.errors import Refused

        logging.set_up(
            name, json=self.json or self.log_format == "json" or (self.log_format == "auto" and not sys.stderr.isatty())
        )
        file = sources.settings_file(self.settings, os.environ)
        serve = following(wired, file, lambda: mine(self.load()))
        try:
            process.run(serve, ready_file=self.ready_file, lifeline=self.lifeline, told_again=wired.told_again)
        except Refused as error:
            if error.code != "address_in_use":
                raise
            raise Refused(error.code, f"{error.message} in {file}") from error
        return 0


ALONE = Program()


def up(
    data: Path = Path("fleetcast-data"),
    *,
    workers: int = 1,
    region: tuple[str, ...] = ("local",),
    machines: int = 3,
    json: bool = False,
) -> int:
    """Run a whole installation, made on the first run: control, workers, regions and agents, all on loopback.

    Processes that end are started again. Ctrl-C stops them; the services on the machines keep running, and are found again
    by the next `fleetcast up`.

    For example: `fleetcast up /srv/fleetcast --workers 2 --region eu --region us --machines 8`

    Parameters
    ----------
    data
        The installation's directory, or the settings file in it that says what runs; by default settings.toml.
    workers
        Only for a new installation: how many workers.
    region
        Only for a new installation: name of a region; repeatable.
    machines
        Only for a new installation: how many machines, in all regions together.
    json
        Print events as JSON, one a line.
    """
    from fleetcast.launch import installation, sources

    ports = installation.consecutive_ports(len(region), machines)
    file = installation.settings_in(data)
    installation.create(file.parent, installation.Blueprint(workers, region, machines, ports), file.name)
    settings = sources.load(file, environ=os.environ)
    with installation.supervised(file.parent, advice=f"fleetcast status --settings {file} shows it"):
        return asyncio.run(_supervise(file, settings, _Narrator(json=json)))


def down(data: Path = Path("fleetcast-data"), *, json: bool = False) -> int:
    """End the services that an installation left running on this host; fleetcast up must not run there.

    The next `fleetcast up` starts again what is deployed.

    For example: `fleetcast down /srv/fleetcast`

    Parameters
    ----------
    data
        The installation's directory, or the settings file in it.
    json
        Print how many as JSON.
    """
    from fleetcast.agent.leftovers import stop_services
    from fleetcast.launch import installation, sources

    file = installation.settings_in(data)
    settings = sources.load(file, environ=os.environ)

    def waiting(line: str) -> None:
        print(f"waiting for {line}", file=sys.stderr, flush=True)

    async def stop_all() -> int:
        return sum(await asyncio.gather(*(stop_services(item.directory, waiting=waiting) for item in settings.agents)))

    with installation.supervised(file.parent, advice="end it first (Ctrl-C there, or kill {pid})"):
        ended = asyncio.run(stop_all())
    if json:
        print_json({"services_ended": ended})
    else:
        print(f"{ended} services ended")
    return 0


def control(*, program: Program = ALONE) -> int:
    """Run the global process: API, queue, replication status, rollouts.

    For example: `fleetcast control --settings /etc/fleetcast.toml --set control.port=7401`
    """
    _without_rich()
    from fleetcast.launch import wiring

    return program.run("control", wiring.control(program.load()), lambda settings: settings.control)


def worker(
    *,
    name: str | None = None,
    slots: int | None = None,
    scale_to_load: str | None = None,
    drain_timeout: float | None = None,
    program: Program = ALONE,
) -> int:
    """Run a worker: it claims builds from control, one in each slot.

    SIGTERM (or Ctrl-C) drains it: it claims no more and finishes what runs. The same signal once more, or the end of
    --drain-timeout, hands the rest back, and another worker has it at once. The exit code is 0 either way.

    For example: `fleetcast worker --settings /etc/fleetcast.toml --name worker-2 --slots 4`

    Parameters
    ----------
    name
        Which [[worker]] of the settings; not needed where there is one.
    slots
        Builds at a time; wins over the setting.
    scale_to_load
        MIN..MAX, for instance 1..8: how many slots there are follows what waits; wins over --slots.
    drain_timeout
        Seconds that what runs may take when the worker is told to stop; wins over the setting drain_s_max.
    """
    _without_rich()
    from fleetcast.launch import wiring

    program = replace(program, set=(*program.set, *_said({"worker.slots": slots, "worker.drain_s_max": drain_timeout})))
    mine = program.load().worker(name)
    return program.run(mine.name, wiring.worker(mine, scale_to_load), lambda settings: settings.worker(name))


def region(*, name: str | None = None, program: Program = ALONE) -> int:
    """Run a region's process: it copies artifacts into the region, and tells its machines their goals and their peers.

    For example: `fleetcast region --name eu-west`

    Parameters
    ----------
    name
        Which [[region]] of the settings; not needed where there is one.
    """
    _without_rich()
    from fleetcast.launch import wiring

    mine = program.load().region(name)
    return program.run(f"region-{mine.name}", wiring.region(mine), lambda settings: settings.region(name))


def agent(*, machine: str | None = None, program: Program = ALONE) -> int:
    """Run a machine's agent: it fetches, verifies, switches, starts and supervises the machine's services.

    For example: `fleetcast agent --settings /etc/fleetcast.toml --set agent.zone=a`

    Parameters
    ----------
    machine
        Which [[agent]] of the settings; not needed where there is one.
    """
    _without_rich()
    from fleetcast.launch import wiring

    mine = program.load().agent(machine)
    return program.run(f"agent-{mine.machine}", wiring.agent(mine), lambda settings: settings.agent(machine))


def _without_rich() -> None:
    """structlog imports rich where there is one, for tracebacks that our logs do without (they would show secrets). That is
    3 MiB on every machine, and a tenth of a second of every start: from here on there is none, unless somebody had it before.
    """
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # which is how an import is made to fail


def _said(settings: dict[str, int | float | None]) -> list[str]:
    """Options that stand for a setting, as ``--set`` takes them."""
    return [f"{name}={value:g}" for name, value in settings.items() if value is not None]


async def _supervise(file: Path, settings: Settings, narrator: _Narrator) -> int:
    from fleetcast.launch.sources import SETTINGS_VARIABLE
    from fleetcast.launch.supervisor import Supervisor, children

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    environment = {**os.environ, SETTINGS_VARIABLE: str(file)}
    supervisor = Supervisor(children(settings, file), file.parent / "run", environment, narrator.event)
    starting = asyncio.create_task(supervisor.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            narrator.say("ready", f"next: fleetcast service add ... (Ctrl-C stops; settings: {file})")
            await stop.wait()
    finally:
        failed = starting.done() and starting.exception() is not None
        starting.cancel()
        stopping.cancel()
        kept = "services on the machines keep running (fleetcast down ends them)"
        narrator.say("stopping", "not all of it could start" if failed else kept)
        await supervisor.stop()
    return 0


class _Narrator:
    """Tells what happens, in lines for people or for programs."""

    def __init__(self, *, json: bool) -> None:
        self._json = json

    def event(self, event: ChildEvent) -> None:
        """Something happened to a process."""
        if self._json:
            print_json(event)
        else:
            print(f"{event.child}: {event.what}{f' ({event.detail})' if event.detail else ''}", flush=True)

    def say(self, what: str, detail: str) -> None:
        """The same about all of them: no ``child``."""
        if self._json:
            print_json({"child": "", "what": what, "detail": detail})
        else:
            print(f"{what}; {detail}", flush=True)
