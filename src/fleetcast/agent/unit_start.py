"""The program with which a unit of an agent's begins: it becomes what the agent hands it by a socket.

Run as a file with ``python -I -S``, by systemd: it imports nothing of ours. Its argument is the name of the socket, in its
working directory. It is told the words and the environment of a program, and given its standard input, its output and all other
descriptors. An agent that dies before it has said all of that ends it. So does the absence of one: a unit that somebody else
has started, or started again, is nothing that an agent has on record.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sys

_WAIT_S_MAX = 60.0
_DESCRIPTORS_MAX = 64
_FREE_OF_TARGETS = 64


def become(name: str) -> None:
    """Returns only where the agent is gone."""
    with socket.socket(socket.AF_UNIX) as agent:
        agent.settimeout(_WAIT_S_MAX)
        try:
            agent.connect(name)
        except OSError as error:
            sys.exit(f"this unit is started by a Fleetcast agent alone, which does so by itself: {name}: {error.strerror}")
        said, descriptors, _, _ = socket.recv_fds(agent, 1 << 16, _DESCRIPTORS_MAX)
        while said and not said.endswith(b"\n"):
            more = agent.recv(1 << 16)
            if not more:
                return
            said += more
        if not said or len(descriptors) < 2:
            return
        told = json.loads(said)
        words = [_encoded(word) for word in told["arguments"]]
        environment = {_encoded(name): _encoded(value) for name, value in told["environment"].items()}
        # Out of the way of where they go, its own one too, which is closed when the program begins.
        stdin, output, *others = map(_raised, descriptors)
        door = _raised(agent.detach())
        for target, descriptor in enumerate((stdin, output, output, *others)):
            os.dup2(descriptor, target)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and programs inherit that
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execve(words[0], words, environment)
        except OSError as error:
            os.write(door, str(error.errno).encode())


def _raised(descriptor: int) -> int:
    raised = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FREE_OF_TARGETS)
    os.close(descriptor)
    return raised


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


if __name__ == "__main__":
    become(sys.argv[1])
    sys.exit(1)
