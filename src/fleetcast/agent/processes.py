"""The process of one service: started once, found again by the next agent, ended as a whole.

An agent may be killed between any two lines, and what it started must be neither lost nor started twice. So a new process
first stands at a gate: it waits on a pipe for a word from the agent, which gives it only after it has written down whom it
started. An agent killed before that closes the pipe with its death, and the process ends without having done anything;
one killed later left a record, and pid with start time and boot names a process for good.

The process is a shell that runs the command and then writes down its exit code: an agent that is started later is not its
parent and could not learn it otherwise. It outlasts the command's reaction to SIGTERM.

A service consists of the session of that shell, and of every process that carries its instance id in its environment,
which is how daemons that left the session are found. What leaves the session *and* clears its environment escapes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from fleetcast.agent import records, spawning
from fleetcast.agent.layout import ServiceLayout
from fleetcast.agent.reconcile import ProcessStatus
from fleetcast.agent.spawning import NOTHING_PASSED, Account, Passed, ProcessFacts, ProcessId
from fleetcast.model.errors import Refused
from fleetcast.model.limits import FAILURE_LINE_CHARS_MAX, FAILURE_LINES_MAX, KILL_S_MAX
from fleetcast.model.lines import showable
from fleetcast.stores import boots

log = structlog.get_logger(__name__)

INSTANCE_VARIABLE: Final = "FLEETCAST_INSTANCE"

_POLL_S: Final = 0.05
_LOOK_S: Final = 0.02

# $1 the command, $2 the directory it runs in, $3 where its exit code goes, $4 what says that it shall not begin any more, all
# others what makes the command somebody else's.
# The command has the number that LISTEN_PID says as long as it begins with exec.
# $4 exists before SIGTERM is sent: whoever sees it not has reset its traps in time to be ended by the signal.
_GATE: Final = """
trap : TERM INT HUP
IFS= read -r word || exit 0
(command=$1 directory=$2
    [ -e "$4" ] && exit
    shift 4
    exec "$@" /bin/sh -c '
        cd "$2" || exit
        [ -z "$LISTEN_FDS" ] || export LISTEN_PID=$$
        exec /bin/sh -c "$1"' "$0" "$command" "$directory") </dev/null
code=$?
printf '%s\\n' "$code" >"$3"
exit "$code"
"""


@dataclass(frozen=True, slots=True)
class Instance:
    """One start of a service's command."""

    id: str
    activation: str
    """The change-over it was started for, or whose release it keeps running."""
    process: ProcessId
    started_ms: int
    """By the monotonic clock of ``process.boot``."""
    log_offset: int
    """Where its output begins in the log."""
    sockets: tuple[str, ...] = ()
    """Addresses of the listening sockets that it was started with."""
    own_socket: str = ""
    """And of the one that is its alone."""
    drain_s: float = 0.0
    """How long it may take to end where it is given time for what it still answers; 0: no longer than otherwise."""


class ServiceProcess:
    """What runs for one service. One agent at a time, from one task at a time."""

    def __init__(self, layout: ServiceLayout) -> None:
        self._layout = layout
        self._record = layout.run / "process.json"
        self._aside = layout.run / "leaving.json"
        self.instance: Instance | None = records.read_if_whole(self._record, Instance)
        """The newest; ``None``: nothing was ever started, or it was stopped."""
        self.leaving: Instance | None = records.read_if_whole(self._aside, Instance)
        """The one before it, which serves until the newest does; ``None``: there is none."""
        self.draining_s = 0.0
        """While what was in service is being ended, for how long that may last; 0: it is not."""

    @property
    def log(self) -> Path:
        return self._layout.log / "service.log"

    def status(self) -> ProcessStatus:
        """Whether it runs, by looking."""
        if self.instance is None:
            return ProcessStatus.IDLE
        if spawning.alive(self.instance.process):
            return ProcessStatus.UP
        # After a reboot even what had done its work is started again: it may have been a daemon that ended in good order.
        same_boot = self.instance.process.boot == boots.boot()
        return ProcessStatus.DONE if same_boot and self.exit_code() == 0 else ProcessStatus.DOWN

    def exit_code(self) -> int | None:
        """Of the newest instance; ``None``: it runs, was killed, or never passed its gate."""
        if self.instance is None:
            return None
        with contextlib.suppress(OSError, ValueError):
            return int(_exit_file(self._layout.run, self.instance.id).read_text())
        return None

    def start(
        self,
        activation: str,
        command: str,
        directory: Path,
        environment: Mapping[str, str],
        passed: Passed = NOTHING_PASSED,
        account: Account | None = None,
        drain_s: float = 0.0,
    ) -> Instance:
        """Start ``command`` in ``directory``; its output is appended to the log. Nothing of this service may run but what is
        :attr:`leaving`.

        Raises:
            OSError: the machine is out of something.
        """
        run, seen = self._layout.run, {**environment, **passed.environment}
        what = (activation, command, directory, seen)
        self.instance = start_at_gate(run, self._record, self.log, *what, passed=passed, account=account, drain_s=drain_s)
        self._forget_others()
        log.info("process_started", service=str(self._layout.base), pid=self.instance.process.pid, instance=self.instance.id)
        return self.instance

    async def ended(self) -> None:
        """Wait until the newest instance has ended; at once when there is none."""
        if self.instance is not None:
            await spawning.ended(self.instance.process)

    async def stop(self, grace_s: float, *, drain: bool = False) -> None:
        """End everything that belongs to the service: SIGTERM, ``grace_s`` later SIGKILL. With ``drain`` as much later as an
        instance may take, where that was said when it was started.

        Raises:
            Refused: something survives SIGKILL for ``KILL_S_MAX`` seconds.
        """
        await asyncio.gather(self.end_newest(grace_s, drain=drain), self.end_leaving(grace_s, drain=drain))

    async def end_newest(self, grace_s: float, *, drain: bool = False) -> None:
        """End the newest instance. Raises as :meth:`stop`."""
        if self.instance is not None:
            _stop_file(self._layout.run, self.instance.id).touch()
            await self._end(self.instance, grace_s, drain)
            self._record.unlink(missing_ok=True)
            self.instance = None
            self._forget_others()

    async def end_leaving(self, grace_s: float, *, drain: bool = False) -> None:
        """End the one before the newest. Raises as :meth:`stop`."""
        if self.leaving is not None:
            _stop_file(self._layout.run, self.leaving.id).touch()
            await self._end(self.leaving, grace_s, drain)
            self._aside.unlink(missing_ok=True)
            self.leaving = None
            self._forget_others()

    def step_aside(self) -> None:
        """What is the newest instance makes room for another one, and goes on until :meth:`end_leaving`."""
        if self.instance is not None:
            self._record.replace(self._aside)
            self.leaving, self.instance = self.instance, None

    async def come_back(self, grace_s: float) -> None:
        """The newest instance ends, and the one before it is the newest again. Raises as :meth:`stop`."""
        await self.end_newest(grace_s)
        if self.leaving is not None:
            self._aside.replace(self._record)
            self.leaving, self.instance = None, self.leaving

    def last_words(self) -> str:
        """The last line the newest instance wrote, at most 500 characters; empty: none."""
        return last_line(self.log, self.instance.log_offset if self.instance else 0)

    def last_lines(self) -> tuple[str, ...]:
        """The last lines the newest instance wrote; see :func:`last_lines`."""
        return last_lines(self.log, self.instance.log_offset if self.instance else 0)

    async def _end(self, instance: Instance, grace_s: float, drain: bool) -> None:
        within_s = (instance.drain_s if drain else 0.0) or grace_s
        self.draining_s = within_s if drain else 0.0
        try:
            await end(instance, within_s)
        finally:
            self.draining_s = 0.0

    def _forget_others(self) -> None:
        known = {instance.id for instance in (self.instance, self.leaving) if instance is not None}
        for path in self._layout.run.iterdir():
            if path.suffix in (".exit", ".stop") and path.stem not in known:
                path.unlink(missing_ok=True)


def start_at_gate(
    run: Path,
    record: Path,
    log_file: Path,
    activation: str,
    command: str,
    directory: Path,
    environment: Mapping[str, str],
    *,
    passed: Passed = NOTHING_PASSED,
    account: Account | None = None,
    drain_s: float = 0.0,
) -> Instance:
    """Start ``command`` as the leader of a session of its own, on record before it begins; its output is appended to the log.

    ``run``: the directory for what the gate writes beside the record. ``passed`` is inherited; what the command is to be told
    of it is in ``environment``. ``account``: as whom the command runs; ``None``: as this process.

    Raises:
        OSError: the machine is out of something.
    """
    instance_id = uuid.uuid4().hex
    exit_file, stop_file = _exit_file(run, instance_id), _stop_file(run, instance_id)
    files = (str(directory), str(exit_file), str(stop_file))
    arguments = ("/bin/sh", "-c", _GATE, "fleetcast-service", command, *files, *(account.launcher if account else ()))
    with contextlib.ExitStack() as stack:
        gate, word = os.pipe()
        stack.callback(os.close, word)
        stack.callback(os.close, gate)
        output = stack.enter_context(open(log_file, "ab"))
        offset = output.seek(0, os.SEEK_END)
        if account is not None:
            # Programs open /dev/stdout anew.
            os.fchown(output.fileno(), account.uid, -1)
        seen = {**environment, INSTANCE_VARIABLE: instance_id}
        pid = spawning.spawn(arguments, seen, stdin=gate, output=output.fileno(), descriptors=passed.descriptors)
        sockets = (passed.sockets, passed.own)
        instance = Instance(instance_id, activation, spawning.identify(pid), boots.uptime_ms(), offset, *sockets, drain_s)
        # Not durable: no power failure leaves a process behind that this record would have to name.
        records.write(record, instance, durable=False)
        with contextlib.suppress(BrokenPipeError):  # it was killed at the gate: it is down, like any other that dies
            os.write(word, b"go\n")
    return instance


def _exit_file(run: Path, instance_id: str) -> Path:
    return run / f"{instance_id}.exit"


def _stop_file(run: Path, instance_id: str) -> Path:
    return run / f"{instance_id}.stop"


def last_line(path: Path, offset: int = 0) -> str:
    """The last non-empty line of a text file after ``offset``, cut to 500 characters; empty when there is none."""
    return next((line.strip()[:500] for line in reversed(_lines(path, offset, 4096)) if line.strip()), "")


def last_lines(path: Path, offset: int = 0) -> tuple[str, ...]:
    """The last lines of a text file after ``offset`` that are not empty: at most ``FAILURE_LINES_MAX``, each cut to
    ``FAILURE_LINE_CHARS_MAX`` characters."""
    text = showable("\n".join(_lines(path, offset, FAILURE_LINES_MAX * FAILURE_LINE_CHARS_MAX * 4)))
    said = [line.rstrip()[:FAILURE_LINE_CHARS_MAX] for line in text.split("\n") if line.strip()]
    return tuple(said[-FAILURE_LINES_MAX:])


def _lines(path: Path, offset: int, bytes_max: int) -> list[str]:
    """The end of a text file, none of it from before ``offset`` unless it was cut since."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(offset if offset <= size else 0, size - bytes_max))
            return file.read(bytes_max).decode(errors="replace").split("\n")
    except FileNotFoundError:
        return []


async def end(instance: Instance, grace_s: float) -> None:
    """End all processes of an instance: SIGTERM, after ``grace_s`` seconds SIGKILL. Returns when none is left.

    Raises:
        Refused: something survives SIGKILL for ``KILL_S_MAX`` seconds.
    """
    if instance.process.boot != boots.boot():
        return
    if await _signalled_away(instance, signal.SIGTERM, grace_s):
        return
    log.warning("process_killed", pid=instance.process.pid, instance=instance.id, after_s=grace_s)
    if not await _signalled_away(instance, signal.SIGKILL, KILL_S_MAX):
        raise Refused("process_unkillable", f"process {instance.process.pid} survives SIGKILL: look at it by hand")


def members(instance: Instance) -> list[ProcessFacts]:
    """Every process of an instance that runs now; reads all of ``/proc``."""
    marker = f"{INSTANCE_VARIABLE}={instance.id}".encode()
    leader = instance.process
    # A session keeps its leader's number from being used again only while somebody is in it. So membership by number counts
    # while the leader lives; the marker counts always.
    led = spawning.alive(leader)
    # Nobody is older than the leader, from whom the marker comes: on a busy host most environments need not be read.
    return [
        found
        for found in spawning.everybody()
        if found.start_ticks >= leader.start_ticks
        and ((led and found.session == leader.pid) or spawning.carries(found.pid, marker))
    ]


async def end_carriers(marker: str, *, spared_session: int | None = None) -> None:
    """Kill every process that was started with the environment entry ``marker`` (``NAME=value``), and wait until none is left.

    Raises:
        Refused: something survives SIGKILL for ``KILL_S_MAX`` seconds.
    """
    entry = marker.encode()

    def found() -> list[ProcessFacts]:
        return [each for each in spawning.everybody() if each.session != spared_session and spawning.carries(each.pid, entry)]

    deadline = asyncio.get_running_loop().time() + KILL_S_MAX
    while left := await asyncio.to_thread(found):
        for each in left:
            spawning.signal_one(each.process, signal.SIGKILL)
        if asyncio.get_running_loop().time() > deadline:
            raise Refused("process_unkillable", f"process {left[0].pid} survives SIGKILL: look at it by hand")
        await asyncio.sleep(_LOOK_S)


async def _signalled_away(instance: Instance, number: signal.Signals, patience_s: float) -> bool:
    """Send a signal to everybody and wait. Whether nobody is left in the end.

    SIGTERM goes to each once: a second one means "at once" to many programs, and who is started to clean up should not get
    one at all. SIGKILL goes to whoever is there, until nobody is.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + patience_s
    told = False
    while True:
        # While the dead leader is ours and not reaped, its number is not free.
        spawning.reap(instance.process)
        again = number is signal.SIGKILL or not told
        grouped = again and spawning.signal_group(instance.process, number)
        left = await asyncio.to_thread(members, instance)
        if not left:
            return True
        for member in left:
            if again and not (grouped and member.group == instance.process.pid):
                spawning.signal_one(member.process, number)
        told = True
        if clock() >= deadline:
            return False
        left_s = max(0.0, deadline - clock())
        # While the leader is there somebody is left; only SIGKILL has something else to do meanwhile.
        patience_s = left_s if number is signal.SIGTERM else min(_POLL_S, left_s)
        await _leader_or(instance.process, patience_s, min(_POLL_S, left_s))


async def _leader_or(leader: ProcessId, patience_s: float, pause_s: float) -> None:
    """Until the leader ends, but no longer than ``patience_s``; for ``pause_s`` once it has ended."""
    if not spawning.alive(leader):
        await asyncio.sleep(pause_s)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            await spawning.ended(leader)
