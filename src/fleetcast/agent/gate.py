"""Starting a command so that neither it nor who it is can be lost.

An agent may be killed between any two lines, and what it started must be neither lost nor started twice. So a new process
first stands at a gate: it waits on a pipe for a word from the agent, which gives it only after it has written down whom it
started. An agent killed before that closes the pipe with its death, and the process ends without having done anything;
one killed later left a record, and pid with start time and boot names a process for good.

The process is a shell that runs the command and then writes down its exit code: an agent that is started later is not its
parent and could not learn it otherwise. It outlasts the command's reaction to SIGTERM. A command that was asked to end (by
``systemctl stop``, for instance, or by an agent that was killed before it started it again) has not done its work, even if it
exits with 0: what is written down then is the code of one that SIGTERM has killed.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetcast.agent import records, spawning
from fleetcast.agent.spawning import NOTHING_PASSED, Account, Passed, ProcessId
from fleetcast.stores import boots

INSTANCE_VARIABLE: Final = "FLEETCAST_INSTANCE"

# $1 where the exit code goes, $2 what says that nothing shall begin any more, all others what is to begin.
# $2 exists before the agent sends SIGTERM: whoever sees it not has reset its traps in time to be ended by the signal.
# Variables are named like those that no recipe may set: what is set here of one from outside is the command's as well.
_GATE: Final = """
FLEETCAST_TOLD=
trap FLEETCAST_TOLD=1 TERM
trap : INT HUP
IFS= read -r FLEETCAST_WORD || exit 0
(
    [ -e "$2" ] && exit
    shift 2
    exec "$@"
) </dev/null
code=$? counts=$?
[ -n "$FLEETCAST_TOLD" ] && [ "$code" = 0 ] && counts=143
printf '%s\\n' "$counts" >"$1"
exit "$code"
"""

# $1 the command, $2 the directory it runs in. It has the number that LISTEN_PID says as long as it begins with exec.
_COMMAND: Final = """
cd "$2" || exit
[ -z "$LISTEN_FDS" ] || export LISTEN_PID=$$
exec /bin/sh -c "$1"
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
    unit: str = ""
    """Of systemd, as which it was started; empty: as a child of the agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What is to be started, and where it is written down."""

    run: Path
    """For what the gate writes beside the record."""
    record: Path
    log: Path
    """Its output is appended to it."""
    activation: str
    command: str
    directory: Path
    """In which the command runs."""
    environment: Mapping[str, str]
    """With what the command is to be told of ``passed``."""
    passed: Passed = NOTHING_PASSED
    """What it inherits."""
    account: Account | None = None
    """As whom the command runs; ``None``: as this process."""
    drain_s: float = 0.0
    """As in :class:`Instance`."""
    drain_s_max: float = 0.0
    """Of all that runs of the service, this start among it."""
    beside: str = ""
    """What it is beside the service, in a word; empty: it is the service."""


@dataclass(frozen=True, slots=True)
class Launched:
    """A process that has begun with what it was given."""

    pid: int
    unit: str = ""
    """As in :class:`Instance`."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """The descriptors of a new process."""

    stdin: int
    output: int
    others: tuple[int, ...]
    """As in :class:`~fleetcast.agent.spawning.Passed`."""


Launch = Callable[[str, Sequence[str], Mapping[str, str], Inherited], Launched]
"""Starts a program as the leader of a session of its own: for which instance, its words, its environment, its descriptors."""


def as_child(_: str, arguments: Sequence[str], environment: Mapping[str, str], inherited: Inherited) -> Launched:
    """The :data:`Launch` of a child of this process. Raises :class:`OSError`."""
    stdin, output = inherited.stdin, inherited.output
    return Launched(spawning.spawn(arguments, environment, stdin=stdin, output=output, descriptors=inherited.others))


def start_at_gate(start: Start, launch: Launch = as_child) -> Instance:
    """Start a command, on record before it begins.

    Raises:
        OSError: the machine is out of something; and whatever ``launch`` raises.
    """
    instance_id, account = uuid.uuid4().hex, start.account
    gate_files = map(str, (exit_file(start.run, instance_id), stop_file(start.run, instance_id)))
    begun = ("/bin/sh", "-c", _COMMAND, "fleetcast-service", start.command, str(start.directory))
    words = ("/bin/sh", "-c", _GATE, "fleetcast-service", *gate_files, *(account.launcher if account else ()), *begun)
    with contextlib.ExitStack() as stack:
        gate, word = os.pipe()
        stack.callback(os.close, word)
        stack.callback(os.close, gate)
        output = stack.enter_context(open(start.log, "ab"))
        offset = output.seek(0, os.SEEK_END)
        if account is not None:
            # Programs open /dev/stdout anew.
            os.fchown(output.fileno(), account.uid, -1)
        seen = {**start.environment, INSTANCE_VARIABLE: instance_id}
        inherited = Inherited(gate, output.fileno(), start.passed.descriptors)
        launched = launch(instance_id, words, seen, inherited)
        instance = Instance(
            instance_id,
            start.activation,
            spawning.identify(launched.pid),
            boots.uptime_ms(),
            offset,
            start.passed.sockets,
            start.passed.own,
            start.drain_s,
            launched.unit,
        )
        # Not durable: no power failure leaves a process behind that this record would have to name.
        records.write(start.record, instance, durable=False)
        with contextlib.suppress(BrokenPipeError):  # it was killed at the gate: it is down, like any other that dies
            os.write(word, b"go\n")
    return instance


def exit_file(run: Path, instance_id: str) -> Path:
    return run / f"{instance_id}.exit"


def stop_file(run: Path, instance_id: str) -> Path:
    return run / f"{instance_id}.stop"
