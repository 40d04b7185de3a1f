"""Starts of commands as units of systemd: their files, and what is said to ``systemctl``.

A unit is an instance of a template that this agent writes below ``/run``, which a reboot empties. systemd starts a small
program (``unit_start.py``) that comes to the agent's socket, is handed what a child would inherit, and becomes the gate: from
there on everything is as with children, records included. systemd is its parent, so that the unit outlives the agent however
that one's own unit ends, and knows of every process in it, so that none escapes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import structlog

from fleetcast.agent import ending, spawning
from fleetcast.agent.gate import Inherited, Instance, Launched, Start, start_at_gate
from fleetcast.agent.unit_text import SERVICE, SOCKETS, Place, Terms, file_text, template, unit
from fleetcast.model.errors import Refused
from fleetcast.model.limits import KILL_S_MAX, SYSTEMD_ANSWER_S_MAX, SYSTEMD_CALLS_MAX
from fleetcast.stores import boots

T = TypeVar("T")

log = structlog.get_logger(__name__)

_FILES: Final = Path("/run/systemd/system")
"""There is systemd where this is (``sd_booted(3)``)."""
_PROGRAM: Final = Path(__file__).with_name("unit_start.py")
_IN_COMMON: Final = {"net": "a network", "mnt": "file systems", "pid": "processes"}
"""What a service has to share with its agent, whose hooks and health checks are about it: namespaces, and what they are of."""
_ERROR_BYTES_MAX: Final = 16
_DOOR_LOOK_S: Final = 0.5
"""How often it is looked at whether the unit that is waited for may still come."""
_ON_ITS_WAY: Final = frozenset(("condition", "start-pre", "start", "running", "start-post"))
"""What systemd says of such a unit; not so of one that has ended, and of one that it will start once more."""
_SYSTEMCTL: Final = ("systemctl", "--no-ask-password", "--no-pager")
_CALLS: Final = ThreadPoolExecutor(SYSTEMD_CALLS_MAX, thread_name_prefix="systemctl")
"""Threads of their own, so that a systemd which is slow holds up nothing else of an agent."""
_CREDENTIALS: Final = struct.Struct("iII")


def hindrance() -> str:
    """Why there are no units of systemd for this process, for people; empty: there are."""
    try:
        if not _FILES.is_dir() or Path("/proc/1/comm").read_text().strip() != "systemd":
            return "systemd does not run this machine"
        if shutil.which("systemctl") is None:
            return "there is no systemctl in PATH"
        if os.geteuid() != 0:
            return "the agent does not run as root"
        if "$" in sys.executable:  # systemd takes the path of a program as it is, and what it is called with not
            return "the path of the agent's Python has a $ in it"
        own = [what for kind, what in _IN_COMMON.items() if _namespace("self", kind) != _namespace("1", kind)]
    except OSError as error:
        return f"the agent may not see where systemd is ({error.filename}: {error.strerror})"
    return f"the agent has {own[0]} of its own" if own else ""


def _namespace(process: str, kind: str) -> tuple[int, int]:
    """Raises :class:`OSError`."""
    found = Path(f"/proc/{process}/ns/{kind}").stat()
    return found.st_dev, found.st_ino


class Units:
    """Supervises by systemd."""

    by_units = True

    def __init__(self, stop_s: float) -> None:
        """``stop_s``: between asking a service to end and killing it, where somebody stops its unit by hand; more where its
        recipe says so."""
        self._stop_s = stop_s
        self._files = _Files()

    async def start(self, start: Start) -> Instance:
        """Raises :class:`OSError`, :class:`Refused`: systemd does not start it."""
        return await _aside(self._start, start)

    def _start(self, start: Start) -> Instance:
        asked: list[str] = []

        def launch(instance: str, arguments: Sequence[str], environment: Mapping[str, str], inherited: Inherited) -> Launched:
            place, kind, program = _place(start.run), start.beside, {"arguments": arguments, "environment": environment}
            self._install(place, kind, start.run, max(self._stop_s, start.drain_s_max))
            name = unit(place, kind, instance)
            with _listening(start.run, f"{instance}.gate") as door:
                asked.append(name)
                _systemctl("start", name)
                return Launched(_handed_over(door, name, program, inherited), name)

        try:
            return start_at_gate(start, launch)
        except Exception:
            # Whatever it was, and be it that the record could not be written: nobody would ever end this unit. What stands at
            # the gate has ended by now, of which systemd still remembers the unit.
            for name in asked:
                with contextlib.suppress(Refused):
                    _systemctl("stop", name)
                    _systemctl("reset-failed", name)
            raise

    def _install(self, place: Place, kind: str, run: Path, stop_s: float) -> None:
        files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
        terms = Terms(sys.executable, str(_PROGRAM), os.path.realpath(run), stop_s, files_max)
        self._files.install(_file(place, kind), os.fsencode(file_text(place, kind, terms)))


class _Files:
    """Of units. systemd reads all of a machine's again for one that has changed, and answers nobody meanwhile: services that
    start together share that."""

    def __init__(self) -> None:
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._written = 0
        self._read = 0
        """How many of these systemd has read."""

    def install(self, path: Path, text: bytes) -> None:
        """Returns once systemd knows what the file says. Blocking.

        Raises:
            OSError, Refused: the file cannot be written, or systemd does not read it.
        """
        with self._writing:
            if not path.exists() or path.read_bytes() != text:
                following = path.with_suffix(".next")
                following.write_bytes(text)
                following.replace(path)
                self._written += 1
            written = self._written
        with self._reading:
            if self._read >= written:
                return
            with self._writing:
                written = self._written
            _systemctl("daemon-reload")
            self._read = written


def _handed_over(door: socket.socket, name: str, program: Mapping[str, object], inherited: Inherited) -> int:
    """Give the unit that comes to the door what it is to be; its process.

    Raises:
        OSError: that program does not begin.
        Refused: nobody comes.
    """
    with _comer(door, name) as comer:
        comer.settimeout(SYSTEMD_ANSWER_S_MAX)
        pid, _, _ = _CREDENTIALS.unpack(comer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        told = json.dumps(program).encode() + b"\n"
        sent = socket.send_fds(comer, [told], (inherited.stdin, inherited.output, *inherited.others))
        if told[sent:]:
            comer.sendall(told[sent:])
        # It is closed when the program begins.
        if failed := comer.recv(_ERROR_BYTES_MAX):
            raise OSError(int(failed), os.strerror(int(failed)), "/bin/sh")
    return int(pid)


def _comer(door: socket.socket, name: str) -> socket.socket:
    """Raises :class:`Refused`: nobody comes, or nobody will."""
    patience = time.monotonic() + SYSTEMD_ANSWER_S_MAX
    while True:
        try:
            comer, _ = door.accept()
        except TimeoutError:
            state = _systemctl("show", "--value", "--property=SubState", name).strip()
            if state not in _ON_ITS_WAY or time.monotonic() >= patience:
                raise Refused(
                    "unit_silent",
                    f"{name} began and did not come to its agent ({state}): see journalctl --unit {name}, and its drop-ins",
                ) from None
        else:
            return comer


async def end(instance: Instance, grace_s: float) -> None:
    """As :func:`fleetcast.agent.ending.end`, for one that is a unit: asked and killed by systemd, and where that does not do
    it, by the agent, as far as it knows the unit's processes.

    Raises:
        Refused: something survives SIGKILL for ``KILL_S_MAX`` seconds; or systemd does not end the unit, or does not answer.
    """
    if instance.process.boot != boots.boot():
        return
    name, clock = instance.unit, asyncio.get_running_loop().time
    # Not "stop": how long a release may take is its own, and that of a unit's file is one for all of them. Most of the time
    # goes by below, where it takes no thread.
    await _aside(_signal, instance, signal.SIGTERM)
    # Only now: until it is delivered, systemd and the threads of this process may have taken their time.
    deadline = clock() + grace_s
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await spawning.ended(instance.process)
    stopping = asyncio.create_task(_stopped(name))
    try:
        await asyncio.wait({stopping}, timeout=max(0.0, deadline - clock()))
        if not stopping.done():
            log.warning("process_killed", pid=instance.process.pid, unit=name, after_s=grace_s)
            await _aside(_signal, instance, signal.SIGKILL)
            await asyncio.wait({stopping}, timeout=KILL_S_MAX)
        # What was moved out of the unit, and everything of one that systemd does not know any more, or does not end.
        await ending.end(instance, max(0.0, deadline - clock()))
        if not stopping.done():
            # Raises where systemd does not answer at all.
            await _aside(_systemctl, "show", "--property=ActiveState", name)
            raise Refused("process_unkillable", f"{name} survives SIGKILL: look at it by hand (systemctl status {name})")
        if (refused := stopping.result()) is not None:
            raise refused
    finally:
        stopping.cancel()
        await asyncio.wait({stopping})
    await _aside(_systemctl, "reset-failed", name)


async def _stopped(name: str) -> Refused | None:
    """Have systemd end a unit, however long that takes. Why it does not; ``None``: it has. Once cancelled, nobody waits."""
    words = ("stop", name)
    nothing, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    asking = await asyncio.create_subprocess_exec(*_SYSTEMCTL, *words, stdin=nothing, stdout=nothing, stderr=pipe)
    try:
        _, said = await asking.communicate()
    finally:
        if asking.returncode is None:
            asking.kill()
        code = await asking.wait()
    return _refusal(words, code, said.decode(errors="replace"))


async def remembered() -> frozenset[str]:
    """The names of all units that systemd has of services on this machine, those that have ended included.

    Raises:
        Refused: systemd does not say that.
    """
    return await _aside(_listed, "fleetcast-*@*.service")


def has_files(run: Path) -> bool:
    """Whether there may be units of a service. ``run``: of the service."""
    place = _place(run)
    return any(_file(place, kind).exists() for kind in (SERVICE, SOCKETS))


async def tidy(run: Path, known: Collection[str], found: Collection[str] | None = None) -> None:
    """End every unit of a service that is none of these instances: an agent that was killed had started it and not put it on
    record. With no instance left, the service's unit files go as well. ``run``: of the service. ``found``: what
    :func:`remembered` has said since anything was started here; ``None``: it is asked for. Not while one is being started.

    Raises:
        Refused: systemd does not do that.
    """
    for door in run.glob("*.gate"):  # of agents that were killed while a unit was to come to it
        door.unlink(missing_ok=True)
    place = _place(run)
    for kind in (SERVICE, SOCKETS):
        if _file(place, kind).exists():
            await _aside(_tidy, place, kind, known, found)


def _tidy(place: Place, kind: str, known: Collection[str], found: Collection[str] | None) -> None:
    named = f"{template(place, kind)}@"
    of_it = _listed(f"{named}*.service") if found is None else {name for name in found if name.startswith(named)}
    if strange := sorted(of_it - {unit(place, kind, instance) for instance in known}):
        log.warning("units_ended", units=strange)
        _systemctl("stop", *strange, patience_s=KILL_S_MAX * 2)
        _systemctl("reset-failed", *strange)
    if not known:
        # systemd need not be told: it reads the file for a unit that it does not have yet, and there is none.
        _file(place, kind).unlink(missing_ok=True)


def _listed(pattern: str) -> frozenset[str]:
    listed = _systemctl("list-units", "--all", "--plain", "--full", "--no-legend", pattern)
    return frozenset(line.split()[0] for line in listed.splitlines())


def _place(run: Path) -> Place:
    base = Path(os.path.realpath(run.parent))
    return Place(str(base), base.parent.name, base.name)


def _file(place: Place, kind: str) -> Path:
    return _FILES / f"{template(place, kind)}@.service"


@contextlib.contextmanager
def _listening(run: Path, name: str) -> Iterator[socket.socket]:
    """A socket in a directory, for root alone."""
    directory = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX) as door:
            # By way of the directory: the path of a socket must be short.
            door.bind(f"/proc/self/fd/{directory}/{name}")
            (run / name).chmod(0o600)
            door.listen(1)
            door.settimeout(_DOOR_LOOK_S)
            yield door
    finally:
        os.close(directory)
        (run / name).unlink(missing_ok=True)


async def _aside(work: Callable[..., T], *arguments: object) -> T:
    """What ``work`` returns, which blocks."""
    return await asyncio.get_running_loop().run_in_executor(_CALLS, lambda: work(*arguments))


def _signal(instance: Instance, number: signal.Signals) -> None:
    """To all processes of a unit, if there are any; where systemd does not do that, to those of its first one's group.
    Blocking."""
    try:
        _systemctl("kill", f"--signal={number.name}", instance.unit)
    except Refused as refused:
        log.warning("unit_not_signalled", unit=instance.unit, signal=number.name, error=refused.message)
        spawning.signal_group(instance.process, number)


def _systemctl(*words: str, patience_s: float | None = None) -> str:
    """What it prints, within ``SYSTEMD_ANSWER_S_MAX`` if nothing else is said. Blocking.

    Raises:
        Refused: systemd does not do it, or does not answer.
    """
    command = (*_SYSTEMCTL, *words)
    within_s = SYSTEMD_ANSWER_S_MAX if patience_s is None else patience_s
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        raise Refused("systemd_silent", f"systemd does not answer to systemctl {words[0]}: see systemctl list-jobs") from None
    if (refused := _refusal(words, done.returncode, done.stderr)) is not None:
        raise refused
    return done.stdout


def _refusal(words: Sequence[str], code: int, said: str) -> Refused | None:
    """What ``systemctl`` ended with; ``None``: it did what it was asked. That systemd does not have a unit is no failure."""
    if code == 0 or "not loaded" in said:
        return None
    why = " ".join(said.split())[:500] or str(code)
    return Refused("systemd_refused", f"systemd refuses {' '.join(words)}, see systemctl status: {why}")
